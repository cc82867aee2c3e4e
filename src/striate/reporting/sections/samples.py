"""The gallery: the most confident mistakes, then typical right ones, each with what is true and what was said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from striate.reporting.folder import Folder
from striate.reporting.numbers import fixed, number
from striate.reporting.sample_panel import FILE, Sample
from striate.reporting.section import Section
from striate.reporting.sprites import tile

TITLE = "Images"


def make(folder: Folder) -> Section:
    """Return the tiles of ``panels/samples.npz``, mistakes first."""
    found = folder.samples
    if found is None or found.form != "classes":
        name = (folder.results / FILE).relative_to(folder.path).as_posix()
        why = folder.why.get(name, f"{name} holds reconstructions.")
        return Section("samples", TITLE, absent=f"There is nothing to look at: {why}")
    calibrated = _calibrated(folder)
    samples = [
        replace(s, probability=calibrated.get(s.caption, {}).get(s.predicted, s.probability)) for s in found.samples
    ]
    tiles = [_tile(s, tile(image)) for s, image in zip(samples, found.images, strict=True)]
    wrong = [t for t in tiles if t["right"] is False]
    right = [t for t in tiles if t["right"] is True]
    groups = [
        (f"Mistakes, the most confident (uncalibrated) first{_of(len(wrong), found.wrong)}", wrong),
        ("Typical right ones", right),
        ("Without a truth, the least confident (uncalibrated) first", [t for t in tiles if t["right"] is None]),
    ]
    note = "No image was called wrong." if right and not found.wrong else ""
    return Section(
        "samples",
        TITLE,
        {"groups": [g for g in groups if g[1]], "note": note, "total": found.total, "calibrated": bool(calibrated)},
    )


def _calibrated(folder: Folder) -> dict[str, dict[str, float]]:
    """Return caption → class → calibrated probability; empty where there is none, or several classes may occur."""
    if not folder.findings.get("exclusive"):
        return {}
    return {
        case if place is None else f"{case}, slice {place}": one["probabilities"]
        for (case, place), one in folder.said.items()
    }


def _of(shown: int, every: int) -> str:
    return f": {shown} of {every}" if shown < every else f": {every}"


def _tile(sample: Sample, source: str) -> dict[str, Any]:
    probability = number(sample.probability)
    return {
        "src": source,
        "caption": sample.caption,
        "truth": sample.truth.replace(";", ", "),
        "predicted": sample.predicted.replace(";", ", "),
        "probability": "" if probability is None else fixed(probability, 2),
        "right": sample.right,
    }
