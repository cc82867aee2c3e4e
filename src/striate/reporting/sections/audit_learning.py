"""The Dice of refits on fewer subjects, the law through them, and what twice the subjects would give."""

from __future__ import annotations

import math
from typing import Any

from striate.core.machine import show_seconds
from striate.reporting.audit import Audit
from striate.reporting.figures.scatter import Line, Point, scatter_plot
from striate.reporting.numbers import fixed, interval
from striate.reporting.section import Section

TITLE = "Hunger for data"
STEPS = 40
WEAK = 0.3
"""Dice below which the points say nothing and are not drawn."""


def make(folder: Audit) -> Section:
    """Return the learning curve."""
    absent, part = folder.absent("learning_curve"), folder.part("learning_curve")
    if absent:
        return Section("audit_learning", TITLE, absent=absent)
    points = [
        Point(f"{p['subjects']:g} subjects", p["subjects"], p["error"], p["low"], p["high"], 7) for p in part["points"]
    ]
    lines = _law(part) if part.get("foreseen") else [Line([p.x for p in points], [p.y for p in points], 7, faint=True)]
    plot = (
        scatter_plot(points, "training subjects", "Error (1 − Dice)", lines=lines, named=False, log_y=True, height=240)
        if min(p.y for p in points) < 1 - WEAK
        else ""
    )
    rows = [[f"{p['subjects']:g}", fixed(1 - p["error"]), _ends(p)] for p in part["points"]]
    data: dict[str, Any] = {
        "plot": plot, "rows": rows, "sentence": folder.answer("learning_curve"), "told": part["told"], "n": part["n_subjects"],
        "refit": show_seconds(part["refit_s"]), "notes": part.get("notes") or [],
    }  # fmt: skip
    return Section("audit_learning", TITLE, data)


def _ends(point: dict[str, Any]) -> str:
    return "" if point["low"] is None else interval(1 - point["high"], 1 - point["low"])


def _law(part: dict[str, Any]) -> list[Line]:
    """Return the law over what was measured, and dashed up to what is foreseen."""
    law, xs = part["law"], [p["subjects"] for p in part["points"]]

    def line(start: float, stop: float, *, dashed: bool) -> Line:
        ends = math.log(start), math.log(stop)
        at = [math.exp(ends[0] + (ends[1] - ends[0]) * n / STEPS) for n in range(STEPS + 1)]
        return Line(at, [law["a"] * x ** -law["b"] + law["c"] for x in at], 7, dashed)

    return [line(min(xs), max(xs), dashed=False), line(max(xs), part["wanted"], dashed=True)]
