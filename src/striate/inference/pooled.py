"""`Pooled`: what a layer answered, averaged over the windows of a case; each counts by its share that is not blank."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLED = 4096
"""Voxels of a window that are looked at for its share that is not blank."""


class Pooled:
    """Sums of pooled maps, as they come in."""

    def __init__(self) -> None:
        self._total: NDArray[np.float64] | None = None
        self._weight = 0.0

    def add(self, found: NDArray[np.float32], weights: NDArray[np.float64]) -> None:
        """Add `statistics` (B, 2 F) of windows, and the weight (W,) of each; B is a multiple of W."""
        weights = np.repeat(weights, len(found) // len(weights))
        summed = weights @ found.astype(np.float64)
        self._total = summed if self._total is None else self._total + summed
        self._weight += float(weights.sum())

    def hearing(self, tiles: NDArray[np.float32], compute: Callable[[NDArray[np.float32]], Any]) -> NDArray[np.float32]:
        """Return the probabilities (B, K, *S) of `tiles` (B, C, *S), and add what the first layer answered.

        `compute` is given one window (1, C, *S) at a time and answers with both: probabilities, then `statistics` (1, 2 F). The
        answer to one window is returned as it came.
        """
        shares, first = list[NDArray[np.float32]](), list[NDArray[np.float32]]()
        for tile in tiles:
            found = compute(np.ascontiguousarray(tile[None]))
            shares.append(found[0])
            first.append(np.array(found[1]))
        self.add(np.concatenate(first), content(tiles))
        return shares[0] if len(shares) == 1 else np.concatenate(shares)

    def take(self) -> NDArray[np.float32]:
        """Return (2 F,) means, then standard deviations; empty where only blank windows came. Begins anew."""
        total, weight = self._total, self._weight
        self._total, self._weight = None, 0.0
        if total is None or weight <= 0:
            return np.zeros(0, np.float32)
        return (total / weight).astype(np.float32)


def content(windows: NDArray[Any]) -> NDArray[np.float64]:
    """Return for each window (B, C, *S) the share of voxels that differ from the first voxel in some channel."""
    flat = windows.reshape(*windows.shape[:2], -1)[..., :: max(1, math.prod(windows.shape[2:]) // SAMPLED)]
    differs: NDArray[np.bool_] = (flat != flat[..., :1]).any(axis=1)
    return np.asarray(differs.mean(axis=1), dtype=np.float64)
