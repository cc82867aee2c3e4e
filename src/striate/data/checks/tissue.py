"""Three intensity classes of the object, and the noise inside it: what contrast and bias measures stand on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from striate.data.checks.dilate import ball, eroded
from striate.data.checks.foreground import Foreground, Mask, Volume, otsu

RIM_MM = 6.0
SHALLOW = 0.4
"""The rim is at most this share of the largest depth."""
LEAST_VOXELS = 60


@dataclass(frozen=True, slots=True, eq=False)
class Tissues:
    """Otsu's three classes of the coarse object, its rim left out.

    Attributes
    ----------
    means, stds
        Of the three classes, from dark to bright, in the scan's unit.
    values
        (N,) coarse intensities.
    classes
        (N,) class of each, 0 dark to 2 bright.
    core
        The coarse voxels that were used.
    places
        (N, 3) position of each, from -1 to 1 over the object's extent.
    """

    means: tuple[float, float, float]
    stds: tuple[float, float, float]
    values: NDArray[np.float32]
    classes: NDArray[np.int64]
    core: Mask
    places: NDArray[np.float32]


def find_tissues(foreground: Foreground, spacing_mm: tuple[float, ...]) -> Tissues | None:
    """Part the object into three classes; None where it is too small or constant."""
    steps = tuple(s * f for s, f in zip(spacing_mm, foreground.factors, strict=True))
    core = inner(foreground.coarse_mask, RIM_MM, steps)
    values = foreground.coarse[core]
    if values.size < LEAST_VOXELS or not float(values.max()) > float(values.min()):
        return None
    low, high = otsu(values, classes=3)
    classes = np.digitize(values, (low, high))
    parts = [values[classes == c] for c in range(3)]
    if min(p.size for p in parts) < 5:
        return None
    means = [float(p.mean(dtype=np.float64)) for p in parts]
    stds = [float(p.std(dtype=np.float64)) for p in parts]
    places = np.stack([_scaled(axis) for axis in np.nonzero(core)], axis=1)
    return Tissues((means[0], means[1], means[2]), (stds[0], stds[1], stds[2]), values, classes, core, places)


def inner(mask: Mask, rim_mm: float, steps: tuple[float, ...]) -> Mask:
    """Return `mask` without a rim of `rim_mm` (less where little would be left); single slices keep their axis."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found or found[0] is None:
        return np.zeros_like(mask)
    core = np.zeros_like(mask)
    core[found[0]] = _without_rim(mask[found[0]], rim_mm, steps, [axis for axis, n in enumerate(mask.shape) if n == 1])
    return core


def _without_rim(mask: Mask, rim_mm: float, steps: tuple[float, ...], flat: list[int]) -> Mask:
    def deeper(radius_mm: float) -> Mask:
        shape = tuple(1 if axis in flat else n + 1 for axis, n in enumerate(mask.shape))
        return eroded(mask, ball(radius_mm, steps, shape))

    if deeper(rim_mm / SHALLOW).any():
        return deeper(rim_mm)
    padded = np.pad(mask, [(0, 0) if axis in flat else (1, 1) for axis in range(3)])
    depth = ndimage.distance_transform_edt(padded, sampling=steps)
    depth = depth[tuple(slice(None) if axis in flat else slice(1, -1) for axis in range(3))]
    return np.asarray(depth > min(rim_mm, SHALLOW * float(depth.max())))


def noise_inside(crop: Volume, mask: Mask, spacing_mm: tuple[float, ...]) -> float:
    """Return the noise σ inside the object by pseudo-residuals (Gasser 1986; Coupé et al. 2010).

    r = √(n/(n+1)) · (x − mean of the n in-plane neighbours); σ = 1.4826 · MAD(r). Slices thicker than 1.5 times the finest
    voxel, and single slices, give no neighbours. Smoothing and resampling make it too small.
    """
    finest = min(s for s, n in zip(spacing_mm, crop.shape, strict=True) if n > 2) if max(crop.shape) > 2 else 0.0
    axes = [a for a in range(3) if crop.shape[a] > 2 and spacing_mm[a] <= 1.5 * finest]
    if not axes:
        return 0.0
    step = max(1, crop.shape[2] // 64) if 2 not in axes else 1
    crop, mask = crop[..., ::step], mask[..., ::step]
    inside = tuple(slice(1, -1) if a in axes else slice(None) for a in range(3))
    keep = np.zeros(crop.shape, dtype=bool)
    keep[inside] = mask[inside]
    for axis in axes:
        for start in (0, 2):
            part = list(inside)
            part[axis] = slice(start, start + crop.shape[axis] - 2)
            keep[inside] &= mask[tuple(part)]
    at = np.flatnonzero(keep)
    if at.size < LEAST_VOXELS:
        return 0.0
    at, flat = at[:: max(1, at.size // 400_000)], np.ascontiguousarray(crop).reshape(-1)
    mean = np.zeros(at.size, dtype=crop.dtype)
    for axis in axes:
        apart = int(np.prod(crop.shape[axis + 1 :]))
        mean += flat[at - apart]
        mean += flat[at + apart]
    n = 2 * len(axes)
    residual = (flat[at] - mean / n) * np.float32(np.sqrt(n / (n + 1)))
    return float(1.4826 * np.median(np.abs(residual - np.median(residual))))


def _scaled(index: NDArray[np.int64]) -> NDArray[np.float32]:
    low, high = int(index.min()), int(index.max())
    return ((index - low) / max(high - low, 1) * 2 - 1).astype(np.float32)
