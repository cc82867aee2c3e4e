"""What an update learned and what it forgot: Dice on both cohorts along the line from the old weights to the new ones."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from striate.reporting.figures.trade import Place, trade_plot
from striate.reporting.folder import Folder
from striate.reporting.numbers import NONE, fixed, interval, number
from striate.reporting.section import Section

TITLE = "What was learned and what was forgotten"
WORST = 8
"""Subjects that are shown of those that were forgotten most."""
NEAR = 0.1
"""A limit that lies further below all points, or below 0, is not drawn."""


def make(folder: Folder) -> Section:
    """Return figure and tables of ``update.json``."""
    found = folder.update
    chosen = found.get("chosen")
    if not chosen:
        return Section("update", TITLE, absent=folder.why.get("update.json", "The update is not finished."))
    points = found["points"]
    measured = chosen["earlier"]["subjects"] > 0
    limit = _limit(points, chosen) if measured else None
    data: dict[str, Any] = {
        "told": chosen["told"],
        "measured": measured,
        "limit": limit is not None,
        "rehearsed": found["rehearsed_cases"],
        "plot": _plot(points, chosen, limit) if measured else None,
        "sides": [_side(name, chosen[key]) for name, key in (("earlier", "earlier"), ("new", "new"))],
        "points": [_point(point, chosen["share"]) for point in points],
        "worst": _worst(found, chosen["share"]),
        "few": min(chosen[key]["subjects"] for key in ("earlier", "new")) < 10,
    }
    return Section("update", TITLE, data)


def _limit(points: list[dict[str, Any]], chosen: dict[str, Any]) -> float | None:
    """Return the least Dice on the earlier cohort that is allowed, where it lies near what was measured."""
    least = float(chosen["earlier"]["before"]["mean"] - chosen["tolerance"])
    return least if least >= max(0.0, min(p["earlier"]["after"]["mean"] for p in points) - NEAR) else None


def _plot(points: list[dict[str, Any]], chosen: dict[str, Any], limit: float | None) -> Markup:
    places = [
        Place(_share(p["share"]), p["earlier"]["after"]["mean"], p["new"]["after"]["mean"], p["share"] == chosen["share"])
        for p in points
    ]  # fmt: skip
    return trade_plot(places, "Mean Dice on the earlier cohort", "Mean Dice on the new cohort", least_x=limit)


def _share(share: float) -> str:
    return {0.0: "before", 1.0: "whole update"}.get(share, f"{100 * share:.3g} %")


def _side(name: str, side: dict[str, Any]) -> list[str]:
    return [
        f"{name} cohort",
        str(side["subjects"]),
        *(_mean(side[key]) for key in ("before", "after")),
        _change(side["change"]),
    ]


def _point(point: dict[str, Any], chosen: float) -> dict[str, Any]:
    cells = [_mean(point["earlier"]["after"]), _change(point["earlier"]["change"])]
    cells += [_mean(point["new"]["after"]), _change(point["new"]["change"])]
    return {"name": _share(point["share"]), "cells": cells, "taken": point["share"] == chosen}


def _mean(summary: dict[str, Any]) -> str:
    bounds = interval(summary["low"], summary["high"], 3) if number(summary["low"]) is not None else ""
    return fixed(summary["mean"], 3) + (f" ({bounds})" if bounds else "")


def _change(summary: dict[str, Any]) -> str:
    mean = number(summary["mean"])
    if mean is None:
        return NONE
    return ("+" if mean > 0 else "") + _mean(summary)


def _worst(found: dict[str, Any], share: float) -> list[list[str]]:
    """Return subject, Dice before, after and the fall, of those of the earlier cohort that fell; the largest fall first."""
    before, after = (next(row["dice"] for row in found["rows"] if row["share"] == wanted) for wanted in (0.0, share))
    own: dict[str, list[str]] = {}
    for case in found["earlier"]:
        own.setdefault(found["subjects"][case], []).append(case)
    means = [(subject, _of(before, cases), _of(after, cases)) for subject, cases in own.items()]
    fallen = sorted((row for row in means if row[2] < row[1]), key=lambda row: row[2] - row[1])
    return [[s, fixed(b, 3), fixed(a, 3), fixed(a - b, 3)] for s, b, a in fallen[:WORST]]


def _of(dice: dict[str, dict[str, float]], cases: list[str]) -> float:
    values = [value for case in cases for value in dice[case].values()]
    return sum(values) / len(values)
