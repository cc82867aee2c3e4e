"""What is won against what is lost: points of two measures of one kind, joined in their order, one of them marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from striate.reporting.figures.axes import WIDTH, Axes, around, picture

CHARACTER = 6.1
"""Width of one character of a name beside a point."""


@dataclass(frozen=True, slots=True)
class Place:
    """A named point; the `marked` one is what was taken."""

    name: str
    x: float
    y: float
    marked: bool = False


def trade_plot(
    places: Sequence[Place], x_title: str, y_title: str, *, least_x: float | None = None, height: float = 300
) -> Markup:
    """Draw the points and the line through them.

    Parameters
    ----------
    places
        In the order of the line.
    x_title, y_title
        Titles of the axes.
    least_x
        Below it a point may not lie; a dashed line shows it.
    height
        Of the plot.
    """
    xs = [p.x for p in places] + ([] if least_x is None else [least_x])
    axes = Axes(around(xs, share=0.12), around([p.y for p in places], share=0.12), height=height, left=48)
    parts = [axes.frame(x_title, y_title)]
    if least_x is not None:
        limit = Markup('<path class="mark" d="M{} {}V{}"><title>{}</title></path>')
        parts.append(limit.format(axes.at_x(least_x), axes.top, axes.floor, f"least allowed: {least_x:.3f}"))
    spots = [(p, axes.at_x(p.x), axes.at_y(p.y)) for p in places]
    parts.append(Markup('<path class="line c1 faint" d="M{}"/>').format("L".join(f"{x} {y}" for _, x, y in spots)))
    used: list[tuple[float, float]] = []
    for p, x, y in spots:
        dot = Markup('<circle class="dot c{}" cx="{}" cy="{}" r="{}" tabindex="-1"><title>{}</title></circle>')
        parts.append(dot.format(2 if p.marked else 1, x, y, 6 if p.marked else 4, f"{p.name}: {p.x:.3f}, {p.y:.3f}"))
        wide = CHARACTER * len(p.name)
        left, base = x + 9 if x + 9 + wide < WIDTH else x - 9 - wide, y + 4
        while any(abs(left - a) < wide + 4 and abs(base - b) < 12 for a, b in used):
            base -= 12
        used.append((left, base))
        parts.append(Markup('<text class="in" x="{}" y="{}">{}</text>').format(round(left, 2), round(base, 2), p.name))
    told = "; ".join(f"{p.name} {p.x:.3f}, {p.y:.3f}" for p in places)
    return picture(axes, Markup("").join(parts), f"{y_title} over {x_title}: {told}.")
