"""Accuracy against what it costs: parameters, operations, time, electricity; and what each doubling buys."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from striate.reporting.comparison import Comparison
from striate.reporting.figures.scatter import Point, scatter_plot
from striate.reporting.numbers import compact, measure_text, number
from striate.reporting.section import Section

PLOTS = {
    "parameters_run": "parameters",
    "macs": "MACs of one image",
    "training_flops_by_operations": "training FLOP (by operations)",
    "training_s": "seconds of learning",
    "kwh": "electricity (Wh)",
}
COSTS = {
    "macs": "MACs of one image",
    "training_flops_by_operations": "Training FLOP (by operations)",
    "kwh": "Electricity",
}


def make(folder: Comparison) -> Section:
    """Return the plots and tables."""
    rows = [r for r in folder.networks if number(r.get(folder.main)) is not None]
    if len(rows) < 2:
        why = f"{len(rows) or 'No'} network has a measure; at least two are needed to set accuracy against cost."
        return Section("costs", "What accuracy costs", absent=why)
    plots = [_plot(folder, rows, column, title) for column, title in PLOTS.items()]
    found = folder.document.get("doubling") or {}
    tables = [_table(folder, COSTS[c], found[c]) for c in COSTS if len(found.get(c) or []) > 1]
    alone = [COSTS[c].lower() for c in COSTS if len(found.get(c) or []) == 1]
    return Section(
        "costs", "What accuracy costs", {"plots": plots, "tables": tables, "alone": alone, "main": folder.main_name}
    )


def _plot(folder: Comparison, rows: list[dict[str, Any]], column: str, title: str) -> Markup:
    scale = 1000 if column == "kwh" else 1
    points = [
        Point(
            r["label"], scale * (number(r.get(column)) or 0.0), r[folder.main], number(r.get(f"{folder.main}_low")),
            number(r.get(f"{folder.main}_high")), folder.colour(r["label"]),
        )
        for r in rows
    ]  # fmt: skip
    return scatter_plot(points, title, folder.main_name, most=None if folder.main == "mse" else 1.0)


def _table(folder: Comparison, title: str, front: list[dict[str, Any]]) -> dict[str, Any]:
    rows = []
    for one in front:
        gain = one["gain_per_doubling"]
        told = "" if one["gain"] is None else "hardly dearer" if gain is None else f"{gain:+.3f}".replace("-", "−")
        cost = compact(1000 * one["cost"]) + " Wh" if title == COSTS["kwh"] else compact(one["cost"])
        doublings = "" if one["doublings"] is None else f"{one['doublings']:.1f}"
        rows.append([one["label"], cost, measure_text(folder.main, one["value"]), doublings, told])
    return {"title": title, "rows": rows}
