"""`Score`: the one number that is explained, as a function of the image.

Masks: the logit of the probability of a label, blended over the windows of the sliding window as `predict` blends
probabilities, and summed over the voxels of the target. Because the blending is a sum, the score of an image is the sum of
the scores of its windows, and so is every gradient. Classes: the logit of the probability of the class.

For exclusive classes the logit of p is z_k − log Σ_{j≠k} exp(z_j), which does not change when a constant is added to all z.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from striate.core.errors import ModelError, expected
from striate.networks.surrounded import logits_of

VOXELS_AT_ONCE = 1 << 18
"""Voxels of the images that pass through the network together."""

Heard = Callable[[int, bool], None]
"""Hears how many images are passed through the network, and whether a gradient will be asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """What the network sees at once.

    Attributes
    ----------
    place
        Where it lies in the region, one slice per spatial axis.
    weights
        (*patch) float32: share that each voxel's logit has in the score; None where the output is one number per class.
    flat
        The axis of one voxel that a 2D network does not see; None where there is none.
    """

    place: tuple[slice, ...]
    weights: Tensor | None
    flat: int | None = None


class Score(nn.Module):
    """The number that is explained.

    Parameters
    ----------
    network
        Gives logits. It is put in evaluation mode, its weights are fixed, and no layer may overwrite its input.
    tiles
        What it sees of the region.
    channel
        Of the logits.
    exclusive
        True: softmax over channels; False: sigmoid of each.
    heard
        Told of every pass.
    """

    def __init__(
        self,
        network: nn.Module,
        tiles: Sequence[Tile],
        channel: int,
        *,
        exclusive: bool,
        heard: Heard = lambda images, gradient: None,
    ) -> None:
        super().__init__()
        self.network = not_in_place(network).eval().requires_grad_(False)
        self.tiles, self.channel, self.exclusive, self.heard = tuple(tiles), channel, exclusive, heard
        self.looking, self.turn = self.tiles[0], 0

    @property
    def voxels(self) -> float:
        """Summed weight of the target: its voxels, or 1 for a class."""
        return float(sum(1.0 if t.weights is None else float(t.weights.sum()) for t in self.tiles))

    def of(self, network: nn.Module) -> Score:
        """Return the same score of another network."""
        return Score(network, self.tiles, self.channel, exclusive=self.exclusive, heard=self.heard)

    def hearing(self, heard: Heard) -> Score:
        """Return the same score, with another listener."""
        return Score(self.network, self.tiles, self.channel, exclusive=self.exclusive, heard=heard)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores (B,) of `images` (B, C, *region)."""
        self.heard(len(images), torch.is_grad_enabled())
        several = len(self.tiles) > 1 and torch.is_grad_enabled()
        parts = [
            checkpoint(self.of_tile, images, tile, use_reentrant=False) if several else self.of_tile(images, tile)
            for tile in self.tiles
        ]
        return torch.stack(list(parts)).sum(0)

    def of_tile(self, images: Tensor, tile: Tile) -> Tensor:
        """Return what one tile adds to the scores (B,)."""
        return _summed(self.logits(images, tile), tile)

    def probability(self, images: Tensor) -> Tensor:
        """Return the mean probability (B,) of the label over the target, or that of the class; no gradient."""
        with torch.no_grad():
            at_once = max(1, VOXELS_AT_ONCE // math.prod(images.shape[2:]))
            found = []
            for some in torch.split(images, at_once):
                self.heard(len(some), False)
                parts = [_summed(self.logits(some, tile).sigmoid(), tile) for tile in self.tiles]
                found.append(torch.stack(parts).sum(0))
        return torch.cat(found) / self.voxels

    def logits(self, images: Tensor, tile: Tile) -> Tensor:
        """Return the logit of the probability of the channel: (B, *patch), or (B,) for classes."""
        self.looking, self.turn = tile, self.turn + 1  # for those who listen to layers
        seen = images[(slice(None), slice(None), *tile.place)]
        given = seen if tile.flat is None else seen.squeeze(2 + tile.flat)
        out = (self.network(given) if tile.weights is None else logits_of(self.network, given)).float()
        if self.exclusive:
            others = [k for k in range(out.shape[1]) if k != self.channel]
            found = out[:, self.channel] - out[:, others].logsumexp(1)
        else:
            found = out[:, self.channel]
        return found if tile.flat is None or tile.weights is None else found.unsqueeze(1 + tile.flat)


def _summed(values: Tensor, tile: Tile) -> Tensor:
    """Return Σ weight · value over the voxels of a tile: (B, *patch) → (B,)."""
    return values if tile.weights is None else (values * tile.weights).flatten(1).sum(1)


def need_gradient(score: Score, image: Tensor, method: str) -> None:
    """Refuse networks that pass no gradient to the image.

    Raises
    ------
    ModelError
        When the score does not depend on the image by a gradient.
    """
    with torch.enable_grad():
        found = score(image.clone().requires_grad_())
    if not found.requires_grad:
        name = type(score.network).__name__
        raise ModelError(
            expected(
                name, "no gradient reaches the image", f"{method} is made of gradients", "Give --method occlusion."
            )
        )


def not_in_place(network: nn.Module) -> nn.Module:
    """Let every layer leave its input as it is, so that the maps before it can be read; the network itself, changed."""
    for layer in network.modules():
        if getattr(layer, "inplace", False):
            layer.inplace = False  # type: ignore[assignment]
    return network
