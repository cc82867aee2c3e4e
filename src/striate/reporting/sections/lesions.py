"""Every connected lesion: probability of being real, volume, centre, size."""

from __future__ import annotations

from typing import Any

from striate.reporting.folder import Folder
from striate.reporting.numbers import NONE, fixed, number, product, triple, volume_decimals
from striate.reporting.section import Section

MOST = 200
"""Rows shown at most; all of them are in findings.csv."""
OPEN = 12
"""Rows up to which a table is open from the start."""
DOUBTFUL = 0.5
"""A lesion of a lower probability is more probably not real."""


def make(folder: Folder) -> Section:
    """Return one row per lesion, the largest of each case and label first."""
    if not folder.cases:
        name = "validation/findings.json" if folder.kind == "run" else "findings.json"
        return Section(
            "lesions", "Lesions", absent=f"No lesion is known: {folder.why.get(name, f'{name} holds no case.')}"
        )
    rows: list[dict[str, Any]] = []
    sizes = [
        x.get("volume_ml")
        for c in folder.cases
        for f in (c.get("labels") or {}).values()
        for x in f.get("lesions") or []
    ]
    digits = max(2, volume_decimals(sizes))
    for case in folder.cases:
        for name, found in (case.get("labels") or {}).items():
            lesions = [x for x in found.get("lesions") or [] if isinstance(x, dict)]
            lesions.sort(key=lambda x: -(number(x.get("volume_ml")) or 0))
            rows.extend(
                _row(str(case.get("case")), name, n, lesion, digits) for n, lesion in enumerate(lesions, start=1)
            )
    if not rows:
        return Section("lesions", "Lesions", absent="No lesion was found in any case.")
    rows.sort(key=lambda r: (r["case"], r["name"], r["n"]))
    shown, known = _cut(rows), any(r["probability"] != NONE for r in rows)
    data = {"rows": shown, "total": len(rows), "open": len(shown) <= OPEN, "probability": known}
    return Section("lesions", "Lesions", data)


def _cut(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the largest `MOST` lesions, in their order."""
    if len(rows) <= MOST:
        return rows
    least = sorted((r["size"] for r in rows), reverse=True)[MOST - 1]
    return [r for r in rows if r["size"] >= least][:MOST]


def _row(case: str, name: str, n: int, lesion: dict[str, Any], digits: int) -> dict[str, Any]:
    extent, probability = lesion.get("extent_mm"), number(lesion.get("probability"))
    sizes = (
        product([round(float(v), 1) for v in extent])
        if isinstance(extent, list)
        else fixed(extent, 1)
        if extent
        else NONE
    )
    return {
        "case": case,
        "name": name,
        "n": n,
        "size": number(lesion.get("volume_ml")) or 0.0,
        "probability": fixed(probability, 2),
        "doubtful": probability is not None and probability < DOUBTFUL,
        "volume": fixed(lesion.get("volume_ml"), digits),
        "voxels": fixed(lesion.get("voxels"), 0),
        "centre": triple(lesion.get("centroid_mm")),
        "extent": sizes,
    }
