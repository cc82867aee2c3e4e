"""A cohort of phantoms on disk: ``cohort.csv``, ``labels.json``, ``images/``, ``masks/``, the notice of the anatomy."""

from __future__ import annotations

import csv
import importlib.resources
from collections.abc import Iterator
from pathlib import Path

from striate.core.errors import UsageError, expected
from striate.core.files import write_json
from striate.io.write import write_image, write_label
from striate.phantoms.artefacts import ARTEFACTS, choose
from striate.phantoms.scanner import Raster
from striate.phantoms.site import MOST_SITES
from striate.phantoms.subject import Visit, stream, visits

COLUMNS = (
    "case", "subject", "time", "flair", "label", "artefact", "lesions", "lesion_ml", "new", "grown", "vanished", "seed",
)  # fmt: skip
PERSONAL = ("site", "tesla", "age", "sex")
"""Further columns of cohorts with several sites."""
Row = dict[str, str]


def validate(
    subjects: int, seed: int, spacing_mm: tuple[float, ...], count: int, artefacts: str, sites: int = 1
) -> None:
    """Check what a cohort is asked to be, before anything is written.

    Raises
    ------
    UsageError
        When a number is out of range or the artefact is unknown.
    """
    for what, value, lowest, highest in (
        ("subjects", subjects, 1, 9999),
        ("seed", seed, 0, 2**63 - 1),
        ("visits", count, 1, 9),
        ("sites", sites, 1, MOST_SITES),
    ):
        if not lowest <= value <= highest:
            raise UsageError(expected(what, f"{value}", f"a number from {lowest} to {highest} is needed"))
    Raster.of(spacing_mm)
    if artefacts not in ARTEFACTS:
        choose(artefacts, stream(seed, 0))


def write_subjects(
    folder: Path,
    *,
    subjects: int,
    seed: int,
    spacing_mm: tuple[float, ...],
    count: int,
    artefacts: str,
    sites: int = 1,
) -> Iterator[list[Row]]:
    """Write one subject after the other into `folder`, and yield its rows of ``cohort.csv`` (one per visit)."""
    for subject in range(subjects):
        name = f"P{subject + 1:03d}"
        made = visits(seed, subject, spacing_mm=spacing_mm, count=count, artefacts=artefacts, sites=sites)
        yield [_write_visit(folder, name, visit, seed, named=count > 1) for visit in made]


def _write_visit(folder: Path, subject: str, visit: Visit, seed: int, *, named: bool) -> Row:
    case = f"{subject}_{visit.time}" if named else subject
    flair, label = f"images/{case}_flair.nii.gz", f"masks/{case}_lesion.nii.gz"
    write_image(folder / flair, visit.flair)
    write_label(folder / label, visit.label)
    change = [str(n) if visit.time > 1 else "" for n in (visit.change.new, visit.change.grown, visit.change.vanished)]
    values = (
        case, subject, str(visit.time), flair, label,
        visit.artefact, str(visit.lesions), f"{visit.lesion_ml:.3f}", *change, str(seed),
    )  # fmt: skip
    row = dict(zip(COLUMNS, values, strict=True))
    if visit.person is not None:
        age = visit.person.age + visit.time - 1
        personal = (visit.site.name, f"{visit.site.tesla:g}", str(age), visit.person.sex)
        row |= dict(zip(PERSONAL, personal, strict=True))
    return row


def write_table(folder: Path, rows: list[Row]) -> Path:
    """Write ``cohort.csv``, ``labels.json`` and the notice that copies must carry; return the table's path."""
    path = folder / "cohort.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if rows else COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_json(folder / "labels.json", {"1": "lesion"})
    notice = importlib.resources.files("striate.phantoms") / "assets" / "NOTICE"
    (folder / "NOTICE").write_bytes(notice.read_bytes())
    return path
