"""`ClassEvaluation`: predicted classes against true ones, per class and over all, with intervals over subjects.

Exclusive classes: a sample is called the class of the largest probability (the first of equal ones). Classes that may occur
together: a class is called present from a probability of 0.5 on. Per class it is measured against the rest.

Over all classes: ``accuracy`` is the share of right samples, or of right (sample, class) decisions where classes may occur
together; ``error_rate`` is 1 − accuracy; ``exact_match``, there only, the share of samples with every class right;
``macro_auc`` the mean area of the classes that have one. What does not exist (the AUC of a class that never occurs) is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.counted import counted
from striate.core.errors import DataError, UsageError, expected
from striate.core.files import in_folder, read_document, write_json
from striate.measure import calibration
from striate.measure.class_scores import ClassScores, decisions
from striate.measure.confusion import confusion, confusion_of_each
from striate.measure.exact_share import with_width
from striate.measure.resample import DRAWS, Estimate, numbered, resample
from striate.measure.roc import roc_points
from striate.measure.statistics import FEW_SUBJECTS, LEVEL

KIND, VERSION = "striate-class-evaluation", 1
FILE = "evaluation.json"
OVERALL = "overall"
_SUM_TOLERANCE = 1e-3

Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of the reliability diagram.

    Attributes
    ----------
    start, stop
        Confidences above `start` up to `stop` are in it.
    n
        How many.
    confidence, outcome
        Their mean, and the share that came true.
    low, high
        Interval of `outcome` over subjects; None where none can be given.
    """

    start: float
    stop: float
    n: int
    confidence: float
    outcome: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class ClassEvaluation:
    """Measures of classes.

    Attributes
    ----------
    classes
        Their names, in the order of rows and columns.
    exclusive
        True where a sample has exactly one class.
    samples, subjects
        How many were measured.
    summary
        ``overall`` or class → measure → value, interval and n.
    confusion
        Exclusive: rows truth, columns predicted. Else one [[true negative, false positive], [false negative, true positive]]
        per class.
    roc
        Class → (false positive rate, true positive rate) from (0, 0) to (1, 1); empty where it does not exist.
    reliability
        Bins that hold anything.
    level, draws, seed
        Of the intervals.
    notes
        Sentences for the reader of the numbers.
    trained_on
        Cases that the model learned from: their share of the numbers is not that of held-out cases.
    limits
        How the calibrated probabilities and the sets of a model that knows its limits did on these samples
        (`striate.workflows.class_limits.how_limits_did`); empty where it knows none.
    """

    classes: tuple[str, ...]
    exclusive: bool
    samples: int
    subjects: int
    summary: Mapping[str, Mapping[str, Estimate]]
    confusion: tuple[Any, ...]
    roc: Mapping[str, Curve]
    reliability: tuple[Bin, ...]
    level: float = LEVEL
    draws: int = DRAWS
    seed: int = 0
    notes: tuple[str, ...] = field(default=())
    trained_on: tuple[str, ...] = field(default=())
    limits: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        classes: Sequence[str],
        truth: NDArray[Any],
        probabilities: NDArray[Any],
        subjects: Sequence[str],
        *,
        seed: int = 0,
        level: float = LEVEL,
        draws: int = DRAWS,
        notes: Sequence[str] = (),
    ) -> ClassEvaluation:
        """Measure predicted probabilities.

        Parameters
        ----------
        classes
            K names.
        truth
            (N,) numbers of the classes, which are exclusive, or (N, K) bool, where several or none may be there.
        probabilities
            (N, K) between 0 and 1; of exclusive classes each row sums to 1.
        subjects
            N names: whose sample it is; intervals are drawn over subjects.
        seed, level, draws
            Of the bootstrap; with 0 draws there are no intervals.
        notes
            Sentences to keep with the numbers.

        Raises
        ------
        DataError
            When there is no sample, shapes do not fit, or values are no probabilities or no classes.
        UsageError
            When a class is named ``overall``, or twice.
        """
        names = _valid_names(classes)
        exclusive = np.asarray(truth).ndim == 1
        said = np.asarray(probabilities, dtype=np.float64)
        hot = _valid(names, np.asarray(truth), said, len(subjects), exclusive)
        owner, count = numbered(subjects)
        scores = ClassScores(names, hot, said, owner, count, exclusive=exclusive)
        resampled = resample(scores.statistic, count, samples=len(said), seed=seed, draws=draws)
        drawn = resampled.estimates(scores.sizes, level)
        found = [with_width(one, carriers, level) for one, carriers in zip(drawn, scores.carriers, strict=True)]
        summary: dict[str, dict[str, Estimate]] = {OVERALL: {}, **{name: {} for name in names}}
        for (name, measure), one in zip(scores.columns, found, strict=False):
            summary[name or OVERALL][measure] = one
        summary[OVERALL] |= _calibration(scores, seed)
        predicted = decisions(said, exclusive=exclusive)
        table = (
            confusion(hot.argmax(axis=1), said.argmax(axis=1), len(names))
            if exclusive
            else confusion_of_each(hot, predicted)
        )
        return cls(
            classes=names,
            exclusive=exclusive,
            samples=len(said),
            subjects=count,
            summary=summary,
            confusion=_tuples(table.tolist()),
            roc={name: roc_points(said[:, k], hot[:, k]) for k, name in enumerate(names)},
            reliability=_reliability(scores, found[len(scores.columns) :]),
            level=level,
            draws=draws,
            seed=seed,
            notes=(*notes, *_notes(names, hot, count, summary[OVERALL]["accuracy"] if draws else None)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "kind": KIND,
            "schema_version": VERSION,
            "classes": list(self.classes),
            "exclusive": self.exclusive,
            "samples": self.samples,
            "subjects": self.subjects,
            "level": self.level,
            "draws": self.draws,
            "seed": self.seed,
            "notes": list(self.notes),
            **({"trained_on": list(self.trained_on)} if self.trained_on else {}),
            "summary": {name: {m: e.to_dict() for m, e in rows.items()} for name, rows in self.summary.items()},
            "confusion": self.confusion,
            "roc": self.roc,
            "reliability": [asdict(one) for one in self.reliability],
            **({"limits": dict(self.limits)} if self.limits else {}),
        }

    def write(self, path: Path) -> None:
        """Write JSON to a file, or as ``evaluation.json`` into a folder; whole or not at all."""
        write_json(in_folder(path, FILE), self.to_dict())

    @classmethod
    def read(cls, path: Path) -> ClassEvaluation:
        """Read the JSON file, or ``evaluation.json`` of a folder.

        Raises
        ------
        FormatError
            When the file is missing, is no such evaluation, or is of a newer version.
        """
        return read_document(in_folder(path, FILE), KIND, VERSION, cls.from_dict)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ClassEvaluation:
        """Read the JSON document."""
        return cls(
            classes=tuple(document["classes"]),
            exclusive=bool(document["exclusive"]),
            samples=int(document["samples"]),
            subjects=int(document["subjects"]),
            summary={n: {m: Estimate(**e) for m, e in rows.items()} for n, rows in document["summary"].items()},
            confusion=_tuples(document["confusion"]),
            roc={n: _tuples(points) for n, points in document["roc"].items()},
            reliability=tuple(Bin(**one) for one in document["reliability"]),
            level=float(document["level"]),
            draws=int(document["draws"]),
            seed=int(document["seed"]),
            notes=tuple(document["notes"]),
            trained_on=tuple(document.get("trained_on") or ()),
            limits=dict(document.get("limits") or {}),
        )


def _valid_names(classes: Sequence[str]) -> tuple[str, ...]:
    names = tuple(str(name) for name in classes)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or OVERALL in names:
        got = f"class '{twice[0] if twice else OVERALL}'{' twice' if twice else ''}"
        raise UsageError(expected("classes", got, f"each class is named once, and '{OVERALL}' names the sum of all"))
    return names


def _valid(
    names: tuple[str, ...], truth: NDArray[Any], said: NDArray[np.float64], subjects: int, exclusive: bool
) -> NDArray[np.bool_]:
    """Return the truth as (N, K) bool."""
    rows, width = len(truth), len(names)
    fits = said.shape == (rows, width) and subjects == rows and truth.shape in ((rows,), (rows, width))
    if rows == 0 or width == 0 or not fits:
        got = f"truth of shape {truth.shape}, probabilities {said.shape},"
        got += f" {counted(subjects, 'subject')}, {counted(width, 'class', 'classes')}"
        raise DataError(
            expected("classes", got, "(N,) or (N, K), (N, K), N and K of them are needed, at least one of each")
        )
    if not (np.isfinite(said).all() and (said >= 0).all() and (said <= 1).all()):
        row, column = np.argwhere(~(np.isfinite(said) & (said >= 0) & (said <= 1)))[0]
        got = f"probability {said[row, column]:g} of class '{names[column]}' in row {row}"
        raise DataError(expected("classes", got, "a probability between 0 and 1 is needed"))
    if not exclusive:
        return truth.astype(bool)
    sums = said.sum(axis=1)
    if np.abs(sums - 1).max() > _SUM_TOLERANCE:
        row = int(np.abs(sums - 1).argmax())
        got = f"probabilities of row {row} sum to {sums[row]:.4g}"
        raise DataError(expected("classes", got, "those of exclusive classes sum to 1",
                                 "Classes that may occur together need a truth of (N, K) bool."))  # fmt: skip
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= width:
        got = f"truth of {truth.dtype} between {truth.min()} and {truth.max()}"
        raise DataError(expected("classes", got, f"integers from 0 to {width - 1} are needed"))
    return np.asarray(truth[:, None] == np.arange(width))


def _calibration(scores: ClassScores, seed: int) -> dict[str, Estimate]:
    said, came = scores.confidence, scores.outcome
    values = {
        "ece": calibration.ece(said, came),
        "adaptive_ece": calibration.adaptive_ece(said, came),
        "ece_by_chance": calibration.error_by_chance(said, seed=seed),
    }
    return {name: Estimate(value, None, None, len(said)) for name, value in values.items()}


def _reliability(scores: ClassScores, outcomes: Sequence[Estimate]) -> tuple[Bin, ...]:
    width = 1 / calibration.BINS
    bins = []
    for number, one in zip(scores.bins, outcomes, strict=True):
        inside = scores.members == number
        bins.append(
            Bin(
                start=round(number * width, 6),
                stop=round((number + 1) * width, 6),
                n=one.n,
                confidence=float(scores.confidence[inside].mean()),
                outcome=float(scores.outcome[inside].mean()),
                low=one.low,
                high=one.high,
            )
        )
    return tuple(bins)


def _notes(names: tuple[str, ...], hot: NDArray[np.bool_], subjects: int, accuracy: Estimate | None) -> list[str]:
    notes = []
    missing = [name for k, name in enumerate(names) if not hot[:, k].any()]
    if missing:
        which = ", ".join(f"'{name}'" for name in missing)
        verb = "occurs" if len(missing) == 1 else "occur"
        notes.append(
            f"{which} {verb} in no truth: sensitivity and AUC of {'it' if len(missing) == 1 else 'them'} are not known."
        )
    if subjects > 1 and accuracy is not None:
        if accuracy.low is None:
            notes.append(
                f"All {subjects} subjects have the same accuracy, so it has no interval; that says little about others."
            )
        elif accuracy.value in (0.0, 1.0):
            notes.append(
                f"{'Every' if accuracy.value else 'No'} call was right, so that resampling shows no spread: the interval of the"
                f" accuracy is the exact binomial one (Clopper–Pearson) of {subjects} subjects."
            )
    if subjects == 1:
        notes.append("All samples are of one subject, so there are no intervals.")
    elif subjects < FEW_SUBJECTS:
        notes.append(f"Intervals of only {subjects} subjects are too narrow; read them as hints.")
    return notes


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, (list, tuple)) else value
