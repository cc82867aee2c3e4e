"""A conformal interval for the number of true lesions, given the lesions that a mask shows.

Masks miss small lesions, invent others and run several into one, so the truth is a multiple of what is seen. With k
lesions in the mask and e = Σ of their calibrated mean probabilities, a case is scored by |true − m| / √(e + 1) where m
= r (e + 1) − 1 and r is the median over subjects of (true + 1) / (e + 1); what lies between m and k scores 0
(`nonconformity`).

This is full conformal prediction (Vovk, Gammerman and Shafer, 2005, chapter 2): the median is taken anew for each
candidate number, with the candidate among the subjects, so nothing is held out for it and the guarantee is that of a
fixed score; it is exact where each subject has one case. Numbers of lesions are whole: subjects that tie make the
interval cover more often than asked, never less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.trust.conformal import ROUNDING, bound, nonconformity, subject_weights


@dataclass(frozen=True, slots=True)
class Counted:
    """The lesions of one case.

    Attributes
    ----------
    subject
        Whose they are.
    predicted
        Number in the mask.
    evident
        Sum of their calibrated mean probabilities.
    true
        Number in the truth; of no meaning where it is asked for.
    """

    subject: str
    predicted: int
    evident: float
    true: int = 0

    def to_list(self) -> list[Any]:
        """Return the JSON form."""
        return [self.subject, self.predicted, self.evident, self.true]


def count_interval(case: Counted, others: Sequence[Counted], coverage: float) -> tuple[int, int] | None:
    """Return the smallest and the largest number of true lesions that conforms; None with too few subjects.

    The number in the mask always conforms.

    Parameters
    ----------
    case
        The case that is asked about.
    others
        Cases of calibration.
    coverage
        For instance 0.9.
    """
    known = _Known(others, coverage)
    if math.isinf(known.reach(1.0)):
        return None
    low, high = known.lowest(case), known.highest(case)
    while not known.conforms(case, low):
        low += 1
    while not known.conforms(case, high):
        high -= 1
    return low, high


def conforms(case: Counted, others: Sequence[Counted], coverage: float) -> bool:
    """Tell whether the true number of `case` lies in the conformal set that the others give."""
    return _Known(others, coverage).conforms(case, case.true)


class _Known:
    """Cases of calibration as arrays."""

    def __init__(self, cases: Sequence[Counted], coverage: float) -> None:
        self.coverage = coverage
        self.weights = subject_weights([case.subject for case in cases])
        self.predicted, self.evident, self.true = np.array(
            [(case.predicted, case.evident, case.true) for case in cases], dtype=np.float64
        ).reshape(-1, 3).T  # fmt: skip
        self.ratios = (self.true + 1) / (self.evident + 1)

    def median(self, ratio: float) -> float:
        """Return the weighted median of the ratios, with `ratio` as that of one more subject."""
        ratios, weights = np.append(self.ratios, ratio), np.append(self.weights, 1.0)
        order = np.argsort(ratios, kind="stable")
        reached = np.cumsum(weights[order]) >= weights.sum() / 2 - ROUNDING
        return float(ratios[order[int(reached.argmax())]])

    def reach(self, median: float) -> float:
        """Return what the score of one more subject stays at or below; infinite with too few subjects."""
        limit = bound(_score(self.true, median, self.predicted, self.evident), self.weights, self.coverage)
        return math.inf if limit is None else limit

    def conforms(self, case: Counted, true: int) -> bool:
        """Tell whether `true` may be the number of true lesions of `case`."""
        median = self.median((true + 1) / (case.evident + 1))
        return float(_score(true, median, case.predicted, case.evident)) <= self.reach(median) + ROUNDING

    def lowest(self, case: Counted) -> int:
        """Return a number below which none conforms: there the median no longer moves."""
        median = self.median(0.0)
        centre, scale = _centre(median, case.evident)
        return max(0, math.floor(min(case.predicted, float(centre - self.reach(median) * scale))))

    def highest(self, case: Counted) -> int:
        """Return a number above which none conforms."""
        median = self.median(math.inf)
        centre, scale = _centre(median, case.evident)
        return math.ceil(max(case.predicted, float(centre + self.reach(median) * scale)))


def _centre(median: float, evident: Any) -> tuple[Any, Any]:
    """Return what the number of true lesions is compared with, and the scale of the difference."""
    return median * (evident + 1) - 1, np.sqrt(evident + 1)


def _score(true: Any, median: float, predicted: Any, evident: Any) -> NDArray[np.float64]:
    centre, scale = _centre(median, evident)
    return np.asarray(nonconformity(true, centre, predicted, scale, scale))
