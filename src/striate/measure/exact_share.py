"""The exact binomial interval of a share, and where it takes the place of a bootstrap interval that has no width."""

from __future__ import annotations

from dataclasses import replace

from striate.measure.resample import Estimate
from striate.measure.statistics import LEVEL

_NOTHING = 1e-12


def clopper_pearson(hits: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact interval of the share `hits` of `n` (Clopper and Pearson, Biometrika 26:404, 1934).

    Parameters
    ----------
    hits
        How many of them; a sum of shares need not be whole.
    n
        How many independent ones there are, at least 1.
    level
        Share of repetitions in which the interval should at least hold the true share.
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = 0.0 if hits <= 0 else float(betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits >= n else float(betaincinv(hits + 1, n - hits, 1 - tail))
    return low, high


def with_width(found: Estimate, subjects: int | None, level: float = LEVEL) -> Estimate:
    """Return `found` with an interval that has a width, or with none.

    Where every draw of subjects gives the same value, resampling tells nothing. A share of 0 or 1 gets the exact interval
    there; what is no such share gets none.

    Parameters
    ----------
    found
        A value with its bootstrap interval.
    subjects
        How many a share rests on, each counted once; None for what is no share.
    level
        Of the interval.
    """
    if found.value is None or found.low is None or found.high is None or found.high - found.low > _NOTHING:
        return found
    low: float | None = None
    high: float | None = None
    if subjects and min(abs(found.value), abs(found.value - 1)) < _NOTHING:
        low, high = clopper_pearson(round(found.value) * subjects, subjects, level)
    return replace(found, low=low, high=high)
