"""Detection of lesions: sensitivity against false positives per scan, and its mean as LUNA16 takes it."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from striate.measure.detection import LARGEST, LESION
from striate.measure.statistics import FEW_SUBJECTS
from striate.reporting.figures.froc import POINTS, froc_plot
from striate.reporting.folder import Folder
from striate.reporting.numbers import fixed, interval, number
from striate.reporting.section import Section

TITLE = "Detection of lesions"
MOST = 4
"""Labels whose curve is drawn."""
COUNTS = {"scans": "cases", "lesions": "lesions", "found": "found", "false": "false_positives"}


def make(folder: Folder) -> Section:
    """Return the table and the curves of ``evaluation.json``."""
    found = folder.evaluation.get("detection")
    labels = {str(n): d for n, d in found.items() if isinstance(d, dict)} if isinstance(found, dict) else {}
    if not labels:
        name = "validation/evaluation.json" if folder.kind == "run" else "evaluation.json"
        why = folder.why.get(name, f"{name} does not tell it; striate evaluate writes it anew.")
        return Section("detection", TITLE, absent=f"Detection was not measured: {why}")
    subjects = max(int(number(d.get("subjects")) or 0) for d in labels.values())
    data = {
        "points": list(POINTS.values()),
        "rows": [_row(name, one) for name, one in labels.items()],
        "plots": [p for name, one in list(labels.items())[:MOST] if (p := _plot(name, one))],
        "ranked": any(one.get("curve") for one in labels.values()),
        "subjects": subjects,
        "few": subjects < FEW_SUBJECTS,
        "least": FEW_SUBJECTS,
        "scans": min((int(number(d.get("cases")) or 0) for d in labels.values() if d.get("curve")), default=0),
        "whys": list(dict.fromkeys(str(d["why"]) for d in labels.values() if d.get("why") and d.get("lesions"))),
        "ends": [_end(name, one) for name, one in labels.items() if one.get("curve")],
        "left_out": folder.kind == "run" and any(one.get("ranked_by", LESION) == LESION for one in labels.values()),
    }
    return Section("detection", TITLE, data)


def _row(name: str, one: dict[str, Any]) -> dict[str, Any]:
    cells = [_cell(row) for row in one.get("at") or []]
    return {
        "name": name,
        "mean": _cell(one["mean_sensitivity"]) if one.get("mean_sensitivity") else None,
        "cells": cells,
        "mask": _cell(one.get("sensitivity") or {}),
        "per_scan": fixed(one.get("false_positives_per_scan"), 2),
        **{key: fixed(one.get(name), 0) for key, name in COUNTS.items()},
    }


def _end(name: str, one: dict[str, Any]) -> str:
    """Say what is ranked, by what, and where the curve ends."""
    own, largest = "their probability of being real", "the largest probability of their voxels"
    by, end = largest if one.get("ranked_by") == LARGEST else own, _per_scan(one)
    if end is None:
        return (
            f"{name}: the lesions of the masks, ranked by {by}. The curve ends at the masks: fainter candidates were not looked"
            " at, as no probabilities of voxels lie beside them (striate predict --save-probabilities)."
        )
    candidates, lesions = fixed(one.get("candidates"), 0), fixed(one.get("lesions"), 0)
    return (
        f"{name}: {candidates} candidate{'' if candidates == '1' else 's'}, with those that the masks leave out, ranked by {by};"
        f" {'it finds' if candidates == '1' else 'all of them find'} {fixed(one.get('most_found'), 0)} of {lesions}"
        f" lesion{'' if lesions == '1' else 's'} with {fixed(end, 2)} false positives per scan."
    )


def _per_scan(one: dict[str, Any]) -> float | None:
    """Return the false positives per scan of all candidates; None where only those of the masks are known."""
    most, cases = number(one.get("most_false_positives")), number(one.get("cases"))
    return None if most is None or not cases else most / cases


def _cell(estimate: dict[str, Any]) -> dict[str, str]:
    ends = interval(estimate.get("low"), estimate.get("high"), 3)
    return {"value": fixed(estimate.get("value"), 3), "interval": ends}


def _plot(name: str, one: dict[str, Any]) -> dict[str, Any] | None:
    """Draw the curve of a label; its band only where subjects are enough for one."""
    rows = [r for r in one.get("curve") or [] if number(r.get("value")) is not None]
    if not rows:
        return None
    curve = [(float(r["false_positives_per_scan"]), float(r["value"])) for r in rows]
    enough = (number(one.get("subjects")) or 0) >= FEW_SUBJECTS
    known = [
        (float(r["false_positives_per_scan"]), float(r["low"]), float(r["high"])) for r in rows
        if number(r.get("low")) is not None and number(r.get("high")) is not None
    ]  # fmt: skip
    mask = number(one.get("false_positives_per_scan")) or 0.0, number(one.get("sensitivity")) or 0.0
    end = _per_scan(one)
    plot: Markup = froc_plot(name, curve, known if enough else (), mask, mask[0] if end is None else end)
    return {"name": name, "plot": plot, "lesions": fixed(one.get("lesions"), 0), "scans": fixed(one.get("cases"), 0)}
