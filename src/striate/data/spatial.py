"""Cutting a patch out of a stored case, turned, scaled and bent on the way: voxels are interpolated once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from striate.data.augment import Parameters


def cut(
    images: NDArray[Any],
    classes: NDArray[np.uint8],
    centre: Sequence[int],
    patch: Sequence[int],
    parameters: Parameters,
) -> tuple[Tensor, Tensor]:
    """Return the patch around `centre`, moved as `parameters` say; what lies outside the image is 0.

    Parameters
    ----------
    images
        (C, *spatial), any float type, may be memory-mapped.
    classes
        (*spatial) uint8.
    centre
        Voxel of the image that becomes voxel ``n // 2`` of the patch, along each axis.
    patch
        Voxels along each axis.
    parameters
        Of which `matrix`, `elastic` and `mirror` are used here.

    Returns
    -------
    images
        (C, *patch) float32; linear interpolation.
    classes
        (*patch) uint8; nearest voxel.
    """
    if parameters.matrix is None and parameters.elastic is None:
        start = [c - n // 2 for c, n in zip(centre, patch, strict=True)]
        image, label = _read(images, classes, start, patch)
    else:
        image, label = _warped(images, classes, centre, patch, parameters)
    if parameters.mirror:
        image = image.flip([a + 1 for a in parameters.mirror])
        label = label.flip(list(parameters.mirror))
    return image, label


def _read(
    images: NDArray[Any], classes: NDArray[np.uint8], start: Sequence[int], size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return the box of `size` at `start`; where it leaves the image there are zeros."""
    inside = [slice(max(s, 0), min(s + n, m)) for s, n, m in zip(start, size, classes.shape, strict=True)]
    target = [slice(i.start - s, i.stop - s) for i, s in zip(inside, start, strict=True)]
    whole = all(i.stop - i.start == n for i, n in zip(inside, size, strict=True))
    make = np.empty if whole else np.zeros
    image = make((len(images), *size), dtype=np.float32)
    label = make(tuple(size), dtype=np.uint8)
    image[(slice(None), *target)] = images[(slice(None), *inside)]
    label[tuple(target)] = classes[tuple(inside)]
    return torch.from_numpy(image), torch.from_numpy(label)


def _warped(
    images: NDArray[Any],
    classes: NDArray[np.uint8],
    centre: Sequence[int],
    patch: Sequence[int],
    parameters: Parameters,
) -> tuple[Tensor, Tensor]:
    flat = parameters.flat_axis
    axes = [a for a in range(len(patch)) if a != flat]
    size = [patch[a] for a in axes]
    matrix = np.eye(len(axes)) if parameters.matrix is None else parameters.matrix
    bend = None if parameters.elastic is None else spline(parameters.elastic, size)
    low, high = _reach(matrix, size, parameters.elastic)
    start, extent = [c - n // 2 for c, n in zip(centre, patch, strict=True)], list(patch)
    for index, axis in enumerate(axes):
        first = max(centre[axis] + low[index], 0)
        last = min(centre[axis] + high[index], classes.shape[axis] - 1)
        start[axis], extent[axis] = first, max(last - first + 1, 1)
    image, label = _read(images, classes, start, extent)
    grid = _grid(matrix, bend, size, [centre[a] - start[a] for a in axes], [extent[a] for a in axes])
    channels = len(image)
    stacked_image, stacked_label = image, label[None]
    if flat is not None:  # slices become channels: one 2D sampling for all of them
        stacked_image = image.movedim(flat + 1, 1).reshape(-1, *(extent[a] for a in axes))
        stacked_label = label.movedim(flat, 0)
    image = F.grid_sample(stacked_image[None], grid, "bilinear", "zeros", align_corners=False)[0]
    label = F.grid_sample(stacked_label[None].float(), grid, "nearest", "zeros", align_corners=False)[0].to(torch.uint8)
    if flat is None:
        return image, label[0]
    image = image.reshape(channels, patch[flat], *size).movedim(1, flat + 1)
    return image.contiguous(), label.movedim(0, flat).contiguous()


def _reach(
    matrix: NDArray[np.float64], size: Sequence[int], elastic: NDArray[np.float64] | None
) -> tuple[list[int], list[int]]:
    """Return the smallest and the largest offset from the centre that the patch needs, with one voxel to spare."""
    ends = np.array([[-(n // 2), n - 1 - n // 2] for n in size], dtype=np.float64)
    corners = np.array(np.meshgrid(*ends, indexing="ij")).reshape(len(size), -1)
    moved = matrix @ corners
    spare = np.zeros(len(size)) if elastic is None else np.abs(elastic).reshape(len(size), -1).max(axis=1)
    low = np.floor(moved.min(axis=1) - spare).astype(int) - 1
    high = np.ceil(moved.max(axis=1) + spare).astype(int) + 1
    return low.tolist(), high.tolist()


def _grid(
    matrix: NDArray[np.float64], bend: Tensor | None, size: Sequence[int], centre: Sequence[int], extent: Sequence[int]
) -> Tensor:
    """Return the sampling positions (1, *size, D), last axis first, −1 … 1 over the box of `extent` voxels."""
    dims = len(size)
    grid = torch.empty((dims, *size), dtype=torch.float32)
    for axis in range(dims):
        scale = 2.0 / extent[axis]
        shift = (2.0 * centre[axis] + 1.0) / extent[axis] - 1.0
        plane = grid[dims - 1 - axis]
        lines = []
        for other, n in enumerate(size):
            offsets = (np.arange(n) - n // 2) * (matrix[axis, other] * scale)
            offsets = offsets + shift if other == dims - 1 else offsets
            shape = [1] * dims
            shape[other] = n
            lines.append(torch.from_numpy(offsets.astype(np.float32)).reshape(shape))
        rest = lines[-1] if dims == 2 else lines[1] + lines[2]
        torch.add(lines[0], rest, out=plane)
        if bend is not None:
            plane.add_(bend[axis], alpha=scale)
    return grid.movedim(0, -1)[None]


@functools.lru_cache(maxsize=64)
def _basis(points: int, size: int) -> Tensor:
    """Return the (size, points) matrix of the uniform cubic B-spline whose knots span the axis."""
    x = (np.arange(size) + 0.5) / size * (points - 3)
    distance = np.abs(x[:, None] - (np.arange(points)[None, :] - 1))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2 - distance, 0) ** 3 / 6
    return torch.from_numpy(np.where(distance < 1, near, far).astype(np.float32))


def spline(coefficients: NDArray[np.float64], size: Sequence[int]) -> Tensor:
    """Evaluate cubic B-splines (N, *control points) at the voxels of a patch; returns (N, *size) float32."""
    field = torch.from_numpy(coefficients.astype(np.float32))
    for axis, n in enumerate(size):
        field = torch.tensordot(field, _basis(coefficients.shape[axis + 1], n), dims=([1], [1]))
    return field
