"""Intervals of any statistic of weighted samples: subjects are drawn with replacement, each with all its samples.

A draw is written as how often it holds each subject, so that a statistic is computed for many draws at once. The interval
is BCa, as for means (see `striate.measure.statistics`). Its acceleration comes from leaving out one subject at a time or, with
more than `GROUPS` subjects, one of `GROUPS` equal groups of them, which estimates the same number (Efron and Tibshirani,
An Introduction to the Bootstrap, 1993, chapters 11 and 14). A statistic gets no interval where it ceases to exist when
one of these is left out, or in more than half of the draws: too few subjects carry it. Other draws in which it does not
exist (a class that was not drawn) are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.measure.statistics import LEVEL, bca_interval

DRAWS = 2000
GROUPS = 200
_BLOCK = 1 << 22

Weights = NDArray[np.int32]
Statistic = Callable[[Weights], NDArray[np.float64]]
"""Weights (draws, subjects) → values (draws, statistics), NaN where a statistic does not exist."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One measure with its interval.

    Attributes
    ----------
    value
        None where the measure does not exist.
    low, high
        Interval over subjects; None where none can be given.
    n
        Samples that the value is computed over; of a share, its denominator.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def to_dict(self) -> dict[str, float | int | None]:
        """Return the JSON form."""
        return asdict(self)


def numbered(subjects: Sequence[str]) -> tuple[NDArray[np.intp], int]:
    """Return the number of each sample's subject, 0 … count − 1, and the count."""
    names, owner = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    return owner, len(names)


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """Statistics on all subjects, on draws of them, and with some left out.

    Attributes
    ----------
    values
        (statistics,); NaN where one does not exist.
    drawn
        (draws, statistics); no rows with fewer than two subjects.
    left_out
        (subjects or groups, statistics); no rows with fewer than two subjects.
    """

    values: NDArray[np.float64]
    drawn: NDArray[np.float64]
    left_out: NDArray[np.float64]

    def estimates(self, sizes: Sequence[int], level: float = LEVEL, *, percentile: bool = False) -> list[Estimate]:
        """Return each statistic with its interval.

        Parameters
        ----------
        sizes
            The ``n`` of each statistic.
        level
            Share of repetitions in which an interval should hold the true value.
        percentile
            Take the quantiles of the draws as they are, without BCa's correction. Where the statistics are points of a
            curve that rises in every draw, so do these bounds; corrected ones need not.
        """
        found = []
        for m, (value, n) in enumerate(zip(self.values, sizes, strict=True)):
            known = float(value) if np.isfinite(value) else None
            low, high = _interval(known, self.drawn[:, m], self.left_out[:, m], level, percentile)
            found.append(Estimate(known, low, high, int(n)))
        return found


def resample(statistic: Statistic, subjects: int, *, samples: int, seed: int = 0, draws: int = DRAWS) -> Resampled:
    """Compute statistics on all subjects and on draws of them.

    Parameters
    ----------
    statistic
        Weights (draws, `subjects`) → values (draws, statistics).
    subjects, samples
        How many there are; `samples` bounds the draws that are computed at once.
    seed
        Of the numpy generator; the same seed gives the same draws.
    draws
        Number of draws.
    """
    values = statistic(np.ones((1, subjects), dtype=np.int32))[0]
    if subjects < 2 or draws < 1:
        none = np.zeros((0, len(values)))
        return Resampled(values, none, none)
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // max(subjects, samples))
    left_out = _blocks(statistic, _left_out(subjects, step, rng))
    return Resampled(values, _blocks(statistic, _drawn(subjects, step, rng, draws)), left_out)


def _blocks(statistic: Statistic, blocks: Iterator[Weights]) -> NDArray[np.float64]:
    return np.concatenate([statistic(block) for block in blocks])


def _drawn(subjects: int, step: int, rng: np.random.Generator, draws: int) -> Iterator[Weights]:
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        places = rng.integers(subjects, size=(rows, subjects)) + np.arange(rows)[:, None] * subjects
        counts = np.bincount(places.ravel(), minlength=rows * subjects)
        yield counts.reshape(rows, subjects).astype(np.int32)


def _left_out(subjects: int, step: int, rng: np.random.Generator) -> Iterator[Weights]:
    groups = min(subjects, GROUPS)
    group = rng.permutation(subjects) % groups
    for start in range(0, groups, step):
        rows = np.arange(start, min(start + step, groups))
        yield (group[None, :] != rows[:, None]).astype(np.int32)


def _interval(
    value: float | None, drawn: NDArray[Any], left_out: NDArray[Any], level: float, percentile: bool
) -> tuple[float | None, float | None]:
    exist = np.isfinite(drawn)
    if value is None or not len(drawn) or not np.isfinite(left_out).all() or exist.mean() < 0.5:
        return None, None
    if percentile:
        low, high = np.quantile(drawn[exist], [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)
    return bca_interval(value, drawn[exist], left_out, level)
