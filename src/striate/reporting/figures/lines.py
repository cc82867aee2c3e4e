"""Line plots over steps, with the values under the pointer read out by the page's script."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from striate.reporting.figures.axes import WIDTH, Axes, around, picture

SMOOTHED = 0.03
"""Share of the values that a running mean is over."""
POINTS = 240
"""Points of one line at most; more are averaged in bins."""

CHARACTER = 6.6
"""Width of a character of a note where the page shows it largest, about; a little more than most."""
STEPS = 8
"""Places looked at between two points of a line, to see whether it runs through a note."""

Places = list[tuple[float, float]]


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


def smoothed(values: list[float]) -> list[float]:
    """Return running means over a centred window of `SMOOTHED` of the values; shorter at the ends."""
    half = max(1, round(len(values) * SMOOTHED / 2))
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
    x_range: tuple[float, float] | None = None,
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
    x_range, y_range
        Range of an axis; that of the data where it is not given.
    zero
        The vertical axis starts at 0.
    mark
        A horizontal line (value, what it means), for instance a limit.
    """
    drawn = [Series(s.name, *thinned(s.x, s.y), s.colour, s.faint, s.dots) for s in series if s.x]
    xs = [*(x_range or ()), *(v for s in drawn for v in s.x)]
    ys = [v for s in drawn for v in s.y] + ([mark[0]] if mark else [])
    axes = Axes((min(xs, default=0), max(xs, default=1)), y_range or around(ys, zero=zero))
    parts = [axes.frame(x_title, y_title, whole=True)]
    if mark:
        parts.append(level_line(axes, *mark, [_points(axes, one) for one in drawn]))
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


def level_line(axes: Axes, value: float, meaning: str, lines: list[Places]) -> Markup:
    """Draw a horizontal line, with what it means beside it, where the fewest lines of the plot run."""
    right, y = WIDTH - axes.right, axes.at_y(value)
    wide = CHARACTER * len(meaning)
    ends = ((right, right - wide, "end"), (axes.left + 3, axes.left + 3, "start"))
    rows = [base for base in (y - 4, y + 11, y - 12, y + 20) if axes.top + 8 <= base <= axes.floor - 2] or [y - 4]
    places = [(x, start, base, anchor) for base in rows for x, start, anchor in ends]
    x, _, base, anchor = min(places, key=lambda p: _crossed(lines, (p[1], p[1] + wide), (p[2] - 10, p[2] + 3)))
    line = Markup('<path class="mark" d="M{} {}H{}"/>').format(axes.left, y, right)
    text = Markup('<text class="note" x="{}" y="{}" text-anchor="{}">{}</text>')
    return line + text.format(round(x, 2), round(base, 2), anchor, meaning)


def _crossed(lines: list[Places], across: tuple[float, float], down: tuple[float, float]) -> int:
    """Return how many steps along `lines` lie in a box."""
    steps = [
        ((1 - s) * x0 + s * x1, (1 - s) * y0 + s * y1)
        for points in lines
        for (x0, y0), (x1, y1) in zip(points, points[1:] or points, strict=False)
        for s in (n / STEPS for n in range(STEPS))
    ]
    return sum(across[0] <= x <= across[1] and down[0] <= y <= down[1] for x, y in steps)


def _points(axes: Axes, one: Series) -> Places:
    """Return where the points of a line are drawn; what is off the vertical axis lies at its end."""
    low, high = axes.y
    return [(axes.at_x(x), axes.at_y(min(max(y, low), high))) for x, y in zip(one.x, one.y, strict=True)]


def _line(axes: Axes, one: Series) -> Markup:
    points = _points(axes, one)
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
