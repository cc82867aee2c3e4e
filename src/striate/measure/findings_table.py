"""Findings as a table: one row per case, per label total and per lesion, units in the column names.

Where examinations were compared, more columns and rows follow: one row per pair, per label's change and per lesion's.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from striate.core.caution import Caution
from striate.core.errors import FormatError, expected
from striate.core.files import csv_text
from striate.measure.change import Change, LabelChange, LesionChange, LesionKind
from striate.measure.finding import CaseFindings, LabelFindings, Lesion, Ood, Quantity, Review

AXES = ("x", "y", "z")
INDICES = ("i", "j", "k")
_BOX = tuple(f"bbox_{i}_{end}" for i in INDICES for end in ("start", "stop"))
_SIZES = ("voxels", *(f"centroid_{a}_mm" for a in AXES), *(f"extent_{a}_mm" for a in AXES), *_BOX)
COLUMNS = (
    "case", "label", "row", "lesion", "volume_ml", "volume_low_ml", "volume_high_ml", "volume_coverage",
    "count", "count_low", "count_high", "count_coverage", "probability", *_SIZES,
    "review_needed", "review_reason", "expected_dice", "ood_score", "ood_threshold", "warnings",
)  # fmt: skip
CHANGES = (
    "subject", "before", "change_ml", "change_low_ml", "change_high_ml", "change_coverage", "change_percent",
    "smallest_detectable_ml", "noise", "kind", "before_ml", "after_ml",
)  # fmt: skip
"""Further columns where examinations were compared; ``case`` is then the later one."""
OF_CASES = ("case", "total", "lesion")
OF_CHANGES = ("pair", "change", "lesion-change")
"""What ``row`` says: what opens a group, one of its labels, one of the label's lesions."""

Row = Mapping[str, str]
Cells = dict[str, object]
Labels = dict[str, tuple[Row, list[Row]]]
"""Label → its row and the rows of its lesions."""


def to_csv(cases: Iterable[CaseFindings], changes: Sequence[Change] = ()) -> str:
    """Write the table.

    A ``case`` row opens each case, a ``total`` row each of its labels, ``lesion`` rows follow, largest first. After all
    cases a ``pair`` row opens each change, a ``change`` row each of its labels, ``lesion-change`` rows follow. Numbers
    are written so that they read back bit for bit; warnings stand one a line, as ``code: message``.
    """
    columns = (*COLUMNS, *CHANGES) if changes else COLUMNS
    rows = itertools.chain(*map(_case_rows, cases), *map(_change_rows, changes))
    return csv_text(columns, ([row.get(name) for name in columns] for row in rows))


def from_csv(path: Path) -> tuple[tuple[CaseFindings, ...], tuple[Change, ...]]:
    """Read the cases and the changes of the table back.

    Raises
    ------
    FormatError
        When the file cannot be read, a column is missing or unknown, or a cell holds something else than its number.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, restval="")
            columns = tuple(reader.fieldnames or ())
            if columns not in (COLUMNS, (*COLUMNS, *CHANGES)):
                needed = f"the columns {', '.join(COLUMNS)} are needed"
                raise FormatError(expected(path, f"columns {list(columns)}", needed), path=path)
            rows = list(reader)
        known = set(OF_CASES) | set(OF_CHANGES)
        foreign = next((row["row"] for row in rows if row["row"] not in known), None)
        if foreign is not None:
            raise ValueError(f"row is '{foreign}'; known: {', '.join((*OF_CASES, *OF_CHANGES))}")
        cases = _grouped(rows, OF_CASES, lambda row: (row["case"],))
        changes = _grouped(rows, OF_CHANGES, lambda row: (row["subject"], row["before"], row["case"]))
        return tuple(_read_case(*case) for case in cases), tuple(_read_change(*change) for change in changes)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(
            expected(path, f"not readable as CSV ({error})", "a table of findings is needed"), path=path
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            expected(path, f"a cell cannot be read ({error})", "numbers as Striate writes them are needed"), path=path
        ) from error


def _case_rows(case: CaseFindings) -> Iterable[Cells]:
    review, dice = case.review, (case.review and case.review.expected_dice) or {}
    first: Cells = {"case": case.case, "row": "case", "warnings": _lines(case.warnings)}
    if review is not None:
        said = {"review_needed": "yes" if review.needed else "no", "review_reason": review.reason}
        first |= {**said, "expected_dice": _cell(review.lowest)}
    if case.ood is not None:
        first |= {"ood_score": _cell(case.ood.score), "ood_threshold": _cell(case.ood.threshold)}
    yield first
    for name, found in case.labels.items():
        start: Cells = {"case": case.case, "label": name}
        total = {**_quantity("volume", found.volume_ml, "_ml"), **_quantity("count", found.count, "")}
        yield {**start, "row": "total", **total, "expected_dice": _cell(dice.get(name))}
        for number, lesion in enumerate(found.lesions, start=1):
            yield {**start, "row": "lesion", "lesion": number, **_lesion(lesion)}


def _change_rows(change: Change) -> Iterable[Cells]:
    pair: Cells = {"case": change.after, "before": change.before, "subject": change.subject}
    yield {**pair, "row": "pair", "warnings": _lines(change.warnings)}
    for name, of_label in change.labels.items():
        start: Cells = {**pair, "label": name}
        more = {
            "change_percent": of_label.volume_change_percent,
            "smallest_detectable_ml": of_label.smallest_detectable_ml,
        }
        cells: Cells = {key: _cell(value) for key, value in more.items()}
        cells["noise"] = of_label.noise
        yield {**start, "row": "change", **_quantity("change", of_label.volume_change_ml, "_ml"), **cells}
        for number, lesion in enumerate(of_label.lesions, start=1):
            sizes = {"before_ml": _cell(lesion.before_ml), "after_ml": _cell(lesion.after_ml)}
            place = {f"centroid_{a}_mm": _cell(v) for a, v in zip(AXES, lesion.centroid_mm, strict=False)}
            yield {**start, "row": "lesion-change", "lesion": number, "kind": lesion.kind, **sizes, **place}


def _quantity(name: str, quantity: Quantity, unit: str) -> Cells:
    parts = {"": quantity.value, "_low": quantity.low, "_high": quantity.high}
    cells: Cells = {f"{name}{part}{unit}": _cell(value) for part, value in parts.items()}
    return {**cells, f"{name}_coverage": _cell(quantity.coverage)}


def _lesion(lesion: Lesion) -> Cells:
    cells: Cells = {"volume_ml": _cell(lesion.volume_ml), "voxels": lesion.voxels}
    cells |= {"probability": _cell(lesion.probability)}
    cells |= {f"centroid_{a}_mm": _cell(v) for a, v in zip(AXES, lesion.centroid_mm, strict=False)}
    cells |= {f"extent_{a}_mm": _cell(v) for a, v in zip(AXES, lesion.extent_mm, strict=False)}
    for index, (start, stop) in zip(INDICES, lesion.bbox, strict=False):
        cells |= {f"bbox_{index}_start": start, f"bbox_{index}_stop": stop}
    return cells


def _cell(value: float | None) -> str:
    """Write a number so that it reads back bit for bit; nothing for None."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, int) else repr(float(value))


