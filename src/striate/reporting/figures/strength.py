"""A measure against the strength of what is done to the images: lines with their bands, upright marks for what happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from striate.reporting.figures.axes import WIDTH, Axes, picture
from striate.reporting.figures.lines import level_line

TOP, LINE = 50.0, 15.0
"""Room above the plot, and of each word of a mark: words stand there, where no curve can cross them."""


@dataclass(frozen=True, slots=True)
class Response:
    """One curve.

    Attributes
    ----------
    name
        Of what is done.
    x, y
        Strength, rising, and the measure.
    low, high
        Interval at each point; None where none is known.
    colour
        1 to 8.
    dashed
        Whether the line is dashed.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    colour: int = 7
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """An upright line at a strength, with its word; `alarm` draws it in red."""

    x: float
    word: str
    alarm: bool = False


def strength_plot(
    curves: Sequence[Response],
    x_title: str,
    y_title: str,
    *,
    marks: Sequence[Mark] = (),
    x_range: tuple[float, float] | None = None,
    level: tuple[float, str] | None = None,
    height: float = 220,
) -> Markup:
    """Draw curves over a strength.

    Parameters
    ----------
    curves
        What is shown.
    x_title, y_title
        Titles of the axes.
    marks
        Upright lines.
    x_range
        Of the horizontal axis; that of the points where it is not given. The vertical one reaches from 0 to 1.
    level
        A horizontal line (value, what it means).
    height
        Of the plot.
    """
    xs = [x for c in curves for x in c.x]
    axes = Axes(x_range or (min(xs, default=0.0), max(xs, default=1.0)), (0.0, 1.0), height=height, top=TOP)
    parts = [axes.frame(x_title, y_title)]
    if level is not None:
        parts.append(level_line(axes, *level, [_points(axes, c) for c in curves]))
    parts += [_band(axes, c) for c in curves]
    parts += [_line(axes, c) for c in curves]
    parts += _marks(axes, marks)
    ends = "; ".join(f"{c.name} from {c.y[0]:.2f} to {c.y[-1]:.2f}" for c in curves if len(c.y))
    told = "; ".join(f"{m.word} at {m.x:.2f}" for m in marks)
    return picture(axes, Markup("").join(parts), f"{y_title} over {x_title}: {ends}. {told}")


def _inside(axes: Axes, value: float) -> float:
    return axes.at_y(min(max(value, axes.y[0]), axes.y[1]))


def _band(axes: Axes, c: Response) -> Markup:
    known = [(x, a, b) for x, a, b in zip(c.x, c.low, c.high, strict=False) if a is not None and b is not None]
    if len(known) < 2:
        return Markup("")
    up = [f"{axes.at_x(x)} {_inside(axes, b)}" for x, _, b in known]
    down = [f"{axes.at_x(x)} {_inside(axes, a)}" for x, a, _ in reversed(known)]
    return Markup('<path class="ribbon c{}" d="M{}Z"/>').format(c.colour, "L".join([*up, *down]))


def _points(axes: Axes, c: Response) -> list[tuple[float, float]]:
    return [(axes.at_x(x), _inside(axes, y)) for x, y in zip(c.x, c.y, strict=True)]


def _line(axes: Axes, c: Response) -> Markup:
    points = _points(axes, c)
    dash = Markup(' stroke-dasharray="5 3"') if c.dashed else ""
    path = "M" + "L".join(f"{x} {y}" for x, y in points)
    parts = [Markup('<path class="line c{}" d="{}"{}/>').format(c.colour, path, dash)]
    dot = Markup('<circle class="dot c{}" cx="{}" cy="{}" r="2.8"><title>{}: {:.3g} at {:.3g}</title></circle>')
    parts += [dot.format(c.colour, px, py, c.name, y, x) for (px, py), x, y in zip(points, c.x, c.y, strict=True)]
    return Markup("").join(parts)


def _marks(axes: Axes, marks: Sequence[Mark]) -> list[Markup]:
    parts = []
    for n, mark in enumerate(sorted(marks, key=lambda m: m.x)):
        x, alarm = axes.at_x(mark.x), " alarm" if mark.alarm else ""
        y = axes.top - 6 - LINE * (len(marks) - 1 - n)
        parts.append(Markup('<path class="upright{}" d="M{} {}V{}"/>').format(alarm, x, y - 8, axes.floor))
        wide = 7.0 * len(mark.word)
        place, anchor = (x + 4, "start") if x + 4 + wide < WIDTH else (x - 4, "end")
        text = Markup('<text class="note{}" x="{}" y="{}" text-anchor="{}">{}</text>')
        parts.append(text.format(alarm, round(place, 2), y, anchor, mark.word))
    return parts
