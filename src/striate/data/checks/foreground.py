"""Which voxels of a scan are the object (head, brain, body), which are air, and which are a constant filling.

Everything is decided on a copy of about 2 mm, which makes it fast; masks are spread back to the scan's own voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from striate.data.checks.dilate import ball, dilated, eroded

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]

COARSE_MM = 2.0
AIR_GAP_MM = 10.0
OPENED_MM = 3.0015
"""Radius of the ball by which bright pieces are opened; a little above 3 mm, so that rounded voxels of 1.5 mm stay within it."""


@dataclass(frozen=True, slots=True, eq=False)
class Foreground:
    """The object in a volume (I, J, K).

    Attributes
    ----------
    background
        The one value that fills the background, or None.
    stripped
        True where nothing but that value surrounds the object (skull-stripped, defaced to the brain, segmented organ).
    box
        Bounding box of the object, in the volume's voxels.
    mask
        The object inside `box`, in the volume's voxels.
    factors
        Volume voxels per coarse voxel, along each axis.
    coarse, coarse_mask, coarse_air
        Block means of the volume, the object, and the air that is at least `AIR_GAP_MM` away from it.
    coarse_bright
        The largest bright piece, its holes filled, found in the same way whatever fills the background.
    blanked
        Share of the surroundings that is filled with the constant, as scanners and defacing leave it.
    """

    background: float | None
    stripped: bool
    box: tuple[slice, slice, slice]
    mask: Mask
    factors: tuple[int, int, int]
    coarse: Volume
    coarse_mask: Mask
    coarse_air: Mask
    coarse_bright: Mask
    blanked: float


def spread(coarse: Mask, factors: tuple[int, int, int], shape: tuple[int, ...]) -> Mask:
    """Return a coarse mask on the volume's voxels (`shape`); rests at the upper border repeat the last block."""
    for axis, factor in enumerate(factors):
        if factor > 1 or coarse.shape[axis] != shape[axis]:
            index = np.minimum(np.arange(shape[axis]) // factor, coarse.shape[axis] - 1)
            coarse = coarse.take(index, axis=axis)
    return coarse


def find_foreground(volume: Volume, spacing_mm: tuple[float, ...]) -> Foreground:
    """Find object, air and filling of a finite `volume` (I, J, K) with voxels of `spacing_mm`."""
    factors = coarse_factors(volume.shape, spacing_mm)
    coarse = block_mean(volume, factors)
    steps = tuple(s * f for s, f in zip(spacing_mm, factors, strict=True))
    background = constant_background(volume)
    if background is None:
        filled, inside = None, np.ones(coarse.shape, dtype=bool)
    else:
        filled = volume != background
        inside = block_mean(filled, factors) > 0.5
    stripped = filled is not None and background is not None and _is_stripped(coarse, inside, background, steps)
    bright = _object(coarse, inside, steps)
    head = inside if stripped else bright
    around = np.zeros_like(inside) if stripped else ~_grown(head, AIR_GAP_MM, steps)
    air = inside & around
    blanked = 1.0 if stripped else float(1 - inside[around].mean()) if around.any() else 0.0
    box = _box(head, factors, volume.shape)
    if stripped and filled is not None:
        mask = np.ascontiguousarray(filled[box])
    else:
        mask = np.ascontiguousarray(spread(head, factors, volume.shape)[box])
    if not mask.any():
        mask = np.ones_like(mask)
    return Foreground(background, stripped, box, mask, factors, coarse, head, air, bright, blanked)


def all_of(volume: Volume) -> Foreground:
    """Return all voxels of `volume` (I, J, K) as the object: for images too small to look for one."""
    box, everything = (slice(None), slice(None), slice(None)), np.ones(volume.shape, dtype=bool)
    return Foreground(None, False, box, everything, (1, 1, 1), volume, everything, ~everything, everything, 0.0)


def constant_background(volume: Volume) -> float | None:
    """Return the value that at least five of the eight corners share and that fills 2 % of the volume, or None."""
    ends = [(0, -1) if n > 1 else (0,) for n in volume.shape]
    corners = [float(volume[i, j, k]) for i in ends[0] for j in ends[1] for k in ends[2]]
    value = max(set(corners), key=corners.count)
    if corners.count(value) <= len(corners) // 2:
        return None
    share = float(np.count_nonzero(volume == np.float32(value)) / volume.size)
    return value if 0.02 <= share < 1 else None


def coarse_factors(shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> tuple[int, int, int]:
    """Return how many voxels to average along each axis for about `COARSE_MM`, leaving at least 16 blocks."""
    found = [max(1, min(int(COARSE_MM / s + 0.25), n // 16)) for n, s in zip(shape, spacing_mm, strict=True)]
    while np.prod([n // f for n, f in zip(shape, found, strict=True)]) > 4_000_000:
        found = [f + 1 if n // (f + 1) >= 16 else f for n, f in zip(shape, found, strict=True)]
    return found[0], found[1], found[2]


def block_mean(volume: NDArray[np.float32] | Mask, factors: tuple[int, int, int]) -> Volume:
    """Return means over blocks of `factors` voxels; a rest at the upper border is left out."""
    whole = [n // f for n, f in zip(volume.shape, factors, strict=True)]
    cut = volume[tuple(slice(0, n * f) for n, f in zip(whole, factors, strict=True))]
    total = np.zeros(whole, dtype=np.float32)
    for i in range(factors[0]):
        for j in range(factors[1]):
            for k in range(factors[2]):
                total += cut[i :: factors[0], j :: factors[1], k :: factors[2]]
    return total / np.float32(np.prod(factors))


def otsu(values: NDArray[np.float32], classes: int = 2) -> tuple[float, ...]:
    """Return the `classes` - 1 thresholds that part `values` best (Otsu, IEEE Trans SMC 9:62, 1979), 2 or 3 classes.

    The histogram has 128 bins between the 0.5th and the 99.5th percentile. Where bins between two classes are empty, every
    cut among them parts equally well: the threshold is the middle of the gap.
    """
    low, high = (float(v) for v in np.percentile(values, (0.5, 99.5)))
    if not high > low:
        return (low,) * (classes - 1)
    counts, edges = np.histogram(values, bins=128, range=(low, high))
    weight = np.concatenate(([0.0], np.cumsum(counts)))
    moment = np.concatenate(([0.0], np.cumsum(counts * (edges[:-1] + edges[1:]) / 2)))

    def between(a: NDArray[np.intp], b: NDArray[np.intp]) -> NDArray[np.float64]:
        w, m = weight[b] - weight[a], moment[b] - moment[a]
        return np.asarray(np.where(w > 0, m * m / np.maximum(w, 1e-12), 0.0))

    def threshold(cut: int) -> float:
        held = np.flatnonzero(counts[cut:])
        return float(edges[cut] + edges[cut + (int(held[0]) if held.size else 0)]) / 2

    cut = np.arange(129)
    first, last = np.zeros_like(cut), np.full_like(cut, 128)
    if classes == 2:
        return (threshold(int(np.argmax(between(first, cut) + between(cut, last)))),)
    a, b = np.meshgrid(cut, cut, indexing="ij")
    score = np.where(a < b, between(np.zeros_like(a), a) + between(a, b) + between(b, np.full_like(b, 128)), -np.inf)
    i, j = np.unravel_index(int(np.argmax(score)), score.shape)
    return threshold(int(i)), threshold(int(j))


def _is_stripped(coarse: Volume, inside: Mask, background: float, steps: tuple[float, ...]) -> bool:
    """Tell whether everything that is not `background` lies at the object: no air between."""
    values = coarse[inside]
    if values.size < 16:
        return True
    low, high = background, float(np.percentile(values, 98))
    if high < low:
        low, high = float(values.min()), float(values.max())
    bright = _largest(inside & (coarse > low + 0.15 * (high - low)), steps)
    apart = inside & ~_grown(bright, AIR_GAP_MM, steps)
    return int(apart.sum()) < 0.005 * max(int(bright.sum()), 1)


def _largest(bright: Mask, steps: tuple[float, ...]) -> Mask:
    around = ball(OPENED_MM, steps, tuple(n + 1 for n in bright.shape))  # beyond the border of a single slice too
    parts, count = ndimage.label(dilated(eroded(bright, around), around))
    if count == 0:
        return bright
    largest = parts == (int(np.argmax(np.bincount(parts.ravel())[1:])) + 1)
    return np.asarray(dilated(largest, around) & (bright | largest))


def _object(coarse: Volume, inside: Mask, steps: tuple[float, ...]) -> Mask:
    """Return the largest bright piece, its holes filled; all of `inside` where there is none."""
    values = coarse[inside]
    if values.size < 16:
        return inside
    low = float(np.percentile(values, 2))
    root = np.sqrt(np.maximum(values - low, 0))
    threshold = low + 0.5 * otsu(root)[0] ** 2
    bright = inside & (coarse > threshold)
    found = _filled(_largest(bright, steps))
    return found if found.any() else inside


def _filled(mask: Mask) -> Mask:
    """Fill holes slice by slice along every axis that has at least three slices, which also closes sinuses and lungs."""
    if mask.shape[2] < 3:
        return np.asarray(ndimage.binary_fill_holes(mask[..., 0]))[..., None] if mask.shape[2] == 1 else mask
    inner = np.zeros((3, 3, 3), dtype=bool)
    inner[1, :, 1] = inner[:, 1, 1] = True
    return _closed(_closed(mask, ndimage.generate_binary_structure(3, 1)), inner)


def _closed(mask: Mask, neighbours: Mask) -> Mask:
    """Return `mask` and what outside of it is not connected with the border across which `neighbours` (3, 3, 3) reach."""
    parts, count = ndimage.label(~mask, neighbours)
    outside = np.zeros(count + 1, dtype=bool)
    for axis in range(3):
        if np.take(neighbours, (0, 2), axis=axis).any():
            outside[np.unique(parts.take((0, -1), axis=axis))] = True
    outside[0] = False
    return ~outside[parts]


def _grown(mask: Mask, margin_mm: float, steps: tuple[float, ...]) -> Mask:
    """Return `mask` and all that is at most `margin_mm` away from it."""
    if not mask.any() or mask.all():
        return mask
    return dilated(mask, ball(margin_mm, steps, mask.shape))


def faces_touched(mask: Mask) -> int:
    """Return how many faces of the volume hold the object on more than 5 % of their area."""
    ends = [mask.take(end, axis=axis) for axis in range(3) if mask.shape[axis] > 1 for end in (0, -1)]
    return sum(bool(face.mean() > 0.05) for face in ends)


def _box(mask: Mask, factors: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found or found[0] is None:
        return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
    ends = []
    for axis, part in enumerate(found[0]):
        stop = shape[axis] if part.stop >= mask.shape[axis] else part.stop * factors[axis]
        ends.append(slice(part.start * factors[axis], stop))
    return ends[0], ends[1], ends[2]
