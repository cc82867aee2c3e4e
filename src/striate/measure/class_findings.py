"""`ClassFindings`: what a classifier that knows its limits says of cases: calibrated probabilities, sets, need for review.

On disk ``findings.json`` (kind ``striate-class-findings``) and ``findings.csv``, one row per case or slice. The network's own
probabilities stay in ``predictions.csv`` (`striate.measure.class_table`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from striate.core.caution import Caution
from striate.core.files import csv_text, in_folder, read_document, write_json, write_text
from striate.measure.class_rows import Names, joined
from striate.measure.finding import Ood, Review, cautions

KIND, VERSION = "striate-class-findings", 1
FILE, TABLE = "findings.json", "findings.csv"
COLUMNS = (
    "case", "subject", "slice", "called", "set", "review", "reason", "ood_score", "ood_threshold", "warnings",
)  # fmt: skip
PREFIX = "calibrated_"


@dataclass(frozen=True, slots=True)
class ClassFinding:
    """What is said of a case, or of one of its slices.

    Attributes
    ----------
    slice
        Its number from 0; None for the whole case.
    called
        The class of the largest calibrated probability, or every class from 0.5 on where several may occur; by the network's
        own where none is calibrated.
    probabilities
        Class → calibrated probability, or the network's own where too few subjects gave no reason to change it; None with
        fewer than two.
    set
        Classes among which the true one is, with the stated coverage; None where there are too few subjects for it.
    """

    slice: int | None
    called: Names
    probabilities: Mapping[str, float] | None = None
    set: Names | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what is known; ``slice`` only of slices."""
        document: dict[str, Any] = {} if self.slice is None else {"slice": self.slice}
        document["called"] = list(self.called)
        if self.probabilities is not None:
            document["probabilities"] = dict(self.probabilities)
        if self.set is not None:
            document["set"] = list(self.set)
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ClassFinding:
        """Read the JSON form."""
        place, said, held = (document.get(key) for key in ("slice", "probabilities", "set"))
        return cls(
            None if place is None else int(place),
            tuple(map(str, document["called"])),
            None if said is None else {str(name): float(p) for name, p in said.items()},
            None if held is None else tuple(map(str, held)),
        )


@dataclass(frozen=True, slots=True)
class ClassCase:
    """One case.

    Attributes
    ----------
    case, subject
        Their names.
    samples
        One for the case, or one for each of its slices.
    warnings
        Reasons for doubt.
    ood
        Likeness to the training data; None where the model does not know it.
    review
        Whether a person must look; None where the model cannot tell.
    """

    case: str
    subject: str
    samples: tuple[ClassFinding, ...]
    warnings: tuple[Caution, ...] = ()
    ood: Ood | None = None
    review: Review | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: what is said of a whole case stands beside its name, of slices under ``slices``."""
        document: dict[str, Any] = {
            "case": self.case, "subject": self.subject, "warnings": [caution.to_dict() for caution in self.warnings],
        }  # fmt: skip
        if self.ood is not None:
            document["ood"] = self.ood.to_dict()
        if self.review is not None:
            document["review"] = {"needed": self.review.needed, "reason": self.review.reason}
        if len(self.samples) == 1 and self.samples[0].slice is None:
            return {**document, **self.samples[0].to_dict()}
        return {**document, "slices": [sample.to_dict() for sample in self.samples]}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ClassCase:
        """Read the JSON form."""
        ood, review = document.get("ood"), document.get("review")
        return cls(
            str(document["case"]),
            str(document["subject"]),
            tuple(ClassFinding.from_dict(one) for one in document.get("slices", (document,))),
            cautions(document.get("warnings") or ()),
            None if ood is None else Ood.from_dict(ood),
            None if review is None else Review.from_dict(review),
        )


@dataclass(frozen=True, slots=True)
class ClassFindings:
    """Findings of several cases.

    Attributes
    ----------
    classes
        Their names, in the order of the network's outputs.
    exclusive
        Whether each sample has exactly one class.
    cases
        In the order in which they were predicted.
    calibrated_on
        Subjects that the calibration rests on; None where nothing is calibrated.
    coverage
        Of the sets; None without sets.
    """

    classes: Names
    exclusive: bool
    cases: tuple[ClassCase, ...]
    calibrated_on: int | None = None
    coverage: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "kind": KIND, "schema_version": VERSION, "classes": list(self.classes), "exclusive": self.exclusive,
            "calibrated_on": self.calibrated_on, "coverage": self.coverage, "cases": [c.to_dict() for c in self.cases],
        }  # fmt: skip

    def write(self, folder: Path) -> None:
        """Write ``findings.json`` and ``findings.csv`` into a folder, each whole or not at all."""
        write_json(Path(folder) / FILE, self.to_dict())
        header = (*COLUMNS, *(f"{PREFIX}{name}" for name in self.classes))
        rows = (_cells(case, sample, self.classes) for case in self.cases for sample in case.samples)
        write_text(Path(folder) / TABLE, csv_text(header, rows))

    @classmethod
    def read(cls, path: Path) -> ClassFindings:
        """Read the JSON file, or ``findings.json`` of a folder.

        Raises
        ------
        FormatError
            When it is missing, no findings of classes, or of a newer version.
        """
        return read_document(in_folder(path, FILE), KIND, VERSION, cls.from_dict)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ClassFindings:
        """Read the JSON document."""
        on, coverage = document["calibrated_on"], document["coverage"]
        return cls(
            tuple(document["classes"]), bool(document["exclusive"]),
            tuple(ClassCase.from_dict(case) for case in document["cases"]),
            None if on is None else int(on), None if coverage is None else float(coverage),
        )  # fmt: skip


def _cells(case: ClassCase, sample: ClassFinding, classes: Names) -> list[Any]:
    """Return one row of the table; what is not known is empty."""
    said = sample.probabilities or {}
    review, ood = case.review, case.ood
    return [
        case.case, case.subject, "" if sample.slice is None else sample.slice, joined(sample.called),
        "" if sample.set is None else joined(sample.set),
        "" if review is None else "yes" if review.needed else "no", "" if review is None else review.reason,
        *(("", "") if ood is None else (repr(ood.score), repr(ood.threshold))),
        ";".join(caution.code for caution in case.warnings),
        *(repr(said[name]) if name in said else "" for name in classes),
    ]  # fmt: skip
