"""Whether two masks were exchanged: each fits the other examination's image better than its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from striate.core.image import Image, LabelMap

RING = 2
"""Voxels around a mask that it is compared with."""
MARGIN = 1.1


def exchanged(images: tuple[Image, Image], labels: tuple[LabelMap, LabelMap]) -> bool:
    """Tell whether masks stand out clearly better on the other image than on their own.

    Only masks on one grid can be exchanged unnoticed; of masks on different grids the answer is False.

    Parameters
    ----------
    images
        (C, I, J, K) of the earlier and the later time; the first channel is looked at.
    labels
        Their masks, on the same grids.
    """
    if not labels[0].grid.matches(labels[1].grid) or np.array_equal(labels[0].array, labels[1].array):
        return False
    own = [_contrast(image.array[0], label.array) for image, label in zip(images, labels, strict=True)]
    other = [_contrast(image.array[0], label.array) for image, label in zip(images, labels[::-1], strict=True)]
    return sum(other) > MARGIN * sum(own) > 0


def _contrast(array: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return how far a mask stands out from what lies around it, in standard deviations of that."""
    mask = labels > 0
    ring = ndimage.binary_dilation(mask, iterations=RING) & ~mask
    if not mask.any() or not ring.any():
        return 0.0
    around = array[ring].astype(np.float64)
    return float(abs(array[mask].mean(dtype=np.float64) - around.mean()) / max(float(around.std()), 1e-9))
