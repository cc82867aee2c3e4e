"""The means of two methods on the same cases, subjects drawn together.

Interval and p are those of `striate.measure.paired`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from striate.core.counted import counted
from striate.core.errors import DataError, expected
from striate.measure.paired import Difference, two_sided
from striate.measure.resample import DRAWS, Estimate, Weights, numbered, resample
from striate.measure.statistics import LEVEL


def compare_means(
    first: Sequence[float], second: Sequence[float], subjects: Sequence[str], *, seed: int = 0, level: float = LEVEL,
    draws: int = DRAWS,
) -> Difference:  # fmt: skip
    """Compare the means of two methods.

    Parameters
    ----------
    first, second
        (n,) values on the same cases; a case that is NaN in either is left out.
    subjects
        (n,) whose case it is.
    seed, level, draws
        Of the bootstrap.

    Raises
    ------
    DataError
        When the lengths differ.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape or len(subjects) != len(one):
        got = f"{len(one)} and {counted(len(other), 'value')}, {counted(len(subjects), 'subject')}"
        raise DataError(expected("comparison", got, "the same cases are needed"))
    known = np.isfinite(one) & np.isfinite(other)
    if not known.any():
        return Difference(None, None, Estimate(None, None, None, 0), None)
    one, other = one[known], other[known]
    owner, count = numbered([s for s, k in zip(subjects, known, strict=True) if k])
    sums, sizes = np.bincount(owner, weights=one - other, minlength=count), np.bincount(owner, minlength=count)

    def statistic(weights: Weights) -> NDArray[np.float64]:
        return np.asarray((weights @ sums) / (weights @ sizes))[:, None]

    found = resample(statistic, count, samples=len(one), seed=seed, draws=draws)
    estimate = found.estimates([len(one)], level)[0]
    p = None if estimate.low is None else two_sided(found.drawn[:, 0])
    return Difference(float(one.mean()), float(other.mean()), estimate, p)
