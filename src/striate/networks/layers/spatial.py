"""2D or 3D: layers by the number of spatial axes, and numbers that are given once or per axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import nn

from striate.core.counted import counted, is_or_are
from striate.core.errors import UsageError, expected
from striate.networks.layers.conv3d import Conv3d
from striate.networks.layers.instance_norm import InstanceNorm2d, InstanceNorm3d

PerAxis = int | tuple[int, ...]
"""One number for all axes, or one per axis."""
Norm = Literal["instance", "batch"]
"""Over each map of a case by itself, or over the batch, with running statistics when predicting."""

_CONV: dict[int, Any] = {2: nn.Conv2d, 3: Conv3d}
_TRANSPOSED: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_INSTANCE_NORM: dict[int, Any] = {2: InstanceNorm2d, 3: InstanceNorm3d}
_BATCH_NORM: dict[int, Any] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def conv(
    inputs: int, outputs: int, kernel: tuple[int, ...], stride: PerAxis = 1, *, bias: bool = True, padded: bool = True
) -> nn.Module:
    """Return a convolution for ``len(kernel)`` axes, padded so that stride 1 keeps the size (odd kernels), or unpadded."""
    padding = tuple((k - 1) // 2 if padded else 0 for k in kernel)
    layer: nn.Module = _CONV[len(kernel)](inputs, outputs, kernel, stride, padding, bias=bias)
    return layer


def enlarging_conv(inputs: int, outputs: int, factor: tuple[int, ...]) -> nn.Module:
    """Return a transposed convolution that enlarges each axis by its factor, without overlap."""
    layer: nn.Module = _TRANSPOSED[len(factor)](inputs, outputs, factor, factor)
    return layer


def instance_norm(spatial_dims: int, features: int, eps: float) -> nn.Module:
    """Return an instance normalisation with a learned scale and shift per map."""
    layer: nn.Module = _INSTANCE_NORM[spatial_dims](features, eps=eps, affine=True)
    return layer


def batch_norm(spatial_dims: int, features: int, eps: float) -> nn.Module:
    """Return a batch normalisation with a learned scale and shift per map, and running statistics."""
    layer: nn.Module = _BATCH_NORM[spatial_dims](features, eps=eps)
    return layer


def normalisation(kind: Norm, spatial_dims: int, features: int, eps: float) -> nn.Module:
    """Return a normalisation with a learned scale and shift per map."""
    return (batch_norm if kind == "batch" else instance_norm)(spatial_dims, features, eps)


def initialise(network: nn.Module, negative_slope: float) -> None:
    """Draw He-normal weights for leaky rectifiers and set biases to zero (He et al., ICCV 2015), in place."""
    for layer in network.modules():
        if (
            isinstance(layer, nn.modules.conv._ConvNd) and not layer.weight.is_meta
        ):  # drawing there loads torch's compiler
            nn.init.kaiming_normal_(layer.weight, a=negative_slope)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def per_stage(values: Sequence[PerAxis], stages: int, spatial_dims: int, option: str) -> list[tuple[int, ...]]:
    """Return one number per axis for each stage.

    Raises
    ------
    UsageError
        When `values` has not one entry per stage, or an entry not one number of at least 1 per axis.
    """
    if len(values) != stages:
        raise UsageError(
            expected(
                f"option {option}",
                f"{counted(len(values), 'entry', 'entries')} {tuple(values)}",
                f"{stages} {is_or_are(stages)} needed, one per stage",
            )
        )
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
        want = f"one number of at least 1, or one for each of {spatial_dims} axes, is needed"
        raise UsageError(expected(f"option {option}", f"{value}", want))
    return found


def cumulative(strides: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return, per stage, the input voxels per voxel of its maps: the running product of the strides."""
    found: list[tuple[int, ...]] = []
    for stride in strides:
        before = found[-1] if found else (1,) * len(stride)
        found.append(tuple(b * s for b, s in zip(before, stride, strict=True)))
    return found
