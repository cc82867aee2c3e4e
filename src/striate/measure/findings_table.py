"""Findings as a table: one row per label total and one per lesion, units in the column names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from striate.core.errors import FormatError, expected
from striate.measure.finding import CaseFindings, LabelFindings, Lesion, Quantity

AXES = ("x", "y", "z")
INDICES = ("i", "j", "k")
COLUMNS = (
    "case", "label", "row", "lesion", "volume_ml", "volume_low_ml", "volume_high_ml", "volume_level",
    "count", "count_low", "count_high", "count_level", "voxels",
    *(f"centroid_{a}_mm" for a in AXES), *(f"extent_{a}_mm" for a in AXES),
    *(f"bbox_{i}_{end}" for i in INDICES for end in ("start", "stop")), "warnings",
)  # fmt: skip


def to_csv(cases: Iterable[CaseFindings]) -> str:
    """Write the table; a ``total`` row opens each label, ``lesion`` rows follow, largest first.

    Numbers are written so that they read back bit for bit. The warnings of a case stand in its first row, one a line.
    """
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for case in cases:
        warnings = "\n".join(case.warnings)
        for name, found in case.labels.items():
            start = {"case": case.case, "label": name}
            total = {**_quantity("volume", found.volume_ml, "_ml"), **_quantity("count", found.count, "")}
            writer.writerow({**start, "row": "total", **total, "warnings": warnings})
            warnings = ""
            for number, lesion in enumerate(found.lesions, start=1):
                writer.writerow({**start, "row": "lesion", "lesion": number, **_lesion(lesion)})
    return stream.getvalue()


def from_csv(path: Path) -> tuple[CaseFindings, ...]:
    """Read the table back.

    Raises
    ------
    FormatError
        When the file cannot be read, a column is missing or unknown, or a cell holds something else than its number.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, restval="")
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise FormatError(
                    expected(
                        path, f"columns {list(reader.fieldnames or ())}", f"the columns {', '.join(COLUMNS)} are needed"
                    ),
                    path=path,
                )
            return tuple(_cases(reader))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(
            expected(path, f"not readable as CSV ({error})", "a table of findings is needed"), path=path
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            expected(path, f"a cell cannot be read ({error})", "numbers as Striate writes them are needed"), path=path
        ) from error


def _quantity(name: str, quantity: Quantity, unit: str) -> dict[str, object]:
    parts = {"": quantity.value, "_low": quantity.low, "_high": quantity.high}
    cells: dict[str, object] = {f"{name}{part}{unit}": "" if v is None else repr(v) for part, v in parts.items()}
    return {**cells, f"{name}_level": "" if quantity.level is None else repr(quantity.level)}


def _lesion(lesion: Lesion) -> dict[str, object]:
    cells: dict[str, object] = {"volume_ml": repr(lesion.volume_ml), "voxels": lesion.voxels}
    cells |= {f"centroid_{a}_mm": repr(v) for a, v in zip(AXES, lesion.centroid_mm, strict=False)}
    cells |= {f"extent_{a}_mm": repr(v) for a, v in zip(AXES, lesion.extent_mm, strict=False)}
    for index, (start, stop) in zip(INDICES, lesion.bbox, strict=False):
        cells |= {f"bbox_{index}_start": start, f"bbox_{index}_stop": stop}
    return cells


def _cases(rows: Iterable[Mapping[str, str]]) -> list[CaseFindings]:
    labels: dict[str, dict[str, LabelFindings]] = {}
    warnings: dict[str, tuple[str, ...]] = {}
    for row in rows:
        case = labels.setdefault(row["case"], {})
        if row["row"] == "total":
            case[row["label"]] = LabelFindings(_read_quantity(row, "volume", "_ml"), _read_quantity(row, "count", ""))
            warnings.setdefault(row["case"], tuple(row["warnings"].split("\n")) if row["warnings"] else ())
        else:
            total = case[row["label"]]
            lesions = (*total.lesions, _read_lesion(row))
            case[row["label"]] = LabelFindings(total.volume_ml, total.count, lesions)
    return [CaseFindings(name, found, warnings[name]) for name, found in labels.items()]


def _read_quantity(row: Mapping[str, str], name: str, unit: str) -> Quantity:
    cells = [row[f"{name}{part}{unit}"] for part in ("", "_low", "_high")] + [row[f"{name}_level"]]
    value, low, high, level = (_number(cell) for cell in cells)
    if value is None:
        raise ValueError(f"{name} of label {row['label']} is empty")
    return Quantity(value, low, high, level)


def _number(cell: str) -> float | None:
    if cell == "":
        return None
    return int(cell) if cell.lstrip("-").isdigit() else float(cell)


def _read_lesion(row: Mapping[str, str]) -> Lesion:
    dims = sum(1 for a in AXES if row[f"centroid_{a}_mm"] != "")
    return Lesion(
        volume_ml=float(row["volume_ml"]),
        voxels=int(row["voxels"]),
        centroid_mm=tuple(float(row[f"centroid_{a}_mm"]) for a in AXES[:dims]),
        extent_mm=tuple(float(row[f"extent_{a}_mm"]) for a in AXES[:dims]),
        bbox=tuple((int(row[f"bbox_{i}_start"]), int(row[f"bbox_{i}_stop"])) for i in INDICES[:dims]),
    )
