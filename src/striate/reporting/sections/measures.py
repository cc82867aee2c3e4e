"""Measures against the truth: summary with intervals, every case as a dot, every case as a row."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from striate.measure.named import MEASURES, measure_name
from striate.reporting.figures.dots import Row, dot_plot
from striate.reporting.folder import Folder
from striate.reporting.numbers import measure_interval, measure_text, number
from striate.reporting.section import Section

SHARES = ("dice", "iou", "lesion_f1", "lesion_precision", "lesion_recall", "ssim")
PLOTTED = ("dice", "hd95_mm", "volume_error_ml", "lesion_f1", "ssim", "psnr_db")


def make(folder: Folder) -> Section:
    """Return tables and dot plots of ``evaluation.json``."""
    summary = folder.evaluation.get("summary") or {}
    cases = [c for c in folder.evaluation.get("cases") or [] if isinstance(c, dict)]
    if not summary and not cases:
        name = "validation/evaluation.json" if folder.kind == "run" else "evaluation.json"
        why = folder.why.get(name, "evaluation.json holds no case.")
        if folder.kind == "prediction":
            why += " Where there is a truth: striate evaluate PREDICTION TRUTH --out PREDICTION/evaluation.json."
        return Section("measures", "Measures", absent=f"Nothing was measured against a truth: {why}")
    names = list(summary) or [k for k, v in cases[0].items() if isinstance(v, dict)]
    found = {m for per in [*summary.values(), *(c.get(n) or {} for c in cases for n in names)] for m in per}
    measures = [m for m in MEASURES if m in found] + sorted(found - set(MEASURES))
    data = {
        "of": "Channel" if folder.task == "reconstruction" else "Structure",
        "columns": [measure_name(m) for m in measures],
        "summary": [_summary(n, summary.get(n) or {}, measures) for n in names],
        "plots": []
        if len(cases) < 2
        else [p for m in PLOTTED if m in measures and (p := _plot(m, names, summary, cases))],
        "cases": [_case_rows(c, names, measures) for c in cases],
        "many": len(cases) > 12,
        "notes": [str(n) for n in folder.evaluation.get("notes") or []],
    }
    return Section("measures", "Measures", data)


def _summary(name: str, values: dict[str, Any], measures: list[str]) -> dict[str, Any]:
    cells = []
    for measure in measures:
        one = values.get(measure) or {}
        bounds = measure_interval(measure, one.get("low"), one.get("high")) if (number(one.get("n")) or 0) > 1 else ""
        cells.append({"mean": measure_text(measure, one.get("mean")), "interval": bounds, "n": one.get("n")})
    counts = {c["n"] for c in cells if c["n"] is not None}
    return {"name": name, "cells": cells, "n": max(counts, default=0), "differ": len(counts) > 1}


def _plot(measure: str, names: list[str], summary: dict[str, Any], cases: list[dict[str, Any]]) -> Markup | None:
    rows = []
    for name in names:
        values = [(str(c.get("case")), v) for c in cases if (v := number((c.get(name) or {}).get(measure))) is not None]
        one = (summary.get(name) or {}).get(measure) or {}
        if values:
            rows.append(Row(name, values, number(one.get("mean")), number(one.get("low")), number(one.get("high"))))
    if not rows:
        return None
    return dot_plot(rows, measure_name(measure), x_range=_share_range(rows) if measure in SHARES else None, zero=True)


def _share_range(rows: list[Row]) -> tuple[float, float]:
    """Return a range that ends at 1 and starts at the tenth below the lowest value."""
    low = min(v for r in rows for v in [*(value for _, value in r.values), r.low if r.low is not None else 1.0])
    return min(0.8, max(0.0, math.floor(low * 10 - 0.3) / 10)), 1.0


def _case_rows(case: dict[str, Any], names: list[str], measures: list[str]) -> dict[str, Any]:
    rows = [
        (n, [measure_text(m, (case.get(n) or {}).get(m)) for m in measures])
        for n in names
        if isinstance(case.get(n), dict)
    ]
    return {"case": str(case.get("case")), "rows": rows}
