"""2D or 3D pooling, by the number of spatial axes."""

from __future__ import annotations

from typing import Any

from torch import nn

from striate.networks.layers.avg_pool3d import AvgPool3d

_MAX_POOL: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVERAGE_POOL: dict[int, Any] = {2: nn.AvgPool2d, 3: AvgPool3d}
_ADAPTIVE_AVERAGE_POOL: dict[int, Any] = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


def max_pool(spatial_dims: int, kernel: int, stride: int, padding: int = 0, *, ceil: bool = False) -> nn.Module:
    """Return a maximum over windows of `kernel`; with `ceil`, a last window may reach over the border."""
    layer: nn.Module = _MAX_POOL[spatial_dims](kernel, stride, padding, ceil_mode=ceil)
    return layer


def average_pool(
    spatial_dims: int, kernel: int | tuple[int, ...], stride: int | tuple[int, ...], padding: int = 0
) -> nn.Module:
    """Return a mean over windows of `kernel`; what lies outside of the map does not count."""
    layer: nn.Module = _AVERAGE_POOL[spatial_dims](kernel, stride, padding, count_include_pad=False)
    return layer


def average_pool_to(spatial_dims: int, size: int) -> nn.Module:
    """Return a mean over windows whose size follows from the map's, so that `size` voxels per axis come out."""
    layer: nn.Module = _ADAPTIVE_AVERAGE_POOL[spatial_dims](size)
    return layer
