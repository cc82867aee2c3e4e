"""`ClassEvidence`: what a classifier said of one case, beside what is true; its limits are fitted to a list of these.

Cases of one subject are not independent, nor are slices of one case: whoever fits, leaves out or counts does so by `subject`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.trust.conformal import subject_weights


@dataclass(frozen=True, slots=True, eq=False)
class ClassEvidence:
    """One case.

    Attributes
    ----------
    case, subject
        Their names.
    probabilities
        (N, K) float64, the network's own: one row for the case, or for each of its slices.
    truth
        (N, K) bool, whether the class is there; None where it is not known.
    slices
        The slice of each row; None for whole cases.
    features
        (F,) of the network (`striate.inference.penultimate`); empty where there are none.
    facts
        Channel → measure → value of the input images, as the input gate measures them (`striate.trust.gate`).
    """

    case: str
    subject: str
    probabilities: NDArray[np.float64]
    truth: NDArray[np.bool_] | None = None
    slices: tuple[int | None, ...] = (None,)
    features: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The samples of all cases whose truth is known, beneath each other.

    Attributes
    ----------
    probabilities, truth
        (N, K) each.
    subjects
        (N,) numbers of the subjects, in the order of their sorted names.
    count
        How many subjects there are.
    weights
        (N,) each subject weighs 1, shared by its samples.
    """

    probabilities: NDArray[np.float64]
    truth: NDArray[np.bool_]
    subjects: NDArray[np.intp]
    count: int
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, cases: Sequence[ClassEvidence], classes: int) -> Judged:
        """Stack the cases whose truth is known; of `classes` classes."""
        known = [(case, truth) for case in cases if (truth := case.truth) is not None and len(truth)]
        owners = [case.subject for case, truth in known for _ in truth]
        names, numbers = np.unique(np.asarray(owners, dtype=str), return_inverse=True)
        said = [np.zeros((0, classes)), *(case.probabilities for case, _ in known)]
        true = [np.zeros((0, classes), dtype=bool), *(truth for _, truth in known)]
        return cls(
            np.concatenate(said).astype(np.float64), np.concatenate(true), numbers.astype(np.intp), len(names),
            subject_weights(owners),
        )  # fmt: skip

    def present(self) -> NDArray[np.intp]:
        """Return (K,) in how many subjects each class occurs."""
        return np.array([len(np.unique(self.subjects[there])) for there in self.truth.T], dtype=np.intp)
