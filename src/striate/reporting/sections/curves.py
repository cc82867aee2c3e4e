"""Error over the amount of data with its power law, and over the size of the networks; what twice of each would give."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from striate.reporting.comparison import Comparison
from striate.reporting.figures.scatter import Line, Point, scatter_plot
from striate.reporting.numbers import NONE
from striate.reporting.section import Section

STEPS = 40
APART = 1.025
"""Factor by which the points of networks lie beside each other, so that their strokes can be told apart."""

OF_ANY_LAW = 2
"""Points that every power law of two numbers goes through; that it explains them says nothing."""


def make(folder: Comparison) -> Section:
    """Return the plots, the laws and the sentences."""
    curves = [c for c in folder.document.get("curves") or [] if c.get("points")]
    size = folder.document.get("size") or {}
    if not curves and not size:
        return Section("curves", "More data, larger networks", absent="No run is finished.")
    several = any(len(c["points"]) > 1 for c in curves)
    told = [str(c["sentence"]) for c in curves if several] + ([str(size["sentence"])] if size.get("sentence") else [])
    data: dict[str, Any] = {
        "plots": [_data_plot(folder, curves)] if several else [],
        "keys": [(c["label"], folder.colour(c["label"])) for c in curves],
        "laws": [_law(c["label"], c) for c in curves if c.get("law")] if several else [],
        "told": told,
        "one": ""
        if several
        else "One share of the data was used, so there is no learning curve (--fractions 0.1,0.3,1.0).",
    }
    if size.get("law"):
        data["plots"].append(_size_plot(folder, size))
        data["laws"].append(_law("network size", size))
    return Section("curves", "More data, larger networks", data)


def _data_plot(folder: Comparison, curves: list[dict[str, Any]]) -> Markup:
    points, lines = [], []
    for index, curve in enumerate(curves):
        colour, beside = folder.colour(curve["label"]), APART ** (index - (len(curves) - 1) / 2)
        points += [
            Point(
                f"{curve['label']}, {p['subjects']:g}", p["subjects"] * beside, p["error"], p["low"], p["high"], colour
            )
            for p in curve["points"]
        ]
        xs, ys = [p["subjects"] for p in curve["points"]], [p["error"] for p in curve["points"]]
        lines += _lines(curve, xs, colour) if curve.get("foreseen") else _joined(xs, ys, colour)
    return scatter_plot(
        points, "training subjects", f"Error ({folder.error_name})", lines=lines, named=False, log_y=True, height=300
    )


def _size_plot(folder: Comparison, size: dict[str, Any]) -> Markup:
    points = [
        Point(p["network"], p["parameters"], p["error"], colour=folder.colour(p["network"])) for p in size["points"]
    ]
    lines = _lines(size, [p["parameters"] for p in size["points"]], 8) if size.get("foreseen") else []
    return scatter_plot(points, "parameters", f"Error ({folder.error_name})", lines=lines, log_y=True, height=300)


def _joined(xs: list[float], ys: list[float], colour: int) -> list[Line]:
    """Join points through which no law goes."""
    known = [(x, y) for x, y in zip(xs, ys, strict=True) if y > 0]
    return [Line([x for x, _ in known], [y for _, y in known], colour, faint=True)] if len(known) > 1 else []


def _lines(found: dict[str, Any], measured: list[float], colour: int) -> list[Line]:
    """Return the law over what was measured, and dashed up to what is foreseen."""
    law, most = found["law"], max(measured)
    return [
        _line(law, min(measured), most, colour, dashed=False),
        _line(law, most, found["wanted"], colour, dashed=True),
    ]


def _line(law: dict[str, Any], start: float, stop: float, colour: int, *, dashed: bool) -> Line:
    ends = math.log(start), math.log(stop)
    xs = [math.exp(ends[0] + (ends[1] - ends[0]) * n / STEPS) for n in range(STEPS + 1)]
    return Line(xs, [law["a"] * x ** -law["b"] + law["c"] for x in xs], colour, dashed)


def _law(name: str, found: dict[str, Any]) -> list[str]:
    law, exponent = found["law"], found.get("exponent")
    formula = f"{law['a']:.3g} · n^({-law['b']:.3g})" + (f" + {law['c']:.3g}" if law["c"] > 0 else "")
    interval = NONE if exponent is None else f"{exponent[0]:.2g} to {exponent[1]:.2g}"
    fits_anyway = len(found["points"]) <= OF_ANY_LAW
    explained = NONE if fits_anyway or law["explained"] is None else f"{int(100 * max(0.0, law['explained']))} %"
    return [name, *(text.replace("-", "−") for text in (formula, f"{law['b']:.2g}", interval)), explained]