def _lines(warnings: Iterable[Caution]) -> str:
    return "\n".join(f"{caution.code}: {caution.message}" for caution in warnings)


def _grouped(
    rows: Iterable[Row], names: tuple[str, str, str], key: Callable[[Row], tuple[str, ...]]
) -> list[tuple[Row, Labels]]:
    """Gather the rows of each group: the one that opens it, and its labels with their lesions."""
    opening, of_label, of_lesion = names
    found: dict[tuple[str, ...], tuple[Row, Labels]] = {}
    for row in rows:
        if row["row"] == opening:
            if key(row) in found:
                raise ValueError(f"{opening} {key(row)} is there twice")
            found[key(row)] = (row, {})
        elif row["row"] == of_label:
            found[key(row)][1][row["label"]] = (row, [])
        elif row["row"] == of_lesion:
            found[key(row)][1][row["label"]][1].append(row)
    return list(found.values())


def _read_case(first: Row, labels: Labels) -> CaseFindings:
    found = {
        name: LabelFindings(
            _read_quantity(total, "volume", "_ml"),
            _read_quantity(total, "count", ""),
            tuple(map(_read_lesion, lesions)),
        )
        for name, (total, lesions) in labels.items()
    }
    ood = None
    if first["ood_score"] != "":
        ood = Ood(float(first["ood_score"]), float(first["ood_threshold"]))
    review = None
    if first["review_needed"] != "":
        said = {name: total["expected_dice"] for name, (total, _) in labels.items()}
        dice = {name: float(cell) for name, cell in said.items() if cell != ""}
        review = Review({"yes": True, "no": False}[first["review_needed"]], first["review_reason"], dice)
    return CaseFindings(first["case"], found, _read_warnings(first), ood, review)


def _read_change(first: Row, labels: Labels) -> Change:
    found = {
        name: LabelChange(
            _read_quantity(row, "change", "_ml"),
            _number(row["change_percent"]),
            _number(row["smallest_detectable_ml"]),
            tuple(map(_read_lesion_change, lesions)),
            row["noise"],
        )
        for name, (row, lesions) in labels.items()
    }
    return Change(first["subject"], first["before"], first["case"], found, _read_warnings(first))


def _read_warnings(row: Row) -> tuple[Caution, ...]:
    lines = (line.partition(": ") for line in row["warnings"].split("\n") if line)
    return tuple(Caution(code, message) for code, _, message in lines)


def _read_quantity(row: Row, name: str, unit: str) -> Quantity:
    cells = [row[f"{name}{part}{unit}"] for part in ("", "_low", "_high")] + [row[f"{name}_coverage"]]
    value, low, high, coverage = (_number(cell) for cell in cells)
    if value is None:
        raise ValueError(f"{name} of label {row['label']} is empty")
    return Quantity(value, low, high, coverage)


def _number(cell: str) -> float | None:
    if cell == "":
        return None
    return int(cell) if cell.lstrip("-").isdigit() else float(cell)


def _read_lesion(row: Row) -> Lesion:
    dims = sum(1 for a in AXES if row[f"centroid_{a}_mm"] != "")
    return Lesion(
        volume_ml=float(row["volume_ml"]),
        voxels=int(row["voxels"]),
        centroid_mm=tuple(float(row[f"centroid_{a}_mm"]) for a in AXES[:dims]),
        extent_mm=tuple(float(row[f"extent_{a}_mm"]) for a in AXES[:dims]),
        bbox=tuple((int(row[f"bbox_{i}_start"]), int(row[f"bbox_{i}_stop"])) for i in INDICES[:dims]),
        probability=_number(row["probability"]),
    )


def _read_lesion_change(row: Row) -> LesionChange:
    centre = tuple(float(row[f"centroid_{a}_mm"]) for a in AXES if row[f"centroid_{a}_mm"] != "")
    return LesionChange(cast("LesionKind", row["kind"]), float(row["before_ml"]), float(row["after_ml"]), centre)
