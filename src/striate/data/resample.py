"""Resampling along the axes: one small matrix per axis.

Voxels are seen as boxes: an axis of n voxels of size s that becomes m voxels keeps its extent, so that the new voxel
size is exactly n·s / m and voxel i of the result is centred on (i + ½)·n/m − ½ of the source. Kernels are widened when
an axis gets coarser, so that each new voxel is a weighted mean of all the voxels that it covers (no aliasing; the
partial-volume effect of a coarser scan).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kernel = Literal["nearest", "area", "linear", "cubic"]
ANISOTROPIC = 3.0
SAME = 0.01


def _linear(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    near = np.abs(x)
    inner = (1.5 * near - 2.5) * near**2 + 1.0
    outer = ((-0.5 * near + 2.5) * near - 4.0) * near + 2.0
    return np.where(near < 1, inner, np.where(near < 2, outer, 0.0))


_KERNELS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "area": _linear,
    "linear": _linear,
    "cubic": _cubic,
}


def matrix(before: int, after: int, kernel: Kernel) -> NDArray[np.float32]:
    """Return the (after, before) matrix that resamples an axis of `before` voxels to `after` voxels.

    Parameters
    ----------
    before, after
        Number of voxels.
    kernel
        ``area`` is the share that each voxel has in the new one; where an axis gets finer it is linear. ``linear`` is the
        triangle, ``cubic`` the cubic convolution of Keys (IEEE ASSP 29:1153, 1981; a = −½). Rows sum
        to one; beyond the border nothing is taken.
    """
    scale = before / after
    centres = (np.arange(after) + 0.5) * scale - 0.5
    if kernel == "nearest":
        taken = np.clip(np.floor(centres + 0.5).astype(int), 0, before - 1)
        return np.asarray(np.eye(before, dtype=np.float32)[taken])
    if kernel == "area" and scale > 1:
        ends = np.clip(np.arange(before)[None, :] - centres[:, None] + [[[-0.5]], [[0.5]]], -scale / 2, scale / 2)
        return np.asarray((ends[1] - ends[0]) / scale, dtype=np.float32)
    weights = _KERNELS[kernel]((np.arange(before)[None, :] - centres[:, None]) / max(scale, 1.0))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(weights, dtype=np.float32)


def new_shape(shape: Sequence[int], spacing_mm: Sequence[float], wanted_mm: Sequence[float]) -> tuple[int, ...]:
    """Return the number of voxels of size `wanted_mm` that fill the extent of `shape` voxels of `spacing_mm` (>= 1).

    An axis whose spacing is within 1 % of the wanted one stays as it is: nothing is gained by blurring it.
    """
    axes = zip(shape, spacing_mm, wanted_mm, strict=True)
    return tuple(n if abs(s / w - 1) < SAME else max(1, round(n * s / w)) for n, s, w in axes)


def coarse_axis(spacing_mm: Sequence[float]) -> int | None:
    """Return the one axis whose voxels are more than three times as long as the others' smallest, else None."""
    order = np.argsort(spacing_mm)
    if len(order) < 3 or spacing_mm[order[-1]] <= ANISOTROPIC * spacing_mm[order[0]]:
        return None
    return int(order[-1]) if spacing_mm[order[-1]] > ANISOTROPIC * spacing_mm[order[-2]] else None


def resample(
    array: NDArray[Any], shape: Sequence[int], kernel: Kernel, coarse: int | None = None
) -> NDArray[np.float32]:
    """Resample the trailing axes of `array` (…, *spatial) to `shape`.

    Axes that keep their length are not touched (bit for bit).

    Parameters
    ----------
    array
        Any real type; the result is float32.
    shape
        Wanted number of voxels along the trailing axes.
    kernel
        See `matrix`.
    coarse
        Spatial axis along which the nearest slice is taken instead: interpolation between thick slices makes structures
        that no scan holds (nnU-Net's rule; Isensee et al., Nat Methods 18:203, 2021).
    """
    lead = array.ndim - len(shape)
    result = np.asarray(array, dtype=np.float32)
    changes = [(after / result.shape[lead + axis], axis, after) for axis, after in enumerate(shape)]
    for _, axis, after in sorted(changes):
        before = result.shape[lead + axis]
        if after != before:
            result = _along(result, lead + axis, matrix(before, after, "nearest" if axis == coarse else kernel))
    return result


def _along(array: NDArray[np.float32], axis: int, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Multiply along one axis. Sparse: few voxels have a weight, and no bit depends on the number of threads."""
    from scipy.sparse import csr_array

    sparse, shape = csr_array(weights), array.shape
    if axis == array.ndim - 1:
        columns = np.ascontiguousarray(array.reshape(-1, shape[axis]).T)
        return np.ascontiguousarray((sparse @ columns).T).reshape(*shape[:axis], len(weights))
    rest = int(np.prod(shape[axis + 1 :]))
    blocks = array.reshape(-1, shape[axis], rest)
    result = np.empty((len(blocks), len(weights), rest), dtype=np.float32)
    for after, before in zip(result, blocks, strict=True):
        after[:] = sparse @ before
    return result.reshape(*shape[:axis], len(weights), *shape[axis + 1 :])


def resample_classes(classes: NDArray[np.uint8], shape: Sequence[int], coarse: int | None = None) -> NDArray[np.uint8]:
    """Resample class indices (*spatial) to `shape`: each class as a share, then the class with the largest share.

    A tie with background goes to the other class (a thin structure is not lost), one among others to the lower class.
    One class is held at a time.
    """
    if tuple(shape) == classes.shape:
        return classes
    present = np.flatnonzero(np.bincount(classes.ravel(), minlength=1))
    result = np.full(tuple(shape), present[0], dtype=np.uint8)
    if len(present) == 1:
        return result
    best = resample(classes == present[0], shape, "area", coarse)
    best -= 1e-4 if present[0] == 0 else 0
    for index in present[1:]:
        share = resample(classes == index, shape, "area", coarse)
        larger = share > best
        result[larger] = index
        np.maximum(best, share, out=best)
    return result
