"""Points with intervals and fitted lines over a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from striate.reporting.figures.axes import WIDTH, Axes, around, label, picture, ticks
from striate.reporting.figures.names import names_beside
from striate.reporting.numbers import compact


@dataclass(frozen=True, slots=True)
class Point:
    """A named point with the interval of its height."""

    name: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    colour: int = 1


@dataclass(frozen=True, slots=True)
class Line:
    """A line; dashed where it is not measured but foreseen, faint where it only joins points."""

    x: Sequence[float]
    y: Sequence[float]
    colour: int = 1
    dashed: bool = False
    faint: bool = False


def scatter_plot(
    points: Sequence[Point],
    x_title: str,
    y_title: str,
    *,
    lines: Sequence[Line] = (),
    named: bool = True,
    log_y: bool = False,
    most: float | None = None,
    height: float = 260,
) -> Markup:
    """Draw points over a logarithmic horizontal axis.

    Parameters
    ----------
    points
        What is shown; those whose x is not above 0 are left out.
    x_title, y_title
        Titles of the axes.
    lines
        Drawn behind the points.
    named
        Write each point's name beside it.
    log_y
        The vertical axis is logarithmic, too.
    most
        The largest value there can be; the vertical axis ends there, or a little above where a point lies on it.
    height
        Of the plot.
    """
    shown = [p for p in points if p.x > 0 and (p.y > 0 or not log_y)]
    xs = [math.log10(v) for v in [*(p.x for p in shown), *(x for one in lines for x in one.x)]]
    raw = [v for p in shown for v in (p.y, p.low, p.high) if v is not None] + [y for one in lines for y in one.y]
    least = min((p.y for p in shown), default=1.0) / 4  # an interval may reach 0, which has no logarithm
    ys = [math.log10(max(v, least)) for v in raw] if log_y else raw
    axes = Axes(_wide(xs), around(ys, share=0.08), height=height, left=48)
    if most is not None and axes.y[1] > most:
        axes = replace(axes, y=(axes.y[0], most + 0.04 * (most - axes.y[0])))
    parts = [_frame(axes, x_title, y_title, log_y=log_y)]

    def up(value: float) -> float:
        inside = min(max(math.log10(max(value, least)) if log_y else value, axes.y[0]), axes.y[1])
        return axes.at_y(inside)

    for one in lines:
        path = "M" + "L".join(f"{axes.at_x(math.log10(x))} {up(y)}" for x, y in zip(one.x, one.y, strict=True))
        dash = Markup(' stroke-dasharray="4 3"') if one.dashed else ""
        faint = " faint" if one.faint else ""
        parts.append(Markup('<path class="line c{}{}" d="{}"{}/>').format(one.colour, faint, path, dash))
    places = [(p, axes.at_x(math.log10(p.x)), up(p.y)) for p in shown]
    for p, x, _ in places:
        if p.low is not None and p.high is not None:
            parts.append(Markup('<path class="whisker c{}" d="M{} {}V{}"/>').format(p.colour, x, up(p.low), up(p.high)))
    for p, x, y in places:
        told = f"{p.name}: {p.y:.3g}" + (
            f" ({p.low:.3g} to {p.high:.3g})" if p.low is not None and p.high is not None else ""
        )
        dot = Markup('<circle class="dot c{}" cx="{}" cy="{}" r="4" tabindex="-1"><title>{}</title></circle>')
        parts.append(dot.format(p.colour, x, y, told))
    if named:
        spans = [sorted((up(p.low or p.y), up(p.high or p.y))) for p in shown]
        whiskers = [(x - 1.5, top, x + 1.5, bottom) for (_, x, _), (top, bottom) in zip(places, spans, strict=True)]
        parts.extend(names_beside([(p.name, x, y) for p, x, y in places], axes, whiskers))
    ends = "; ".join(f"{p.name} {p.y:.3g} at {compact(p.x)}" for p in shown)
    return picture(axes, Markup("").join(parts), f"{y_title} over {x_title}: {ends or 'nothing'}.")


def _wide(xs: list[float]) -> tuple[float, float]:
    """Return a range of logarithms with room at its ends, half a decade at least."""
    low, high = min(xs, default=0.0), max(xs, default=1.0)
    missing = max(0.0, 0.5 - (high - low)) / 2
    room = 0.07 * (high - low + 2 * missing)
    return low - missing - room, high + missing + room


def log_ticks(low: float, high: float) -> list[float]:
    """Return round values between 10^low and 10^high: powers of ten, with 2 and 5 (and 3 and 7) where few fit."""
    choices: list[list[float]] = []
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        decades = range(math.floor(low), math.ceil(high) + 1)
        found = [m * 10.0**d for d in decades for m in steps if low - 1e-9 <= math.log10(m * 10.0**d) <= high + 1e-9]
        choices.append(found)
        if 3 <= len(found) <= 8:
            return found
    few = [c for c in choices if len(c) >= 2]
    if choices[0] and len(choices[0]) > 8:
        return choices[0][:: math.ceil(len(choices[0]) / 6)]
    return few[-1] if few else choices[-1]


def _frame(axes: Axes, x_title: str, y_title: str, *, log_y: bool) -> Markup:
    parts = []
    if log_y:
        rows = [(math.log10(v), f"{v:.3g}") for v in log_ticks(*axes.y)]
    else:
        found = ticks(*axes.y)
        step = found[1] - found[0] if len(found) > 1 else found[0]
        rows = [(v, label(v, step)) for v in found]
    right = WIDTH - axes.right
    for value, text in rows:
        y = axes.at_y(value)
        parts.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(axes.left, y, right))
        parts.append(Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(axes.left - 6, y + 3.5, text))
    parts.append(Markup('<path class="axis" d="M{} {}H{}"/>').format(axes.left, axes.floor, right))
    for value in log_ticks(*axes.x):
        x = axes.at_x(math.log10(value))
        parts.append(Markup('<path class="axis" d="M{} {}v4"/>').format(x, axes.floor))
        text = compact(value)
        parts.append(Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(x, axes.floor + 16, text))
    middle = (axes.left + right) / 2
    title = Markup('<text class="title" x="{}" y="{}" text-anchor="middle">{}</text>')
    parts.append(title.format(middle, axes.height - 4, x_title))
    parts.append(Markup('<text class="title" x="0" y="12">{}</text>').format(y_title))
    return Markup("").join(parts)
