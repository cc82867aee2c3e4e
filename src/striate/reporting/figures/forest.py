"""A forest plot: groups of each column one below the other, a dot with its interval, the mean of all as an upright line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from striate.reporting.figures.axes import WIDTH, Axes, around, picture
from striate.reporting.figures.rows import row_name, told_apart

ROW, HEAD = 17.0, 24.0
LEFT, RIGHT = 132.0, 44.0
LONGEST = 17


@dataclass(frozen=True, slots=True)
class Stem:
    """One group: its name, mean, interval (None: unknown), number of subjects, and whether these are few."""

    name: str
    mean: float
    low: float | None
    high: float | None
    n: int
    few: bool = False


@dataclass(frozen=True, slots=True)
class Bunch:
    """The groups of one column; `note` stands beside its name, `alarm` draws them in red."""

    name: str
    note: str
    stems: Sequence[Stem]
    alarm: bool = False


def forest_plot(bunches: Sequence[Bunch], title: str, whole: float | None) -> Markup:
    """Draw the groups of all columns over one axis.

    Parameters
    ----------
    bunches
        Columns with their groups.
    title
        What the values are, none above 1.
    whole
        Mean of everybody.
    """
    found = [v for b in bunches for s in b.stems for v in (s.mean, s.low, s.high) if v is not None]
    low, high = around([*found, *([whole] if whole is not None else [])])
    height = 52 + sum(HEAD + ROW * len(b.stems) for b in bunches)
    axes = Axes((low, min(high, 1.0)), (0, 1), height=height, left=LEFT, right=RIGHT, top=18, bottom=34)
    parts = [axes.frame(title, "", rows=False, x_about=4)]
    if whole is not None:
        x = axes.at_x(whole)
        parts.append(Markup('<path class="mark" d="M{} {}V{}"/>').format(x, axes.top, axes.floor))
    parts.append(Markup('<text class="note" x="{}" y="12" text-anchor="end">n</text>').format(WIDTH))
    y = axes.top + 2
    for bunch in bunches:
        y += HEAD
        head = Markup('<text class="title" x="0" y="{}">{}<tspan class="told{}" dx="8">{}</tspan></text>')
        parts.append(head.format(round(y - 7, 2), bunch.name, " alarm" if bunch.alarm else "", bunch.note))
        shown = told_apart([stem.name for stem in bunch.stems], LONGEST)
        for stem, name in zip(bunch.stems, shown, strict=True):
            parts.append(_stem(axes, stem, name, round(y + ROW / 2 - 2, 2), alarm=bunch.alarm))
            y += ROW
    told = "; ".join(f"{b.name}: " + ", ".join(f"{s.name} {s.mean:.2f}" for s in b.stems) for b in bunches)
    return picture(axes, Markup("").join(parts), f"{title} by group. {told}.")


def _stem(axes: Axes, stem: Stem, name: str, y: float, *, alarm: bool) -> Markup:
    colour = "alarm" if alarm else "c8" if stem.few else "c7"
    parts = [row_name(stem.name, LEFT - 12, y, name)]
    if stem.low is not None and stem.high is not None:
        ends = axes.at_x(max(stem.low, axes.x[0])), axes.at_x(min(stem.high, axes.x[1]))
        parts.append(Markup('<path class="whisker {}" d="M{} {}H{}"/>').format(colour, ends[0], y, ends[1]))
    dot = Markup('<circle class="dot {}" cx="{}" cy="{}" r="3.6"><title>{}: {:.3f}, n = {}</title></circle>')
    parts.append(dot.format(colour, axes.at_x(stem.mean), y, stem.name, stem.mean, stem.n))
    parts.append(Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(WIDTH, y + 4, stem.n))
    return Markup("").join(parts)
