"""Kernels that are long along one axis only, in place of cubes.

Paper
    C. Szegedy et al.: Rethinking the Inception Architecture for Computer Vision. CVPR 2016: n×n is factorised into 1×n and
    n×1, for 2n in place of n² weights per pair of maps.
Form
    Exact in 2D. In 3D every axis gets one kernel: n×n×n becomes 1×1×n, 1×n×1 and n×1×1, for 3n in place of n³ weights;
    the added kernel makes as many maps as the one before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from striate.networks.layers.branches import Scale
from striate.networks.layers.conv_unit import ConvUnit


@dataclass(frozen=True)
class Pair:
    """1×n to `first` maps, then n×1 to `second`; `backwards`: n×1, then 1×n.

    In 3D 1×1×n, 1×n×1 (both to `first` maps), n×1×1, or backwards.
    """

    first: int
    second: int
    size: int
    backwards: bool = False

    def build(self, scale: Scale, inputs: int) -> tuple[nn.Module, int]:
        """See `branches.Step`."""
        axes = range(scale.dims) if self.backwards else range(scale.dims - 1, -1, -1)
        first, second = scale.maps(self.first), scale.maps(self.second)
        maps = (inputs, *(first,) * (scale.dims - 1), second)
        kernels = (along(axis, self.size, scale.dims) for axis in axes)
        return nn.Sequential(*(ConvUnit(maps[i], maps[i + 1], kernel) for i, kernel in enumerate(kernels))), second


@dataclass(frozen=True)
class Fan:
    """1×n and n×1 beside each other, each to `outputs` maps, concatenated; in 3D one kernel along each of three axes."""

    outputs: int
    size: int

    def build(self, scale: Scale, inputs: int) -> tuple[nn.Module, int]:
        """See `branches.Step`."""
        outputs = scale.maps(self.outputs)
        kernels = [along(axis, self.size, scale.dims) for axis in range(scale.dims - 1, -1, -1)]
        return FanOut(inputs, outputs, kernels), outputs * scale.dims


class FanOut(nn.ModuleList):
    """One unit per kernel, beside each other."""

    def __init__(self, inputs: int, outputs: int, kernels: list[tuple[int, ...]]) -> None:
        super().__init__(ConvUnit(inputs, outputs, kernel) for kernel in kernels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps of all units (B, C, *S)."""
        return torch.cat([unit(x) for unit in self], dim=1)


def along(axis: int, size: int, dims: int) -> tuple[int, ...]:
    """Return a kernel of `size` along `axis` and 1 along the others."""
    return tuple(size if i == axis else 1 for i in range(dims))
