"""2D or 3D: the layer classes by number of spatial axes, and numbers given once or per axis."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from striate.core.errors import UsageError, expected

CONV: dict[int, type[nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, type[nn.ConvTranspose2d | nn.ConvTranspose3d]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
INSTANCE_NORM: dict[int, type[nn.InstanceNorm2d | nn.InstanceNorm3d]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
BATCH_NORM: dict[int, type[nn.BatchNorm2d | nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}

PerAxis = int | tuple[int, ...]
"""One number for all axes, or one per axis."""


def per_stage(values: Sequence[PerAxis], stages: int, spatial_dims: int, option: str) -> list[tuple[int, ...]]:
    """Return one number per axis for each stage.

    Raises
    ------
    UsageError
        When `values` has not one entry per stage, or an entry not one number of at least 1 per axis.
    """
    if len(values) != stages:
        raise UsageError(expected(f"option {option}", f"{len(values)} entries {tuple(values)}", f"{stages} are needed, one per stage"))
    return [per_axis(value, spatial_dims, option) for value in values]


def per_axis(value: PerAxis, spatial_dims: int, option: str) -> tuple[int, ...]:
    """Return `value` once per axis.

    Raises
    ------
    UsageError
        When it holds another number of axes, or a number below 1.
    """
    found = (value,) * spatial_dims if isinstance(value, int) else tuple(value)
    if len(found) != spatial_dims or min(found) < 1:
        raise UsageError(
            expected(f"option {option}", f"{value}", f"one number of at least 1, or one for each of {spatial_dims} axes, is needed")
        )
    return found


def cumulative(strides: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return, per stage, the input voxels per voxel of its maps: the running product of the strides."""
    found: list[tuple[int, ...]] = []
    for stride in strides:
        before = found[-1] if found else (1,) * len(stride)
        found.append(tuple(b * s for b, s in zip(before, stride, strict=True)))
    return found
