"""`Observed`: what a network said of a case beyond its mask, small enough to keep beside it.

Probabilities are kept as logits in `BINS` bins of equal width from −`REACH` to `REACH`, one byte each: every calibration
curve, expected volume and expected Dice is a sum over such bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 256
REACH = 12.0
EPSILON = np.float32(1e-7)
AT_ONCE = 1 << 16
"""Probabilities that are looked at at once: few enough to stay in the processor's cache."""
LOGITS: NDArray[np.float64] = np.linspace(-REACH, REACH, BINS)
"""The logit that each bin stands for."""


def quantise(share: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the bin (uint8) of each probability, same shape and order in memory; beyond ±`REACH` the outermost."""
    bins = np.empty_like(share, dtype=np.uint8)
    given, found = share.ravel(order="K"), bins.ravel(order="K")  # as `bins` is made anew, the second is no copy
    for start in range(0, given.size, AT_ONCE):
        inside = np.clip(given[start : start + AT_ONCE], EPSILON, 1 - EPSILON, dtype=np.float32)
        logit = np.log(inside / (1 - inside))
        logit += np.float32(REACH)
        logit *= np.float32((BINS - 1) / (2 * REACH))
        np.clip(np.rint(logit, out=logit), 0, BINS - 1, out=logit)
        found[start : start + AT_ONCE] = logit
    return bins


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What was observed while one case was predicted.

    Attributes
    ----------
    counts
        Label or region → (2, BINS) int64: voxels of the part that the network saw (the cropped grid) by the bin of the
        probability of that label; row 0 outside of its predicted mask, row 1 inside.
    true_counts
        The same of the voxels that truly belong to it; empty where no truth was given.
    certainty
        Label or region → bin (uint8) on the grid of the files: for regions of that region's probability, for exclusive
        labels of the probability of the class that was written (one map that all labels share). What lies outside of
        the part that the network saw has bin 0 for regions and BINS − 1 for exclusive labels.
    features
        (F,) float32, what the first layer answered, pooled over the case; empty where it was not asked.
    shares
        Label or region → bin (uint8) of its own probability at every voxel, on the grid of the files; bin 0 where the network
        saw nothing. Empty where no truth was given: only who measures asks for them.
    """

    counts: Mapping[str, NDArray[np.int64]]
    certainty: Mapping[str, NDArray[np.uint8]]
    true_counts: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    features: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    shares: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
