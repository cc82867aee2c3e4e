"""Branches: paths that see the same maps and whose outputs are concatenated, written down as the papers' figures do.

A branch is a list of steps, for instance ``[Conv(64), Conv(96, 3), Conv(96, 3, stride=2)]``. A step says how many maps
it makes; it is built when the number of axes, the width and the maps that come in are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from striate.networks.layers.conv_unit import ConvUnit
from striate.networks.layers.pooling import average_pool, max_pool
from striate.networks.layers.width import scaled


@dataclass(frozen=True)
class Scale:
    """What all steps of one network share.

    Attributes
    ----------
    dims
        Number of spatial axes.
    width
        Factor on all numbers of maps.
    """

    dims: int
    width: float = 1.0

    def maps(self, number: int) -> int:
        """Return the paper's `number` of maps times the width."""
        return scaled(number, self.width)


class Step(Protocol):
    """A part of a branch."""

    def build(self, scale: Scale, inputs: int) -> tuple[nn.Module, int]:
        """Return the module for `inputs` maps, and the number of maps that it makes."""


@dataclass(frozen=True)
class Conv:
    """A `ConvUnit` of `size` voxels along every axis; where `padded` is not given, padded unless it strides."""

    outputs: int
    size: int = 1
    stride: int = 1
    padded: bool | None = None

    def build(self, scale: Scale, inputs: int) -> tuple[nn.Module, int]:
        """See `Step`."""
        outputs, padded = scale.maps(self.outputs), self.stride == 1 if self.padded is None else self.padded
        return ConvUnit(inputs, outputs, (self.size,) * scale.dims, self.stride, padded=padded), outputs


@dataclass(frozen=True)
class Average:
    """The mean over 3 voxels along every axis; what lies outside of the map does not count."""

    def build(self, scale: Scale, inputs: int) -> tuple[nn.Module, int]:
        """See `Step`."""
        return average_pool(scale.dims, 3, 1, 1), inputs


@dataclass(frozen=True)
class Maximum:
    """The maximum over 3 voxels along every axis; `padded`, so that stride 1 keeps the size."""

    stride: int = 2
    padded: bool = False

    def build(self, scale: Scale, inputs: int) -> tuple[nn.Module, int]:
        """See `Step`."""
        return max_pool(scale.dims, 3, self.stride, int(self.padded)), inputs


class Branch(nn.Sequential):
    """Steps one after another.

    Attributes
    ----------
    outputs
        Number of maps that it makes.
    """

    def __init__(self, scale: Scale, inputs: int, steps: Sequence[Step]) -> None:
        super().__init__()
        for index, step in enumerate(steps):
            module, inputs = step.build(scale, inputs)
            self.add_module(str(index), module)
        self.outputs = inputs


class Branches(nn.Module):
    """Branches beside each other.

    Parameters
    ----------
    scale
        Of the network.
    inputs
        Number of maps that every branch sees.
    branches
        Name → steps, in the order of the concatenation.

    Attributes
    ----------
    outputs
        Number of maps after the concatenation.
    """

    def __init__(self, scale: Scale, inputs: int, branches: Mapping[str, Sequence[Step]]) -> None:
        super().__init__()
        self.outputs = 0
        for name, steps in branches.items():
            branch = Branch(scale, inputs, steps)
            self.add_module(name, branch)
            self.outputs += branch.outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps of all branches (B, C, *S)."""
        return torch.cat([branch(x) for branch in self.children()], dim=1)
