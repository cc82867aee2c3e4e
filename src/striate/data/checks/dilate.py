"""Masks grown and shrunk by a ball, along whole lines at once: many times as fast as by a distance map, and the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def ball(radius_mm: float, steps: tuple[float, ...], shape: tuple[int, ...]) -> Mask:
    """Return what lies at most `radius_mm` from the middle voxel; no wider than a mask of `shape` (I, J, K) can need."""
    reach = [min(int(radius_mm / step + 1e-9), n - 1) for step, n in zip(steps, shape, strict=True)]
    axes = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
    square = sum((axis * step) ** 2 for axis, step in zip(axes, steps, strict=True))
    return np.asarray(np.sqrt(square) <= radius_mm)


def dilated(mask: Mask, around: Mask, *, outside: bool = False) -> Mask:
    """Return where `around`, put on some voxel of `mask`, reaches; same shape.

    Parameters
    ----------
    mask
        (I, J, K).
    around
        Odd along every axis and symmetric; along the first axis it is, everywhere, a line around the middle or nothing.
    outside
        What lies beyond the border.
    """
    reach = [n // 2 for n in around.shape]
    padded = np.pad(mask, [(r, r) for r in reach], constant_values=outside)
    line, size = padded[reach[0] : len(padded) - reach[0]].copy(), len(mask)
    found, row = np.zeros_like(line), line.shape[2]
    margin = reach[1] * row + reach[2]  # a step across is a step in memory; what wraps around falls into the padding
    inner = found.reshape(-1)[margin : found.size - margin]
    widths = np.where(around[reach[0]], around.sum(axis=0) // 2, -1)
    for width in range(reach[0] + 1):
        if width:
            line |= padded[reach[0] - width :][:size]
            line |= padded[reach[0] + width :][:size]
        for j, k in np.argwhere(widths == width):
            start = int(j) * row + int(k)
            inner |= line.reshape(-1)[start : start + inner.size]
    return found[:, reach[1] : reach[1] + mask.shape[1], reach[2] : reach[2] + mask.shape[2]]


def eroded(mask: Mask, around: Mask, *, outside: bool = False) -> Mask:
    """Return where all that `around` reaches lies in `mask`; parameters as of `dilated`."""
    return ~dilated(~mask, around, outside=not outside)
