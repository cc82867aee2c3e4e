"""Dot plots: every case is a dot, the mean and its interval lie beneath."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from striate.core.counted import counted
from striate.reporting.figures.axes import Axes, around, picture
from striate.reporting.figures.rows import room, row_name, told_apart

ROW = 34
DOT = 6.0
"""Width of a dot that others keep from."""


@dataclass(frozen=True, slots=True)
class Row:
    """One label or region: the values of its cases, the mean and the interval where they are known."""

    name: str
    values: list[tuple[str, float]]
    mean: float | None = None
    low: float | None = None
    high: float | None = None


def dot_plot(rows: list[Row], title: str, *, x_range: tuple[float, float] | None = None, zero: bool = False) -> Markup:
    """Draw one row of dots per label.

    Parameters
    ----------
    rows
        What is shown, from top to bottom.
    title
        Measure with its unit.
    x_range
        Range of the horizontal axis; that of the data where it is not given.
    zero
        The horizontal axis starts at 0.
    """
    found = [v for r in rows for v in [*(value for _, value in r.values), r.low, r.high, r.mean] if v is not None]
    left = room([r.name for r in rows])
    axes = Axes(
        x_range or around(found, zero=zero), (0, 1), height=46 + ROW * len(rows), left=left, right=14, bottom=22
    )
    parts = [axes.frame("", title, rows=False)]
    shown = told_apart([r.name for r in rows])
    for n, row in enumerate(rows):
        y = axes.top + ROW * (n + 0.5)
        parts.append(row_name(row.name, left - 10, y, shown[n]))
        if row.low is not None and row.high is not None:
            parts.append(
                Markup('<rect class="band" x="{0}" y="{1}" width="{2}" height="14"/>').format(
                    axes.at_x(row.low), y - 7, round(max(1.0, axes.at_x(row.high) - axes.at_x(row.low)), 2)
                )
            )
        parts.extend(
            Markup(
                '<circle class="dot c{}" cx="{}" cy="{}" r="3.6" tabindex="-1"><title>{}: {:.4g}</title></circle>'
            ).format(n % 8 + 1, axes.at_x(value), y + shift, case, value)
            for (case, value), shift in zip(row.values, _shifts([axes.at_x(v) for _, v in row.values]), strict=True)
        )
        if row.mean is not None:
            parts.append(Markup('<path class="mean" d="M{} {}v20"/>').format(axes.at_x(row.mean), y - 10))
    told = "; ".join(
        f"{r.name} mean {r.mean:.3g} over {counted(len(r.values), 'case')}" for r in rows if r.mean is not None
    )
    return picture(axes, Markup("").join(parts), f"{title} of each case. {told}.")


def _shifts(places: list[float]) -> list[float]:
    """Return vertical shifts so that dots that would cover each other lie beside each other."""
    shifts: list[float] = []
    options = [0.0, -DOT, DOT, -2 * DOT, 2 * DOT]
    for n, place in enumerate(places):
        near = [shifts[m] for m in range(n) if abs(places[m] - place) < DOT]
        shifts.append(next((o for o in options if o not in near), options[len(near) % len(options)]))
    return shifts
