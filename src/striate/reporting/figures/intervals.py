"""Values with their intervals: one row per case, a dot with a whisker, a stroke where the truth is known."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from striate.core.counted import counted
from striate.reporting.figures.axes import Axes, around, picture
from striate.reporting.figures.rows import Rows
from striate.reporting.numbers import interval

ROW = 16.0


@dataclass(frozen=True, slots=True)
class Interval:
    """One case.

    Attributes
    ----------
    name
        Of the case.
    value, low, high
        What was estimated; the ends are None where no interval is known.
    true
        The truth; None where it is not known.
    alarm
        Whether it stands out in red.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    true: float | None = None
    alarm: bool = False

    @property
    def holds(self) -> bool | None:
        """Whether the interval holds the truth; None where one of the two is not known."""
        if self.low is None or self.high is None or self.true is None:
            return None
        return self.low <= self.true <= self.high


def interval_plot(rows: list[Interval], title: str) -> Markup:
    """Draw one row per case from top to bottom; the horizontal axis starts at 0.

    Parameters
    ----------
    rows
        What is shown.
    title
        What the values are, with their unit.
    """
    found = [v for r in rows for v in (r.value, r.low, r.high, r.true) if v is not None]
    place = Rows.over(around(found, zero=True), [r.name for r in rows], ROW)
    parts = [place.frame(title)]
    parts += [_row(place.axes, row, place.middle(n), place.height) for n, row in enumerate(rows)]
    known = [r for r in rows if r.low is not None]
    return picture(
        place.axes, Markup("").join(parts), f"{title} of {counted(len(rows), 'case')}, {len(known)} with an interval."
    )


def _row(axes: Axes, row: Interval, y: float, height: float) -> Markup:
    colour = "alarm" if row.alarm else "c7"
    parts = []
    if row.low is not None and row.high is not None:
        whisker = Markup('<path class="whisker {}" d="M{} {}H{}"/>')
        parts.append(whisker.format(colour, axes.at_x(row.low), y, axes.at_x(row.high)))
    if row.true is not None:
        size = min(5.0, height / 2)
        parts.append(Markup('<path class="mean" d="M{} {}v{}"/>').format(axes.at_x(row.true), y - size, 2 * size))
    told = [
        f"{row.name}: {row.value:.4g}",
        interval(row.low, row.high),
        "" if row.true is None else f"truth {row.true:.4g}",
    ]
    parts.append(
        Markup('<circle class="dot {}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(
            colour, axes.at_x(row.value), y, round(min(3.4, max(1.2, height / 2.4)), 2), ", ".join(filter(None, told))
        )
    )
    return Markup("").join(parts)
