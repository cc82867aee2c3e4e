"""`Outcomes`: what runs said of their validation subjects, pooled, with measures and their intervals over subjects.

Every repetition and fold adds its rows, and the bootstrap draws subjects, each with all its rows: where a subject was
validated by several runs, they are not taken as independent.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.files import read_json
from striate.measure.class_scores import decisions
from striate.measure.class_table import ClassTable
from striate.measure.classification import OVERALL, ClassEvaluation
from striate.measure.confusion import balanced_accuracy, counts_per_subject, shares
from striate.measure.resample import Statistic, Weights
from striate.measure.statistics import summarise

Measures = dict[str, dict[str, float | int | None]]
"""Measure → value, low, high and n."""

MAIN = {
    "classification": "balanced_accuracy",
    "sequence": "balanced_accuracy",
    "segmentation": "dice",
    "reconstruction": "mse",
}
"""Task → the measure that networks are compared by. Its error is 1 − measure, or the measure itself where less is better."""
OF_CLASSES = ("accuracy", "balanced_accuracy", "macro_auc", "log_loss", "ece")
OF_CASES = {"segmentation": ("dice", "hd95_mm"), "reconstruction": ("mse", "psnr_db", "ssim")}
LESS_IS_BETTER = ("mse",)


def error_of(measure: str, value: float) -> float:
    """Return the error that a value of a main measure means."""
    return value if measure in LESS_IS_BETTER else 1 - value


@dataclass(frozen=True, eq=False)
class Outcomes(abc.ABC):
    """What was said and true.

    Attributes
    ----------
    keys
        Names the sample of each row: the same in every network.
    subjects
        Whose row it is.
    main
        The measure that networks are compared by.
    """

    keys: tuple[str, ...]
    subjects: tuple[str, ...]
    main: str

    @abc.abstractmethod
    def measures(self) -> Measures:
        """Return every measure with its interval over subjects."""

    @abc.abstractmethod
    def errors(self, names: Sequence[str]) -> Statistic:
        """Return the function from weights of the subjects `names` (draws, subjects) to errors (draws, 1)."""

    def _owners(self, names: Sequence[str]) -> NDArray[np.intp]:
        places = {name: n for n, name in enumerate(names)}
        return np.array([places[s] for s in self.subjects], dtype=np.intp)


@dataclass(frozen=True, eq=False)
class ClassOutcomes(Outcomes):
    """Of classification and sequences: (N, K) truth (bool) and probabilities."""

    classes: tuple[str, ...]
    exclusive: bool
    truth: NDArray[np.bool_]
    said: NDArray[np.float64]

    def measures(self) -> Measures:
        """Return the measures over all classes."""
        truth = self.truth.argmax(axis=1) if self.exclusive else self.truth
        found = ClassEvaluation.of(self.classes, truth, self.said, self.subjects).summary[OVERALL]
        return {m: found[m].to_dict() for m in OF_CLASSES if m in found}

    def errors(self, names: Sequence[str]) -> Statistic:
        """Return 1 − balanced accuracy."""
        called = decisions(self.said, exclusive=self.exclusive)
        counts = counts_per_subject(self.truth, called, self._owners(names), len(names))

        def statistic(weights: Weights) -> NDArray[np.float64]:
            drawn = {name: weights.astype(np.float64) @ table for name, table in counts.items()}
            return 1 - balanced_accuracy(shares(drawn), exclusive=self.exclusive)[:, None]

        return statistic


@dataclass(frozen=True, eq=False)
class CaseOutcomes(Outcomes):
    """Of segmentation and reconstruction: measure → (N,) mean over structures or channels, NaN where there is none."""

    values: Mapping[str, NDArray[np.float64]]

    def measures(self) -> Measures:
        """Return means over cases."""
        found: Measures = {}
        for name, values in self.values.items():
            one = summarise(values.tolist(), self.subjects)
            found[name] = {"value": one.mean, "low": one.low, "high": one.high, "n": one.n}
        return found

    def errors(self, names: Sequence[str]) -> Statistic:
        """Return 1 − the mean of the main measure, or the mean itself where less is better."""
        values, owners = self.values[self.main], self._owners(names)
        known = np.isfinite(values)
        sums = np.bincount(owners[known], weights=values[known], minlength=len(names))
        sizes = np.bincount(owners[known], minlength=len(names)).astype(np.float64)

        def statistic(weights: Weights) -> NDArray[np.float64]:
            drawn = weights.astype(np.float64)
            with np.errstate(invalid="ignore"):
                means = (drawn @ sums) / (drawn @ sizes)
            return (means if self.main in LESS_IS_BETTER else 1 - means)[:, None]

        return statistic


def read_outcomes(folder: Path, task: str, seed: int, *, exclusive: bool | None = None) -> Outcomes:
    """Read what a finished run left in ``validation/``.

    Parameters
    ----------
    folder
        The run.
    task
        Kind of its task.
    seed
        Of the repetition; it becomes part of the keys.
    exclusive
        Whether classes exclude each other.

    Raises
    ------
    FormatError
        When a file is missing or of another form.
    """
    main = MAIN[task]
    if task in ("classification", "sequence"):
        table = ClassTable.read(folder / "validation", exclusive=exclusive)
        rows = [n for n, t in enumerate(table.truth) if t is not None]
        hot = np.array([[c in (table.truth[n] or ()) for c in table.classes] for n in rows], dtype=bool)
        keys = tuple(f"{seed}/{table.cases[n]}/{table.slices[n]}" for n in rows)
        owners = tuple(table.subjects[n] for n in rows)
        return ClassOutcomes(keys, owners, main, table.classes, table.exclusive, hot, table.probabilities[rows])
    document = read_json(folder / "validation" / "evaluation.json")
    cases = document["cases"]
    keys = tuple(f"{seed}/{c['case']}" for c in cases)
    owners = tuple(document.get("subjects", {}).get(c["case"], c["case"]) for c in cases)
    values = {name: np.array([_mean(c, name) for c in cases]) for name in OF_CASES[task]}
    return CaseOutcomes(keys, owners, main, values)


def pooled(parts: Sequence[Outcomes]) -> Outcomes:
    """Put the rows of several runs beneath each other."""
    first = parts[0]
    keys = tuple(k for p in parts for k in p.keys)
    owners = tuple(s for p in parts for s in p.subjects)
    if isinstance(first, ClassOutcomes):
        same = [p for p in parts if isinstance(p, ClassOutcomes)]
        truth, said = (np.concatenate([getattr(p, n) for p in same]) for n in ("truth", "said"))
        return ClassOutcomes(keys, owners, first.main, first.classes, first.exclusive, truth, said)
    cases = [p for p in parts if isinstance(p, CaseOutcomes)]
    values = {m: np.concatenate([p.values[m] for p in cases]) for m in cases[0].values}
    return CaseOutcomes(keys, owners, first.main, values)


def _mean(case: Mapping[str, Any], measure: str) -> float:
    """Return the mean of a measure over the structures of a case; NaN where none has it."""
    found = [part[measure] for part in case.values() if isinstance(part, Mapping) and part.get(measure) is not None]
    return float(np.mean(found)) if found else float("nan")
