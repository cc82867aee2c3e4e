"""What goes into the last layer of a classifier: the features by which it tells the classes apart.

The last layer is the leaf module with weights (learned or fixed) that runs last. Its input is averaged over space and over the
images of a sequence. More than `MOST` features are averaged in groups of neighbours, so that at most as many are left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

MOST = 256

Features = NDArray[np.float32]


@contextlib.contextmanager
def penultimate(network: nn.Module) -> Iterator[list[Features]]:
    """Keep the features of all that `network` computes inside the ``with`` block.

    Parameters
    ----------
    network
        Gives logits (B, K) for images (B, C, *S), or (B, T, K) for sequences (B, T, C, *S).

    Yields
    ------
    list
        Gets one (B, F) float32 for each pass.
    """
    found, last = list[Features](), list[tuple[nn.Module, Tensor]]()

    def keep(module: nn.Module, given: tuple[Any, ...]) -> None:
        if given and isinstance(given[0], Tensor):
            last[:] = [(module, given[0])]

    def after(_: nn.Module, given: tuple[Any, ...], answer: Any) -> None:
        if last:
            found.append(_grouped(_pooled(*last[0], len(given[0]))))
            last.clear()

    leaves = [m for m in network.modules() if m is not network and not list(m.children()) and _weighs(m)]
    handles = [leaf.register_forward_pre_hook(keep) for leaf in leaves]
    handles.append(network.register_forward_hook(after))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _weighs(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None or next(module.buffers(), None) is not None


def _pooled(module: nn.Module, given: Tensor, images: int) -> Features:
    """Return (images, F) of what a layer was given: (B, F, *S) of maps, (B, …, F) of a linear layer."""
    values = given.detach().float()
    if values.ndim > 2:
        rest = tuple(range(1, values.ndim - 1)) if isinstance(module, nn.Linear) else tuple(range(2, values.ndim))
        values = values.mean(dim=rest)
    if len(values) != images:  # the images of a sequence, one after the other
        values = values.reshape(images, -1, values.shape[-1]).mean(dim=1)
    return np.asarray(values.cpu().numpy(), dtype=np.float32)


def _grouped(features: Features) -> Features:
    """Return at most `MOST` features (B, F): means of neighbours."""
    if features.shape[1] <= MOST:
        return features
    return np.asarray(torch.nn.functional.adaptive_avg_pool1d(torch.from_numpy(features)[:, None], MOST)[:, 0].numpy())
