"""`ClassSets`: the classes that a sample may have, so that the true one is among them with a stated probability.

Split conformal prediction by subject (`striate.trust.conformal`) with the score of Sadinle, Lei and Wasserman ("Least
ambiguous set-valued classifiers with bounded error levels", JASA 114:223, 2019): 1 − the calibrated probability of a class, but
0 for the most probable one, so that it is always in the set (sets that grow with one number are all that is needed:
Gupta, Kuchibhotla and Ramdas, Pattern Recognition 127, 2022). Nothing is drawn at random. So no set is empty, and where the
most probable class is right for more than the wanted share of samples, every set holds that one class and covers more than was
asked for.

Scores come from curves that never saw the subject (cross-fitting); the coverage that this has is measured, not proven.
It is a promise over all classes together; the coverage of each is measured beside it. Of classes that may occur together
there are no sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.counted import counted
from striate.trust.class_calibration import LEAST_SUBJECTS, folds
from striate.trust.class_curve import Floats
from striate.trust.class_evidence import Judged
from striate.trust.conformal import ROUNDING, bound, subjects_needed


@dataclass(frozen=True, slots=True)
class ClassSets:
    """The rule, and how it did on subjects that were left out.

    Attributes
    ----------
    coverage
        Share of samples of new subjects whose set shall hold the true class.
    reach
        Largest score of a class in a set; None with too few subjects, or where classes may occur together.
    n_subjects
        That it rests on.
    exclusive
        Whether each sample has exactly one class.
    held
        Share of left-out samples whose set held the true class, each subject counting alike; None where it was not measured.
    held_by_class
        Class → the same of the samples that have it; classes that occurred.
    size, single
        Mean number of classes in a left-out set, and share of sets of one class.
    """

    coverage: float
    reach: float | None = None
    n_subjects: int = 0
    exclusive: bool = True
    held: float | None = None
    held_by_class: Mapping[str, float] = field(default_factory=dict)
    size: float | None = None
    single: float | None = None

    @classmethod
    def fit(
        cls, judged: Judged, left_out: Floats, classes: Sequence[str], coverage: float, *, exclusive: bool
    ) -> ClassSets:
        """Fit to probabilities (N, K) by curves that did not see the subject, and measure with each group left out.

        Parameters
        ----------
        judged
            Truth and subjects of the samples.
        left_out
            From `ClassCalibration.fit_left_out`.
        classes
            K names.
        coverage
            For instance 0.9.
        exclusive
            Whether each sample has exactly one class.
        """
        if not exclusive or not judged.count:
            return cls(coverage, None, judged.count, exclusive)
        scores = scores_of(left_out)
        true, weights = scores[judged.truth], judged.weights
        reach = bound(true, weights, coverage)
        if reach is None or judged.count < LEAST_SUBJECTS:  # of one subject nothing is calibrated
            return cls(coverage, None, judged.count)
        inside, groups = np.zeros(scores.shape, dtype=bool), folds(judged.count)
        for group in range(int(groups.max()) + 1):
            mine = groups[judged.subjects] == group
            limit = bound(true[~mine], weights[~mine], coverage)
            if limit is None:
                return cls(coverage, reach, judged.count)
            inside[mine] = scores[mine] <= limit + ROUNDING
        return cls(coverage, reach, judged.count, True, **measure_sets(inside, judged.truth, weights, classes))

    def of(self, probabilities: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Return which classes are in the set of each sample (N, K), by its calibrated probabilities; None without a rule."""
        if self.reach is None:
            return None
        return np.asarray(scores_of(np.asarray(probabilities, dtype=np.float64)) <= self.reach + ROUNDING)

    @property
    def reason(self) -> str | None:
        """Why there are no sets; None where there are."""
        if self.reach is not None:
            return None
        if not self.exclusive:
            return "No sets of classes: several classes may occur together, and sets are for one class of several."
        needed = max(LEAST_SUBJECTS, subjects_needed(self.coverage))
        return (
            f"No sets of classes: {counted(self.n_subjects, 'subject')} with known class; {needed} are needed for"
            f" {100 * self.coverage:g} %."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ClassSets:
        """Read the JSON form."""
        return cls(**document)


def measure_sets(
    inside: NDArray[np.bool_], truth: NDArray[np.bool_], weights: Floats, classes: Sequence[str]
) -> dict[str, Any]:
    """Return `held`, `held_by_class`, `size` and `single` of sets (N, K) against the truth (N, K), with weights (N,)."""
    held, sizes = inside[truth], inside.sum(axis=1)
    by_class = {
        name: _mean(held[there], weights[there]) for name, there in zip(classes, truth.T, strict=True) if there.any()
    }
    return {
        "held": _mean(held, weights), "held_by_class": by_class, "size": _mean(sizes, weights),
        "single": _mean(sizes == 1, weights),
    }  # fmt: skip


def scores_of(probabilities: Floats) -> Floats:
    """Return 1 − p of every class (N, K), 0 of the most probable one (the first of equal ones)."""
    scores = 1 - probabilities
    scores[np.arange(len(scores)), probabilities.argmax(axis=1)] = 0.0
    return np.asarray(scores)


def _mean(values: NDArray[Any], weights: Floats) -> float:
    return float(values @ weights / weights.sum())
