"""`Answering`: a network in the form in which it is converted for other engines: all that prediction asks of it, at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from striate.inference.features import first_layer
from striate.networks.surrounded import logits_of


class Answering(nn.Module):
    """The network as prediction uses it: probabilities (B, K, *patch), and statistics (B, 2 F) of its first layer."""

    def __init__(self, network: nn.Module, exclusive: bool, tile: Tensor) -> None:
        super().__init__()
        for module in network.modules():
            if hasattr(module, "inplace"):
                module.inplace = False  # type: ignore[assignment]  # operations in place are not converted
        self.network, self.exclusive = network.requires_grad_(False), exclusive
        self._kept: list[Tensor] = []
        first_layer(network, tile).register_forward_hook(lambda _m, _i, out: self._kept.append(moments(out)))
        self.eval()

    def forward(self, tile: Tensor) -> tuple[Tensor, Tensor]:
        """Return both."""
        logits = logits_of(self.network, tile)
        return logits.softmax(1) if self.exclusive else logits.sigmoid(), self._kept.pop()


def moments(maps: Tensor) -> Tensor:
    """Return the `striate.inference.features.statistics` of maps by two sums over them: nothing of their size is made for it."""
    axes = tuple(range(2, maps.ndim))
    mean = maps.mean(axes, keepdim=True)
    length = torch.linalg.vector_norm(maps, dim=axes, keepdim=True)
    variance = length * length / float(maps[0, 0].numel()) - mean * mean
    return torch.cat([mean, variance.clamp(min=0).sqrt()], dim=1).flatten(1)
