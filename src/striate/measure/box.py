"""The smallest box around a mask: every measure works inside it, so that small lesions in big scans cost little."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]


def bounding_box(mask: NDArray[Any]) -> Box | None:
    """Return the half-open slices of the smallest box that holds all non-zero elements, or None when there is none."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        if hit.size == 0:
            return None
        box.append(slice(int(hit[0]), int(hit[-1]) + 1))
        mask = mask[(slice(None),) * axis + (box[-1],)]
    return tuple(box)


def union_box(first: NDArray[Any], second: NDArray[Any]) -> Box | None:
    """Return the smallest box that holds all non-zero elements of both masks, or None when both are empty."""
    boxes = [box for box in (bounding_box(first), bounding_box(second)) if box is not None]
    if not boxes:
        return None
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))
