"""Gradients with the statistics of normalisation held at those of the image.

A network that normalises each image (instance, group normalisation) does not change its mind when the image is scaled, so
that its gradient along the image is 0, and a constant added to a map vanishes, so that the mean gradient of a map, which
Grad-CAM takes, is 0 too. Attributions then add up to nothing. With mean and variance of each map held, normalisation is a
linear layer, as batch normalisation is in prediction, and the score of the image itself is the same. A. Ali et al., XAI for
Transformers, ICML 2022, section 4, do so for layer normalisation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from striate.explaining.score import Score

Affine = tuple[Tensor, Tensor]


@contextmanager
def held_norms(score: Score, image: Tensor) -> Iterator[None]:
    """Hold the statistics of every instance and group normalisation at those of `image` (1, C, *region), tile by tile."""
    norms = [m for m in score.network.modules() if isinstance(m, (nn.GroupNorm, _InstanceNorm))]
    kept: dict[tuple[int, int, int], Affine] = {}
    calls: dict[int, int] = {}

    def place(norm: nn.Module) -> tuple[int, int, int]:
        """Return tile, layer, and which of the layer's calls in this pass it is."""
        if calls.get(-1) != score.turn:
            calls.clear()
            calls[-1] = score.turn
        number = id(norm)
        calls[number] = calls.get(number, -1) + 1
        return score.tiles.index(score.looking), number, calls[number]

    def keep(norm: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        kept[place(norm)] = _affine(norm, given[0])

    def hold(norm: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        scale, shift = kept[place(norm)]
        return given[0] * scale + shift

    for handling, inside in ((keep, False), (hold, True)):
        handles = [norm.register_forward_hook(handling) for norm in norms]
        try:
            if inside:
                yield
            elif norms:
                with torch.no_grad():
                    score(image)
        finally:
            for handle in handles:
                handle.remove()


def _affine(norm: nn.Module, maps: Tensor) -> Affine:
    """Return factor and summand (1, F, 1 …) that do to `maps` (1, F, *map) what `norm` does."""
    features = maps.shape[1]
    groups = norm.num_groups if isinstance(norm, nn.GroupNorm) else features
    inner = maps.double().reshape(groups, -1)
    each = features // groups
    mean = inner.mean(1).repeat_interleave(each)
    scale = (inner.var(1, unbiased=False) + float(norm.eps)).rsqrt().repeat_interleave(each)  # type: ignore[arg-type]
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    shape = (1, features, *(1,) * (maps.ndim - 2))
    return scale.reshape(shape).to(maps.dtype), shift.reshape(shape).to(maps.dtype)
