"""`Evaluation`: measures of predicted masks against the truth, per case and over cases.

Empty masks, one rule: where a measure of overlap (dice, iou, lesion_f1) has both masks empty it is 1, because the
model was right that nothing is there; with one mask empty it is 0. A distance to an empty mask (hd95_mm, assd_mm) and a
share of nothing (lesion_precision without predicted lesions, lesion_recall without true ones) do not exist: the value
is None, the case is left out of that summary, and the summary's ``n`` says how many cases are in it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from striate.core.errors import DataError, FormatError, GeometryError, UsageError, expected
from striate.core.files import read_json, write_json, write_text
from striate.core.image import LabelMap, to_ras
from striate.core.targets import Targets
from striate.measure.lesions import LesionRule
from striate.measure.pair import MEASURES, Pair
from striate.measure.statistics import Summary, summarise

KIND, VERSION = "striate-evaluation", 1
Values = Mapping[str, Mapping[str, float | None]]


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
    """

    case: str
    labels: Values
    subject: str = ""

    def __post_init__(self) -> None:
        if "case" in self.labels:
            raise UsageError(
                "a label named 'case' cannot be reported (the word names the case); choose another region name."
            )
        if not self.subject:
            object.__setattr__(self, "subject", self.case)


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
    """

    cases: tuple[CaseEvaluation, ...]
    summary: Mapping[str, Mapping[str, Summary]]
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, cases: Sequence[CaseEvaluation], *, seed: int = 0, notes: Sequence[str] = ()) -> Evaluation:
        """Summarise `cases`; intervals over subjects, seeded.

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
        return cls(tuple(cases), summary, tuple(notes))

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"summary": {LABEL: {MEASURE: {…}}}, "cases": [{"case": …, LABEL: {MEASURE: value}}]}``."""
        summary = {label: {m: s.to_dict() for m, s in rows.items()} for label, rows in self.summary.items()}
        cases = [{"case": c.case, **{label: dict(values) for label, values in c.labels.items()}} for c in self.cases]
        return {"summary": summary, "cases": cases}

    def write(self, path: Path) -> None:
        """Write JSON (everything) or, for a name with ``.csv``, one row per case and label; whole or not at all."""
        path = Path(path)
        if path.suffix.lower() == ".csv":
            write_text(path, self._table())
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
        document = read_json(path, KIND, VERSION)
        try:
            subjects = document["subjects"]
            cases = [
                CaseEvaluation(row["case"], {k: v for k, v in row.items() if k != "case"}, subjects[row["case"]])
                for row in document["cases"]
            ]
            summary = {label: {m: Summary(**s) for m, s in rows.items()} for label, rows in document["summary"].items()}
            return cls(tuple(cases), summary, tuple(document["notes"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise FormatError(
                expected(path, f"not readable as an evaluation ({error!r})", f"schema version {VERSION} is needed"),
                path=path,
            ) from error

    def _table(self) -> str:
        stream = io.StringIO(newline="")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["case", "subject", "label", *MEASURES])
        for case in self.cases:
            for label, values in case.labels.items():
                cells = ["" if values.get(m) is None else repr(values[m]) for m in MEASURES]
                writer.writerow([case.case, case.subject, label, *cells])
        return stream.getvalue()


def evaluate_pair(
    predicted: LabelMap, truth: LabelMap, targets: Targets, *, case_name: str = "", rule: LesionRule | None = None
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
    rule
        When lesions count and match.

    Returns
    -------
    dict
        Label or region → measure → value, None where the measure does not exist.

    Raises
    ------
    GeometryError
        When the grids differ.
    """
    predicted, truth = _on_one_grid(predicted, truth, case_name)
    grid = truth.grid
    found: dict[str, dict[str, float | None]] = {}
    for name in targets.names:
        masks = targets.mask(predicted.array, name), targets.mask(truth.array, name)
        pair = Pair(*masks, grid.spacing_mm, grid.voxel_volume_ml, rule)
        found[name] = {measure: compute(pair) for measure, compute in MEASURES.items()}
    return found


def _on_one_grid(predicted: LabelMap, truth: LabelMap, case_name: str) -> tuple[LabelMap, LabelMap]:
    if predicted.grid.matches(truth.grid):
        return predicted, truth
    if predicted.array.ndim == truth.array.ndim == 3:
        turned = tuple(
            LabelMap(how.apply(mask.array), grid.affine)
            for mask, (how, grid) in ((predicted, to_ras(predicted.grid)), (truth, to_ras(truth.grid)))
        )
        if turned[0].grid.matches(turned[1].grid):
            return turned[0], turned[1]
    a, b = predicted.grid, truth.grid
    where = f"case {case_name}" if case_name else "predicted mask"
    got = f"predicted shape {a.shape}, {_mm(a.spacing_mm)}, origin {_mm(a.affine[:3, 3])}"
    want = "voxels are compared one by one and the truth has"
    want = f"{want} shape {b.shape}, {_mm(b.spacing_mm)}, origin {_mm(b.affine[:3, 3])}"
    hint = "Predict on the image that the truth was drawn on (striate predict keeps its grid) or resample the mask."
    raise GeometryError(expected(where, got, want, hint), case=case_name or None)


def _mm(values: Iterable[float]) -> str:
    return "(" + ", ".join(f"{v + 0.0:.4g}" for v in values) + ") mm"
