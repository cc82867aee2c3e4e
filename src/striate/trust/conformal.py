"""Split conformal prediction, by subject: what a score of a new subject's case stays below, with a stated probability.

Where the subjects of calibration and a new one are exchangeable, the score of a new subject's case is at most the ⌈(n +
1) · coverage⌉-th smallest of n with a probability of at least `coverage`, whatever the network and the scores are
(Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; Lei et al., JASA 113:1094, 2018). Without
ties it is at most coverage + 1 / (n + 1). This needs n ≥ coverage / (1 − coverage) subjects: 9 for 90 %.

Cases of one subject are alike, so they are not n. Each subject weighs 1, shared evenly by its cases, and the new one
weighs 1 at infinity: hierarchical conformal prediction (Lee, Barber and Willett, "Distribution-free inference with
hierarchical data", 2023). This keeps the guarantee for any one case of a new subject. (A subject's worst case would
guarantee all its cases at once, with intervals that are too wide for one.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDING = 1e-9
"""Scores and weights closer than this are equal."""


def subjects_needed(coverage: float) -> int:
    """Return how many subjects a coverage needs: ⌈coverage / (1 − coverage)⌉."""
    return math.ceil(coverage / (1 - coverage) - ROUNDING)


def subject_weights(subjects: Sequence[str]) -> NDArray[np.float64]:
    """Return the weight (n,) of each case: one over the number of cases of its subject."""
    if not len(subjects):
        return np.zeros(0)
    _, owner, cases = np.unique(np.asarray(subjects, dtype=str), return_inverse=True, return_counts=True)
    return np.asarray(1.0 / cases[owner])


def bound(scores: NDArray[np.float64], weights: NDArray[np.float64], coverage: float) -> float | None:
    """Return what the score of a new subject's case stays at or below; None with too few subjects.

    Parameters
    ----------
    scores, weights
        (n,) of the cases of calibration, and their weights from `subject_weights`.
    coverage
        For instance 0.9.
    """
    wanted = coverage * (weights.sum() + 1)
    order = np.argsort(scores, kind="stable")
    reached = np.flatnonzero(np.cumsum(weights[order]) >= wanted - ROUNDING)
    return float(scores[order[reached[0]]]) if len(reached) else None


def nonconformity(true: ArrayLike, centre: ArrayLike, value: ArrayLike, below: ArrayLike, above: ArrayLike) -> Any:
    """Return the smallest q for which `true` lies in the interval from centre − q · below to centre + q · above and `value`.

    The interval is stretched to hold `value`, so what lies between `value` and `centre` has the score 0. Intervals that
    grow with one number are all that conformal prediction needs: Gupta, Kuchibhotla and Ramdas, "Nested conformal prediction and
    quantile out-of-bag ensemble methods", Pattern Recognition 127 (2022).

    Parameters
    ----------
    true
        What is to be covered.
    centre
        Best estimate of it.
    value
        The number that is shown.
    below, above
        Scales of the error, positive.
    """
    true, centre = np.asarray(true, dtype=np.float64), np.asarray(centre, dtype=np.float64)
    over, under = (true - centre) / above, (centre - true) / below
    lower, upper = np.minimum(centre, value), np.maximum(centre, value)
    return np.where(true > upper, over, np.where(true < lower, under, 0.0))
