"""`evaluate` for anomaly maps: those that a prediction holds against the masks of a cohort."""

from __future__ import annotations

from pathlib import Path

from striate.core.errors import DataError
from striate.core.grouped import grouped
from striate.core.progress import Progress, each
from striate.data.cohort import Cohort
from striate.io.read import read_image, read_label
from striate.measure.anomaly import anomaly_measures, rows_of


def evaluate_anomalies(folder: Path, truth: Path, progress: Progress) -> dict[str, dict[str, float | None]]:
    """Measure the anomaly maps of `folder` on the cases of `truth` that have a mask; all its labels count as one.

    Nothing where there are no maps, or no masks; a mask on another grid is left out, and that is said.

    Returns
    -------
    dict
        Case → `striate.measure.anomaly.anomaly_measures`.
    """
    rows = rows_of(folder)
    masks = _masks(truth) if rows else {}
    maps = {row["case"]: folder / row["map"] for row in rows if row["case"] in masks}
    if not maps:
        return {}
    found, astray = {}, list[tuple[str, str, str]]()
    for case, path in each(progress, "evaluate", list(maps.items()), len(maps)):
        values, mask = read_image(path), read_label(masks[case])
        if values.grid.matches(mask.grid):
            found[case] = anomaly_measures(values.array[0], mask.array)
        else:
            why = f"case {case}: the mask {masks[case].name} lies on another grid than the scan; it is left out."
            astray.append((case, "grid", why))
    for line in grouped(astray):
        progress.warn(line)
    return found


def _masks(truth: Path) -> dict[str, Path]:
    """Return case → label map; nothing where `truth` is no cohort."""
    try:
        return {case.name: case.label for case in Cohort.open(truth).labelled if case.label is not None}
    except DataError:
        return {}
