"""What is won against what is lost: points of two measures from 0 to 1, joined in their order, one of them marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from striate.reporting.figures.axes import Axes, around, picture
from striate.reporting.figures.names import names_beside

NARROWEST = 0.05
"""Least range of an axis: what differs by less is shown as near as it is."""


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
    axes = Axes(_wide(xs), _wide([p.y for p in places]), height=height, left=48, right=24)
    parts = [axes.frame(x_title, y_title)]
    spots = [(p, axes.at_x(p.x), axes.at_y(p.y)) for p in places]
    taken = [(x - 2, y - 2, x + 2, y + 2) for x, y in _along([(x, y) for _, x, y in spots])]
    if least_x is not None:
        limit, x = Markup('<path class="mark" d="M{} {}V{}"><title>{}</title></path>'), axes.at_x(least_x)
        parts.append(limit.format(x, axes.top, axes.floor, f"least allowed: {least_x:.3f}"))
        taken.append((x - 2, axes.top, x + 2, axes.floor))
    parts.append(Markup('<path class="line c1 faint" d="M{}"/>').format("L".join(f"{x} {y}" for _, x, y in spots)))
    dot = Markup('<circle class="dot c{}" cx="{}" cy="{}" r="{}" tabindex="-1"><title>{}</title></circle>')
    for p, x, y in spots:
        parts.append(dot.format(2 if p.marked else 1, x, y, 6 if p.marked else 4, f"{p.name}: {p.x:.3f}, {p.y:.3f}"))
    parts += names_beside([(p.name, x, y) for p, x, y in spots], axes, taken)
    told = "; ".join(f"{p.name} {p.x:.3f}, {p.y:.3f}" for p in places)
    return picture(axes, Markup("").join(parts), f"{y_title} over {x_title}: {told}.")


def _wide(values: list[float]) -> tuple[float, float]:
    """Return a range around all `values`, of `NARROWEST` at least; no tick lies below 0 or above 1."""
    low, high = around(values, share=0.12)
    missing = max(0.0, NARROWEST - (high - low)) / 2
    return max(low - missing, -0.004), min(high + missing, 1.004)


def _along(spots: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return places a few units apart on the line through `spots`, from 10 units beside each."""
    found = list[tuple[float, float]]()
    for (x0, y0), (x1, y1) in pairwise(spots):
        far = math.hypot(x1 - x0, y1 - y0)
        found += [(x0 + (x1 - x0) * n / far, y0 + (y1 - y0) * n / far) for n in range(10, int(far) - 9, 4)]
    return found
