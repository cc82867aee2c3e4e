"""Whether masks belong to their images: two that were exchanged, or one that was drawn on another scan."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from striate.core.image import Image, LabelMap

RING = 2
"""Voxels around a mask that it is compared with."""
MARGIN = 1.1
STRAY, SEEN = 4.0, 1.0
"""A mask is stray where another stands out so many times more, by so many standard deviations or more."""

Floats = NDArray[np.float64]


def contrasts(images: tuple[Image, Image], labels: tuple[LabelMap, LabelMap]) -> Floats:
    """Return how far each mask stands out on each image, in standard deviations of what lies around it.

    Parameters
    ----------
    images
        (C, I, J, K) of the earlier and the later time; the first channel is looked at.
    labels
        Their masks, on the same grids.

    Returns
    -------
    found
        (image, mask), (2, 2); NaN for an empty mask, and for the other image where the two lie on different grids.
    """
    found = np.full((2, 2), np.nan)
    one_grid = labels[0].grid.matches(labels[1].grid)
    for (i, j), _ in np.ndenumerate(found):
        if i == j or one_grid:
            found[i, j] = _contrast(images[i].array[0], labels[j].array)
    return found


def exchanged(found: Floats) -> bool:
    """Tell from `contrasts` whether masks stand out clearly better on the other image than on their own.

    Only masks on one grid can be exchanged unnoticed; of masks on different grids the answer is False.
    """
    own, other = np.nansum(np.diag(found)), np.nansum(np.diag(found[::-1]))
    return bool(other > MARGIN * own > 0)


def stray(found: Floats) -> tuple[bool, bool]:
    """Tell from `contrasts` of which time the mask stands out far less than it does on the other image, or than the other mask.

    It was drawn on another scan then. Where lesions of neither time stand out nothing can be told, nor of empty masks.
    """
    best = [np.fmax(found[1 - i, i], found[1 - i, 1 - i]) for i in range(2)]
    first, second = (bool(best[i] >= SEEN and best[i] > STRAY * found[i, i]) for i in range(2))
    return first, second


def _contrast(array: NDArray[Any], labels: NDArray[Any]) -> float:
    mask = labels > 0
    ring = ndimage.binary_dilation(mask, iterations=RING) & ~mask
    if not mask.any() or not ring.any():
        return float("nan")
    around = array[ring].astype(np.float64)
    return float(abs(array[mask].mean(dtype=np.float64) - around.mean()) / max(float(around.std()), 1e-9))
