"""Tissue contrast: how far apart the darkest and the brightest tissue of a prepared image are, and where tissue is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from striate.data.checks.facts import LEAST_VOXELS
from striate.data.checks.foreground import all_of, find_foreground

LOW, HIGH = 5.0, 95.0
"""Percentiles of the object between which its contrast lies."""


def find_object(channel: NDArray[np.float32], spacing_mm: tuple[float, ...]) -> NDArray[np.bool_]:
    """Return where the object (head, brain, body) of one channel (I, J, K) or (I, J) lies; all of it in tiny images."""
    volume = channel if channel.ndim == 3 else channel[..., None]
    spacing = (*spacing_mm, 1.0)[:3]
    tiny = volume.size < LEAST_VOXELS or not float(volume.max()) > float(volume.min())
    found = all_of(volume) if tiny else find_foreground(volume, spacing)
    where = np.zeros(volume.shape, dtype=bool)
    where[found.box] = found.mask
    return where.reshape(channel.shape)


def tissue_contrast(channel: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    """Return the 95th minus the 5th percentile of a channel over the object `where`, in the channel's own unit.

    It is at least a millionth, so that a constant image divides nothing by 0.
    """
    inside = channel[where]
    low, high = np.percentile(inside[:: max(1, inside.size // 200_000)], (LOW, HIGH))
    return max(float(high - low), 1e-6)
