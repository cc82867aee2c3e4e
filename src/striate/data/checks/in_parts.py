"""Sums over many voxels in double precision, a part at a time, so that no copy of them all is made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 1 << 20
"""Voxels of a part: few enough to stay in the processor's cache."""


def summed(values: NDArray[np.float32], of: Callable[[NDArray[np.float32]], NDArray[np.floating]]) -> float:
    """Return the sum of what `of` makes of `values`, of any shape, given to it in one row, a part at a time."""
    flat = values.reshape(-1)
    return sum(float(np.sum(of(flat[low : low + AT_ONCE]), dtype=np.float64)) for low in range(0, flat.size, AT_ONCE))


def deviation(values: NDArray[np.float32]) -> float:
    """Return the standard deviation of `values`, at least one."""
    mean = float(values.mean(dtype=np.float64))
    return float(np.sqrt(summed(values, lambda part: np.square(part - np.float64(mean))) / values.size))
