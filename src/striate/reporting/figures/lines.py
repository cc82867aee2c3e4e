"""Line plots over steps, with the values under the pointer read out by the page's script."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from striate.reporting.figures.axes import WIDTH, Axes, around, picture

POINTS = 240
"""Points of one line at most; more are averaged in bins."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line: name, points, and the number of its colour (1 to 8); `faint` ones lie behind and are not read out."""

    name: str
    x: list[float]
    y: list[float]
    colour: int = 1
    faint: bool = False
    dots: bool = False


def thinned(x: list[float], y: list[float], count: int = POINTS) -> tuple[list[float], list[float]]:
    """Return at most `count` points; each stands for the mean of its bin."""
    if len(x) <= count:
        return x, y
    edges = [round(n * len(x) / count) for n in range(count + 1)]
    pairs = [(edges[n], edges[n + 1]) for n in range(count)]
    return [sum(x[a:b]) / (b - a) for a, b in pairs], [sum(y[a:b]) / (b - a) for a, b in pairs]


def smoothed(values: list[float], share: float = 0.03) -> list[float]:
    """Return running means over a centred window of `share` of the values; shorter at the ends."""
    half = max(1, round(len(values) * share / 2))
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    bounds = [(max(0, n - half), min(len(values), n + half + 1)) for n in range(len(values))]
    return [(sums[b] - sums[a]) / (b - a) for a, b in bounds]


def line_plot(
    series: list[Series],
    x_title: str,
    y_title: str,
    *,
    y_range: tuple[float, float] | None = None,
    zero: bool = False,
    mark: tuple[float, str] | None = None,
) -> Markup:
    """Draw lines over a common horizontal axis of whole numbers (updates).

    Parameters
    ----------
    series
        The lines, drawn in order.
    x_title, y_title
        Axis titles with units.
    y_range
        Range of the vertical axis; that of the data where it is not given.
    zero
        The vertical axis starts at 0.
    mark
        A horizontal line (value, what it means), for instance a limit.
    """
    drawn = [Series(s.name, *thinned(s.x, s.y), s.colour, s.faint, s.dots) for s in series if s.x]
    xs = [v for s in drawn for v in s.x]
    ys = [v for s in drawn for v in s.y] + ([mark[0]] if mark else [])
    axes = Axes((min(xs, default=0), max(xs, default=1)), y_range or around(ys, zero=zero))
    parts = [axes.frame(x_title, y_title, whole=True)]
    if mark:
        parts.append(_mark(axes, *mark))
    parts.extend(_line(axes, one) for one in drawn)
    right = WIDTH - axes.right
    parts.append(
        Markup('<path class="cursor" d=""/><text class="readout" x="{}" y="12" text-anchor="end"></text>').format(right)
    )
    told = [s for s in drawn if not s.faint]
    ends = "; ".join(f"{s.name} ends at {s.y[-1]:.3g}" for s in told)
    description = f"{y_title} over {x_title}: {ends or 'nothing'}."
    extra = Markup(' data-lines="{}"').format(json.dumps(_readout(axes, told, x_title)))
    return picture(axes, Markup("").join(parts), description, extra)


def _mark(axes: Axes, value: float, meaning: str) -> Markup:
    right, y = WIDTH - axes.right, axes.at_y(value)
    line = Markup('<path class="mark" d="M{} {}H{}"/>').format(axes.left, y, right)
    return line + Markup('<text class="note" x="{}" y="{}" text-anchor="end">{}</text>').format(right, y - 4, meaning)


def _line(axes: Axes, one: Series) -> Markup:
    low, high = axes.y
    points = [(axes.at_x(x), axes.at_y(min(max(y, low), high))) for x, y in zip(one.x, one.y, strict=True)]
    path = "M" + "L".join(f"{x} {y}" for x, y in points)
    parts = [Markup('<path class="line c{}{}" d="{}"/>').format(one.colour, " faint" if one.faint else "", path)]
    if one.dots or len(points) == 1:
        dot = Markup('<circle class="dot c{}" cx="{}" cy="{}" r="2.5"/>')
        parts.extend(dot.format(one.colour, x, y) for x, y in points)
    return Markup("").join(parts)


def _readout(axes: Axes, series: list[Series], unit: str) -> dict[str, Any]:
    """Return what the page's script needs to read values out."""
    lines = [{"n": s.name, "x": [round(v, 3) for v in s.x], "y": [float(f"{v:.4g}") for v in s.y]} for s in series]
    place = {"x": axes.x, "left": axes.left, "right": WIDTH - axes.right, "top": axes.top, "floor": axes.floor}
    return {**place, "unit": unit, "series": lines}
