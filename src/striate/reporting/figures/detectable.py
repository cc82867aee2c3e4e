"""Changes with their intervals over the band of what is not distinguishable from noise: one row per subject or label."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from striate.reporting.figures.axes import Axes, around, picture
from striate.reporting.figures.rows import Rows
from striate.reporting.numbers import fixed, interval

ROW = 22.0


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One change.

    Attributes
    ----------
    name
        Of the subject or the label.
    value, low, high
        The change and its interval; the ends are None where no interval is known.
    smallest
        Smallest change that is distinguishable from noise, up or down; None where it is not known.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    smallest: float | None = None

    @property
    def hollow(self) -> bool:
        """Whether the change is within noise, or noise is not known."""
        return self.smallest is None or abs(self.value) < self.smallest


def change_plot(rows: list[ChangeRow], title: str) -> Markup:
    """Draw one row per change from top to bottom; a dot is full where the change lies beyond its grey band of noise.

    Parameters
    ----------
    rows
        What is shown.
    title
        What the values are, with their unit.
    """
    known = [v for r in rows for v in (r.value, r.low, r.high, r.smallest, -(r.smallest or 0.0)) if v is not None]
    place = Rows.over(around([0.0, *known]), [r.name for r in rows], ROW)
    axes, height = place.axes, place.height
    parts = [place.frame(title)]
    parts += [_row(axes, row, place.middle(n), height) for n, row in enumerate(rows)]
    parts.append(Markup('<path class="upright" d="M{} {}V{}"/>').format(axes.at_x(0), axes.top, axes.floor))
    parts += [_dot(axes, row, place.middle(n), height) for n, row in enumerate(rows)]
    beyond = sum(not row.hollow for row in rows)
    return picture(axes, Markup("").join(parts), f"{title}: {len(rows)} shown, {beyond} beyond noise.")


def _row(axes: Axes, row: ChangeRow, y: float, height: float) -> Markup:
    parts = []
    if row.smallest is not None:
        start, stop, half = axes.at_x(-row.smallest), axes.at_x(row.smallest), round(0.36 * height, 2)
        band = Markup('<path class="band" d="M{} {}H{}v{}H{}z"/>')
        parts.append(band.format(start, y - half, stop, 2 * half, start))
    if row.low is not None and row.high is not None:
        whisker = Markup('<path class="whisker c7" d="M{} {}H{}"/>')
        parts.append(whisker.format(axes.at_x(row.low), y, axes.at_x(row.high)))
    return Markup("").join(parts)


def _dot(axes: Axes, row: ChangeRow, y: float, height: float) -> Markup:
    noise = "" if row.smallest is None else f"noise up to {fixed(row.smallest, 3)}"
    told = ", ".join(filter(None, [f"{row.name}: {fixed(row.value, 3)}", interval(row.low, row.high, 3), noise]))
    hollow, radius = " hollow" if row.hollow else "", round(min(3.6, max(1.2, height / 2.4)), 2)
    circle = Markup('<circle class="dot{} c7" cx="{}" cy="{}" r="{}"><title>{}</title></circle>')
    return circle.format(hollow, axes.at_x(row.value), y, radius, told)
