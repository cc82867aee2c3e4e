"""`Evaluation`: measures of predicted masks against the truth, per case and over cases.

Empty masks, one rule: where a measure of overlap (dice, iou, lesion_f1) has both masks empty it is 1, because the
model was right that nothing is there; with one mask empty it is 0. A distance to an empty mask (hd95_mm, assd_mm) and a
share of nothing (lesion_precision without predicted lesions, lesion_recall without true ones) do not exist: the value
is None, the case is left out of that summary, and the summary's ``n`` says how many cases are in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from striate.core.errors import DataError, GeometryError, UsageError, expected
from striate.core.files import csv_text, read_document, write_json, write_text
from striate.core.image import LabelMap, to_ras
from striate.core.targets import Targets
from striate.measure.detection import Detection, Ranked, Scores
from striate.measure.detection_table import froc_table
from striate.measure.lesions import LesionOverlap, LesionRule
from striate.measure.pair import MEASURES, Pair
from striate.measure.statistics import Summary, summarise

KIND, VERSION = "striate-evaluation", 1
FROC_SUFFIX = ".froc.csv"

Values = Mapping[str, Mapping[str, float | None]]
Scored = Callable[[str, Mapping[str, LesionOverlap]], Scores | Ranked | str]
"""Label or region, and case → overlap, to what `striate.measure.detection.Detection.of` ranks by."""


@dataclass(frozen=True, slots=True)
class CaseEvaluation:
    """Measures of one case.

    Attributes
    ----------
    case
        Name of the case.
    labels
        Label or region → measure → value; None where the measure does not exist.
    subject
        Whose examination it is; intervals are drawn over subjects.
    overlaps
        Label or region → its predicted lesions over the true ones; they are not written.
    """

    case: str
    labels: Values
    subject: str = ""
    overlaps: Mapping[str, LesionOverlap] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if "case" in self.labels:
            raise UsageError(
                "a label named 'case' cannot be reported (the word names the case); choose another region name."
            )
        if not self.subject:
            object.__setattr__(self, "subject", self.case)

    @classmethod
    def of(
        cls,
        case: str,
        predicted: LabelMap,
        truth: LabelMap,
        targets: Targets,
        subject: str = "",
        *,
        rule: LesionRule | None = None,
    ) -> CaseEvaluation:
        """Measure one case; see `evaluate_pair`. `rule`: when lesions count and match."""
        values, overlaps = dict[str, dict[str, float | None]](), dict[str, LesionOverlap]()
        for name, pair in _pairs(predicted, truth, targets, case, rule):
            values[name], overlaps[name] = _measured(pair), pair.overlap
        return cls(case, values, subject, overlaps)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measures of all cases and their summary.

    Attributes
    ----------
    cases
        One per pair of masks.
    summary
        Label or region → measure → mean, median, interval of the mean and n.
    notes
        Sentences about cases and labels that were left out.
    detection
        Label or region → how well its lesions are detected, over all cases that have it.
    trained_on
        Cases that the model learned from: their share of the numbers is not that of held-out cases.
    """

    cases: tuple[CaseEvaluation, ...]
    summary: Mapping[str, Mapping[str, Summary]]
    notes: tuple[str, ...] = field(default=())
    detection: Mapping[str, Detection] = field(default_factory=dict)
    trained_on: tuple[str, ...] = field(default=())

    @classmethod
    def of(
        cls, cases: Sequence[CaseEvaluation], *, seed: int = 0, notes: Sequence[str] = (), scores: Scored | None = None
    ) -> Evaluation:
        """Summarise `cases`; intervals over subjects, seeded.

        Parameters
        ----------
        cases
            Each once.
        seed
            Of the bootstrap.
        notes
            Sentences about what was left out.
        scores
            Tells the probabilities of the lesions of a label, case by case, or why they are not known.

        Raises
        ------
        DataError
            When there is no case, or one twice.
        """
        names = [case.case for case in cases]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not cases:
            got = f"case '{twice[0]}' twice" if twice else "0 cases"
            raise DataError(expected("evaluation", got, "at least one case, each once, is needed"))
        labels = list(dict.fromkeys(label for case in cases for label in case.labels))
        summary = {
            label: {
                measure: summarise(
                    [case.labels.get(label, {}).get(measure) for case in cases],
                    [case.subject for case in cases],
                    seed=seed,
                )
                for measure in MEASURES
            }
            for label in labels
        }
        subjects, detection = {case.case: case.subject for case in cases}, dict[str, Detection]()
        for label in labels if scores is not None else ():
            overlaps = {case.case: case.overlaps[label] for case in cases if label in case.overlaps}
            if scores is not None and overlaps:
                detection[label] = Detection.of(overlaps, scores(label, overlaps), subjects, seed=seed)
        return cls(tuple(cases), summary, tuple(notes), detection)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form.

        ``{"summary": {LABEL: {MEASURE: {…}}}, "cases": [{"case": …, LABEL: {MEASURE: value}}], "detection": {LABEL: {…}},
        "trained_on": [CASE]}``, the last two where lesions were looked at and where cases were learned from.
        """
        summary = {label: {m: s.to_dict() for m, s in rows.items()} for label, rows in self.summary.items()}
        cases = [{"case": c.case, **{label: dict(values) for label, values in c.labels.items()}} for c in self.cases]
        document: dict[str, Any] = {"summary": summary, "cases": cases}
        if self.detection:
            document["detection"] = {label: found.to_dict() for label, found in self.detection.items()}
        if self.trained_on:
            document["trained_on"] = list(self.trained_on)
        return document

    def write(self, path: Path) -> None:
        """Write JSON (everything) or, for a name with ``.csv``, one row per case and label; whole or not at all.

        How lesions are detected stands in a table of its own beside that: ``NAME.froc.csv``.
        """
        path = Path(path)
        if path.suffix.lower() == ".csv":
            write_text(path, self._table())
            if self.detection:
                write_text(path.with_suffix(FROC_SUFFIX), froc_table(self.detection))
            return
        subjects = {case.case: case.subject for case in self.cases}
        start = {"kind": KIND, "schema_version": VERSION, "notes": list(self.notes), "subjects": subjects}
        write_json(path, {**start, **self.to_dict()})

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """Read the JSON file.

        Raises
        ------
        FormatError
            When the file is missing, is no evaluation, or is of a newer version.
        """
        return read_document(path, KIND, VERSION, cls.from_dict)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Evaluation:
        """Read the JSON document."""
        subjects = document["subjects"]
        cases = [
            CaseEvaluation(row["case"], {k: v for k, v in row.items() if k != "case"}, subjects[row["case"]])
            for row in document["cases"]
        ]
        summary = {label: {m: Summary(**s) for m, s in rows.items()} for label, rows in document["summary"].items()}
        detection = {label: Detection.from_dict(found) for label, found in document.get("detection", {}).items()}
        trained = tuple(document.get("trained_on") or ())
        return cls(tuple(cases), summary, tuple(document["notes"]), detection, trained)

    def _table(self) -> str:
        rows = (
            (case.case, case.subject, label, *("" if values.get(m) is None else repr(values[m]) for m in MEASURES))
            for case in self.cases
            for label, values in case.labels.items()
        )
        return csv_text(("case", "subject", "label", *MEASURES), rows)


def evaluate_pair(
    predicted: LabelMap, truth: LabelMap, targets: Targets, *, case_name: str = ""
) -> dict[str, dict[str, float | None]]:
    """Measure one predicted label map against the truth.

    Parameters
    ----------
    predicted, truth
        Label maps on one grid; axes that are only permuted or reversed between them are turned first.
    targets
        Labels or regions to measure.
    case_name
        For messages.

    Returns
    -------
    dict
        Label or region → measure → value, None where the measure does not exist.

    Raises
    ------
    GeometryError
        When the grids differ.
    """
    return {name: _measured(pair) for name, pair in _pairs(predicted, truth, targets, case_name)}


def _pairs(
    predicted: LabelMap, truth: LabelMap, targets: Targets, case_name: str, rule: LesionRule | None = None
) -> Iterator[tuple[str, Pair]]:
    """Yield each label or region with its two masks, on the axes of the prediction."""
    truth = on_one_grid(predicted, truth, case_name)
    grid = truth.grid
    for name in targets.names:
        masks = targets.mask(predicted.array, name), targets.mask(truth.array, name)
        yield name, Pair(*masks, grid.spacing_mm, grid.voxel_volume_ml, rule)


def _measured(pair: Pair) -> dict[str, float | None]:
    return {measure: compute(pair) for measure, compute in MEASURES.items()}


def on_one_grid(predicted: LabelMap, truth: LabelMap, case_name: str = "") -> LabelMap:
    """Return the truth with the axes of the prediction.

    Raises
    ------
    GeometryError
        When the grids differ.
    """
    if predicted.grid.matches(truth.grid):
        return truth
    if predicted.array.ndim == truth.array.ndim == 3:
        (there, turned), (here, grid) = to_ras(predicted.grid), to_ras(truth.grid)
        if turned.matches(grid):
            return LabelMap(there.invert(here.apply(truth.array)), predicted.affine)
    a, b = predicted.grid, truth.grid
    where = f"case {case_name}" if case_name else "predicted mask"
    got = f"predicted shape {a.shape}, {_mm(a.spacing_mm)}, origin {_mm(a.affine[:3, 3])}"
    want = "voxels are compared one by one and the truth has"
    want = f"{want} shape {b.shape}, {_mm(b.spacing_mm)}, origin {_mm(b.affine[:3, 3])}"
    hint = "Predict on the image that the truth was drawn on (striate predict keeps its grid) or resample the mask."
    raise GeometryError(expected(where, got, want, hint), case=case_name or None)


def _mm(values: Iterable[float]) -> str:
    return "(" + ", ".join(f"{v + 0.0:.4g}" for v in values) + ") mm"
