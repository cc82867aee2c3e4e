"""What is not body: the constant that fills an image outside of what was scanned or kept.

It is 0 in most images, but not in all: z-scored images that were skull-stripped before hold a negative constant, CT
holds −1024 or −2000 outside the field of view.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.measure import box

SHARE = 0.1


def background_value(channel: NDArray[Any]) -> float:
    """Return the value that means "nothing here" in one channel (*spatial).

    It is the value that all corners share, provided that it fills at least a tenth of the image; otherwise 0.
    """
    corners = {channel[place].item() for place in itertools.product((0, -1), repeat=channel.ndim)}
    if len(corners) > 1:
        return 0.0
    value = corners.pop()
    if value == 0 or not np.isfinite(value):
        return 0.0
    return float(value) if np.count_nonzero(channel == value) >= SHARE * channel.size else 0.0


def bounding_box(occupied: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the slices that hold every true voxel of (*spatial); everything where there is none."""
    return box.bounding_box(occupied) or tuple(slice(0, n) for n in occupied.shape)
