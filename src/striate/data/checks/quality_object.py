"""Quality measures that need only the object: contrast, sharpness, bias. Definitions and sources: `quality`."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from striate.data.checks.foreground import Mask, Volume
from striate.data.checks.tissue import Tissues

BLUR_TAPS = 9
BLUR_SLICES = 24
EDGE_SHARE = 0.05
BIAS_SAMPLES = 20_000
BIAS_ROUNDS = 12


def cnr(tissues: Tissues, noise: float) -> float:
    """Return |μ₂−μ₁| / √(σ₁² + σ₂² + σ_noise²) of the two brighter classes."""
    spread = float(np.sqrt(tissues.stds[1] ** 2 + tissues.stds[2] ** 2 + noise**2))
    return (tissues.means[2] - tissues.means[1]) / spread if spread > 0 else float("nan")


def cjv(tissues: Tissues) -> float:
    """Return (σ₁+σ₂) / |μ₂−μ₁| of the two brighter classes."""
    contrast = tissues.means[2] - tissues.means[1]
    return (tissues.stds[1] + tissues.stds[2]) / contrast if contrast > 0 else float("nan")


def blur_crete(crop: Volume, mask: Mask, spacing_mm: tuple[float, ...]) -> float:
    """Return Crete's blur: how little the differences between neighbours fall when the image is blurred once more.

    Along each of the two finest axes, D = |differences| of the image, B = those of the image after a mean over 9 voxels,
    blur = 1 − Σ max(0, D − B) / Σ D inside the object. Measured on at most 24 slices across the coarsest axis.
    """
    axes = [a for a in np.argsort(spacing_mm, kind="stable") if crop.shape[a] > BLUR_TAPS][:2]
    if not axes:
        return float("nan")
    across = next(a for a in (2, 1, 0) if a not in axes)
    picked = np.unique(np.linspace(0, crop.shape[across] - 1, BLUR_SLICES + 2).round().astype(int)[1:-1])
    slab, inside = crop.take(picked, axis=across), mask.take(picked, axis=across)
    found = []
    for axis in axes:
        smooth = ndimage.uniform_filter1d(slab, BLUR_TAPS, axis=axis, mode="nearest")
        both = _pairs(inside, axis)
        sharp = np.abs(np.diff(slab, axis=axis))[both]
        blurred = np.abs(np.diff(smooth, axis=axis))[both]
        total = float(sharp.sum(dtype=np.float64))
        lost = float(np.maximum(sharp - blurred, 0).sum(dtype=np.float64))
        found.append(1 - lost / total if total > 0 else float("nan"))
    return max(found)


def edge_strength(crop: Volume, core: Mask, spacing_mm: tuple[float, ...], tissues: Tissues) -> float:
    """Return the mean in-plane gradient (per mm) of the strongest 5 % of the `core`'s voxels over the contrast.

    The contrast is the range from the 5th to the 95th percentile; the core is the object without its rim, so that the
    step to the background does not count.
    Gradients are central differences, taken on at most 24 slices across the coarsest axis.
    """
    axes = [a for a in np.argsort(spacing_mm, kind="stable") if crop.shape[a] > 4][:2]
    contrast = float(np.subtract(*np.percentile(tissues.values, (95, 5))))
    if len(axes) < 2 or not contrast > 0:
        return float("nan")
    across = next(a for a in (2, 1, 0) if a not in axes)
    picked = np.unique(np.linspace(0, crop.shape[across] - 1, BLUR_SLICES + 2).round().astype(int)[1:-1])
    slab, inside = crop.take(picked, axis=across), core.take(picked, axis=across)
    if inside.sum() < 100:
        return float("nan")
    square = np.zeros_like(slab)
    for axis in axes:
        square += np.square(np.gradient(slab, spacing_mm[axis], axis=axis))
    strength = np.sqrt(square[inside])
    strongest = strength[strength >= np.quantile(strength, 1 - EDGE_SHARE)]
    return float(strongest.mean(dtype=np.float64)) / contrast


def bias_strength(tissues: Tissues) -> float:
    """Return the 95th over the 5th percentile of a smooth field b in value = b(place) · μ_class.

    The logarithm of b is a cubic polynomial of place, fitted by least squares to log values around their class means;
    classes are assigned anew after each of twelve rounds with the field taken out. Dark voxels (class 0) stay out.
    """
    keep = (tissues.values > 0) & (tissues.classes > 0)
    values, places = tissues.values[keep], tissues.places[keep]
    step = max(1, values.size // BIAS_SAMPLES)
    values, places = values[::step], places[::step]
    if values.size < 200:
        return float("nan")
    powers = [p for p in product(range(4), repeat=3) if 0 < sum(p) <= 3 and _varies(p, places)]
    x = places.astype(np.float64)
    raised = np.stack([np.ones_like(x), x, x * x, x * x * x])
    basis = np.stack([raised[a, :, 0] * raised[b, :, 1] * raised[c, :, 2] for a, b, c in powers])
    basis -= basis.mean(axis=1, keepdims=True)
    log = np.log(values.astype(np.float64))
    inverse = np.linalg.pinv(basis @ basis.T, hermitian=True)
    flat, bright = log, tissues.classes[keep][::step] > 1
    for _ in range(BIAS_ROUNDS):
        count, total, above = int(bright.sum()), float(flat.sum()), float(flat @ bright)
        middle = (total - above) / max(bright.size - count, 1), above / max(count, 1)
        field = (inverse @ (basis @ (log - np.where(bright, middle[1], middle[0])))) @ basis
        flat = log - field
        bright = flat > (middle[0] + middle[1]) / 2
    low, high = np.percentile(field, (5, 95))
    return float(np.exp(high - low))


def spike_ratio(coarse: Volume) -> float:
    """Return the largest ratio of a point of k-space to the geometric mean of its 124 neighbours.

    Low frequencies (below 15 % of the coarse grid's limit) and the planes through the centre, where the image's borders
    show, stay out. About 5 without spikes.
    """
    if min(coarse.shape) < 8:
        return float("nan")
    power = np.abs(fft.fftshift(fft.fftn(coarse - coarse.mean())))
    log = np.log(power + 1e-6 * float(power.max()) + 1e-30)
    around = ndimage.uniform_filter(log, 5, mode="wrap")
    excess = log - (around * 125 - log) / 124
    near = [int(0.15 * n / 2) for n in coarse.shape]
    places = np.ogrid[tuple(slice(-r, r + 1) for r in near)]
    low = sum((place / (n / 2)) ** 2 for place, n in zip(places, coarse.shape, strict=True)) <= 0.15**2
    excess[tuple(slice(n // 2 - r, n // 2 + r + 1) for n, r in zip(coarse.shape, near, strict=True))][low] = -np.inf
    for axis, n in enumerate(coarse.shape):
        np.moveaxis(excess, axis, 0)[n // 2 - 1 : n // 2 + 2] = -np.inf
    return float(np.exp(excess.max()))


def _varies(powers: tuple[int, ...], places: NDArray[np.float32]) -> bool:
    return all(p == 0 or np.ptp(places[:, axis]) > 0 for axis, p in enumerate(powers))


def _pairs(mask: Mask, axis: int) -> Mask:
    size = mask.shape[axis]
    return np.asarray(mask.take(range(1, size), axis=axis) & mask.take(range(size - 1), axis=axis))
