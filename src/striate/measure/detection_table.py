"""How lesions are detected, as a table: one row per label for the masks, for each point of the curve and for the mean."""

from __future__ import annotations

from collections.abc import Mapping

from striate.core.files import csv_text
from striate.measure.detection import Detection
from striate.measure.resample import Estimate

COLUMNS = ("label", "row", "false_positives_per_scan", "sensitivity", "low", "high", "lesions", "cases", "subjects")


def froc_table(detection: Mapping[str, Detection]) -> str:
    """Write the table.

    A ``mask`` row opens each label; where its lesions have probabilities a ``mean`` row and ``at`` rows follow, the seven
    points of LUNA16, then ``curve`` rows.
    """
    lines = []
    for label, found in detection.items():
        rows: list[tuple[str, float | None, Estimate]] = [("mask", found.false_positives_per_scan, found.sensitivity)]
        if found.mean_sensitivity is not None:
            rows.append(("mean", None, found.mean_sensitivity))
        rows += [("at", n, estimate) for n, estimate in found.at.items()]
        rows += [("curve", n, estimate) for n, estimate in found.curve.items()]
        for row, false, estimate in rows:
            numbers = (false, estimate.value, estimate.low, estimate.high)
            cells = ["" if v is None else repr(float(v)) for v in numbers]
            lines.append((label, row, *cells, found.lesions, found.cases, found.subjects))
    return csv_text(COLUMNS, lines)
