"""Two classifiers on the same samples: how they differ, and whether by more than chance.

* McNemar's exact test (Psychometrika 12:153, 1947; exact: the binomial test of the discordant pairs) asks whether one is
  right more often. It takes samples as independent, so it is too sure where a subject has several.
* The paired bootstrap draws subjects, the same for both, and gives the interval of the difference (BCa) and a two-sided
  p: twice the smaller share of draws on either side of zero, (count + 1) / (draws + 1), ties counting on both.
* Holm's correction (Scandinavian Journal of Statistics 6:65, 1979) for several comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from striate.core.counted import counted
from striate.core.errors import DataError, UsageError, expected
from striate.measure.class_scores import ClassScores, decisions
from striate.measure.resample import DRAWS, Estimate, Weights, numbered, resample
from striate.measure.statistics import LEVEL

COMPARED = ("accuracy", "balanced_accuracy", "macro_auc", "auc")


@dataclass(frozen=True, slots=True)
class McNemar:
    """McNemar's exact test.

    Attributes
    ----------
    only_first, only_second
        Samples that only the first, or only the second, classifier has right.
    p
        Two-sided; 1 where they never differ.
    """

    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A measure of the first classifier minus that of the second.

    Attributes
    ----------
    first, second
        The measure of each; None where it does not exist.
    difference
        With its interval over subjects.
    p
        Two-sided, from the bootstrap; None where there is no interval.
    """

    first: float | None
    second: float | None
    difference: Estimate
    p: float | None


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Two classifiers on the same samples.

    Attributes
    ----------
    samples, subjects
        How many there are.
    mcnemar
        Of right against wrong samples; where classes may occur together a sample is right when every class is.
    differences
        ``overall`` or class → measure → difference.
    """

    samples: int
    subjects: int
    mcnemar: McNemar
    differences: Mapping[str, Mapping[str, Difference]]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def mcnemar(first_right: NDArray[Any], second_right: NDArray[Any]) -> McNemar:
    """Test whether one of two classifiers is right more often.

    Parameters
    ----------
    first_right, second_right
        (N,) whether each has the sample right.

    Raises
    ------
    DataError
        When the lengths differ.
    """
    one, other = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    if one.shape != other.shape:
        raise DataError(expected("comparison", f"{one.shape} and {other.shape} samples", "the same samples are needed"))
    first, second = int((one & ~other).sum()), int((other & ~one).sum())
    p = min(1.0, 2.0 * float(binom.cdf(min(first, second), first + second, 0.5)))
    return McNemar(first, second, p)


def compare(
    classes: Sequence[str],
    truth: NDArray[Any],
    first: NDArray[Any],
    second: NDArray[Any],
    subjects: Sequence[str],
    *,
    seed: int = 0,
    level: float = LEVEL,
    draws: int = DRAWS,
) -> PairedComparison:
    """Compare two classifiers on the same samples.

    Parameters
    ----------
    classes
        K names.
    truth
        (N,) numbers of exclusive classes, or (N, K) bool.
    first, second
        (N, K) probabilities of each classifier.
    subjects
        N names; the bootstrap draws subjects.
    seed, level, draws
        Of the bootstrap.

    Raises
    ------
    DataError
        When shapes do not fit.
    """
    names, truth = tuple(classes), np.asarray(truth)
    said = [np.asarray(p, dtype=np.float64) for p in (first, second)]
    if any(p.shape != (len(truth), len(names)) for p in said) or len(subjects) != len(truth) or not len(truth):
        got = f"probabilities {said[0].shape} and {said[1].shape}"
        got += f", {counted(len(truth), 'truth')}, {counted(len(subjects), 'subject')}"
        raise DataError(expected("comparison", got, f"(N, {len(names)}) twice and N of both are needed"))
    exclusive = truth.ndim == 1
    hot = np.asarray(truth[:, None] == np.arange(len(names))) if exclusive else truth.astype(bool)
    owner, count = numbered(subjects)
    scores = [ClassScores(names, hot, p, owner, count, exclusive=exclusive) for p in said]
    wanted = [n for n, (_, measure) in enumerate(scores[0].columns) if measure in COMPARED]

    def statistic(weights: Weights) -> NDArray[np.float64]:
        one, other = (s.statistic(weights)[:, wanted] for s in scores)
        return one - other

    once = np.ones((1, count), dtype=np.int32)
    values = [[_known(v) for v in s.statistic(once)[0, wanted]] for s in scores]
    sizes = [scores[0].sizes[n] for n in wanted]
    resampled = resample(statistic, count, samples=len(truth), seed=seed, draws=draws)
    found = resampled.estimates(sizes, level)
    differences: dict[str, dict[str, Difference]] = {}
    for m, n in enumerate(wanted):
        name, measure = scores[0].columns[n]
        p = None if found[m].low is None else two_sided(resampled.drawn[:, m])
        one = Difference(values[0][m], values[1][m], found[m], p)
        differences.setdefault(name or "overall", {})[measure] = one
    right = [(decisions(p, exclusive=exclusive) == hot).all(axis=1) for p in said]
    return PairedComparison(len(truth), count, mcnemar(*right), differences)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p values corrected for their number, in the order given.

    Raises
    ------
    UsageError
        When one is not between 0 and 1.
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise UsageError(expected("p values", f"{p:g}", "numbers between 0 and 1 are needed"))
    count = len(p_values)
    corrected = [0.0] * count
    largest = 0.0
    for rank, n in enumerate(sorted(range(count), key=lambda n: p_values[n])):
        largest = max(largest, min(1.0, (count - rank) * p_values[n]))
        corrected[n] = largest
    return tuple(corrected)


def two_sided(drawn: NDArray[np.float64]) -> float:
    """Return the two-sided p of bootstrap draws (n,) of a difference; see the top of this file."""
    drawn = drawn[np.isfinite(drawn)]
    smaller = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    return min(1.0, 2.0 * (smaller + 1) / (len(drawn) + 1))


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
