"""Volumes made small for pictures: windowed to 8 bits, cut to the head, averaged down."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MARGIN = 3
"""Voxels kept around what is shown."""

Bytes = NDArray[np.uint8]


def window(volume: NDArray[Any]) -> Bytes:
    """Return `volume` as uint8: background 0, the rest 1 to 255 between its 0.5th and 99.5th percentile.

    Background is the value that fills the corners, where it fills at least a twentieth of the volume; uint8 comes back
    unchanged where it uses more than half of its range.
    """
    if volume.dtype == np.uint8 and volume.max() >= 128:
        return volume
    values = np.ascontiguousarray(
        volume, dtype=np.float32
    )  # else it is walked through against its order in memory, often
    if not np.isfinite(values).all():
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    empty = values == values.flat[0]
    if empty.mean() < 0.05 or empty.all():
        empty[:] = False
    low, high = np.percentile(_sample(values, ~empty, 500_000), (0.5, 99.5))
    shown = np.empty(values.shape, dtype=np.uint8)
    for out, part, nothing in zip(shown, values, empty, strict=True):  # slice by slice: numbers are wide on the way
        scaled = np.clip((part - low) / max(high - low, 1e-6), 0, 1) * 254 + 1
        scaled[nothing] = 0
        out[:] = scaled.round()
    return shown


def _sample(values: NDArray[np.float32], inside: NDArray[np.bool_], least: int) -> NDArray[np.float32]:
    """Return every n-th of the values (*spatial) `inside`, n being as large as leaves at least so many; all of fewer."""
    step, seen, found = max(1, int(np.count_nonzero(inside)) // least), 0, list[NDArray[np.float32]]()
    for part, mask in zip(values, inside, strict=True):  # slice by slice: all of them once more would take much memory
        taken = part[mask]
        found.append(taken[-seen % step :: step])
        seen += taken.size
    return np.concatenate(found)


def box_around(shown: list[Bytes], *masks: NDArray[Any] | None) -> tuple[slice, ...]:
    """Return the smallest box around the head and all labels, with a margin."""
    inside = np.zeros(shown[0].shape, dtype=bool)
    for image in shown:
        inside |= image > 25
    for mask in masks:
        if mask is not None:
            inside |= mask > 0
    box = []
    for axis in range(inside.ndim):
        size = int(inside.shape[axis])
        share = inside.mean(axis=tuple(a for a in range(3) if a != axis))
        kept = np.flatnonzero(share > 2e-4)
        low, high = (int(kept[0]), int(kept[-1]) + 1) if kept.size else (0, size)
        box.append(slice(max(0, low - MARGIN), min(size, high + MARGIN)))
    for axis, cut in enumerate(box):
        for mask in masks:
            if mask is not None and (mask > 0).any():
                kept = np.flatnonzero((mask > 0).any(axis=tuple(a for a in range(3) if a != axis)))
                cut = slice(min(cut.start, int(kept[0])), max(cut.stop, int(kept[-1]) + 1))
        box[axis] = cut
    return tuple(box)


def average(volume: Bytes, bins: list[int]) -> Bytes:
    """Average to `bins` voxels along each axis (box filter over whole voxels)."""
    found: NDArray[Any] = volume
    for axis, count in enumerate(bins):
        size = int(found.shape[axis])
        if size != count:
            edges = np.round(np.arange(count + 1) * size / count).astype(int)
            total = np.add.reduceat(found, edges[:-1], axis=axis, dtype=np.float32)
            widths = np.diff(edges).reshape([-1 if a == axis else 1 for a in range(3)])
            found = total / widths
    return np.asarray(found.round().astype(np.uint8) if found.dtype != np.uint8 else found)


def nearest(labels: NDArray[Any], bins: list[int]) -> NDArray[Any]:
    """Take the label in the middle of each of `bins` bins along each axis."""
    for axis, count in enumerate(bins):
        if labels.shape[axis] != count:
            middles = ((np.arange(count) + 0.5) * labels.shape[axis] / count).astype(int)
            labels = np.take(labels, middles, axis=axis)
    return labels


def small(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels in the smallest unsigned type that holds them (uint8 or uint16)."""
    return labels.astype(np.uint8 if int(labels.max(initial=0)) < 256 else np.uint16)
