"""Strips of classes along the slices of cases: what is true above what was predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from striate.core.counted import counted
from striate.reporting.figures.axes import WIDTH, Axes, picture
from striate.reporting.figures.rows import row_name, told_apart

ROW, BAR = 34, 11
LONGEST = 14


@dataclass(frozen=True, slots=True)
class Strip:
    """One case: its slices in order, with the colours (1 to 8) of the true and the predicted class; None where unknown."""

    name: str
    slices: Sequence[int]
    truth: Sequence[int | None]
    predicted: Sequence[int | None]


def strip_plot(strips: Sequence[Strip], classes: Mapping[int, str]) -> Markup:
    """Draw two bars per case over its slices; a colour is a class, the eighth the quiet one.

    Parameters
    ----------
    strips
        From top to bottom.
    classes
        Colour → name, for the text that a pointer brings up.
    """
    left = 14 + 6.2 * min(max(len(s.name) for s in strips), LONGEST)
    last = max(max(s.slices) for s in strips) + 1
    axes = Axes((0, last), (0, 1), height=46 + ROW * len(strips), left=left, bottom=34, top=14)
    parts = [axes.frame("slice", "", rows=False, whole=True)]
    shown = told_apart([s.name for s in strips], LONGEST)
    for n, strip in enumerate(strips):
        top = axes.top + ROW * n
        parts.append(row_name(strip.name, left - 8, top + BAR + 1, shown[n]))
        for shift, said, what in ((2, strip.truth, "true"), (3 + BAR, strip.predicted, "predicted")):
            parts.extend(_bar(axes, top + shift, strip.slices, said, classes, what))
    told = "; ".join(f"{s.name} {_agree(s)}" for s in strips)
    return picture(axes, Markup("").join(parts), f"Classes along the slices, truth above prediction. {told}.")


def _bar(
    axes: Axes, y: float, slices: Sequence[int], said: Sequence[int | None], classes: Mapping[int, str], what: str
) -> list[Markup]:
    parts = []
    pairs = list(zip(slices, said, strict=True))
    for number, run in groupby(pairs, key=lambda pair: pair[1]):
        places = [place for place, _ in run]
        if number is None:
            continue
        start, stop = axes.at_x(places[0]), axes.at_x(places[-1] + 1)
        told = f"{what} {classes[number]}: slices {places[0]} to {places[-1]}"
        parts.append(
            Markup('<rect class="stripe c{}" x="{}" y="{}" width="{:.2f}" height="{}"><title>{}</title></rect>').format(
                number, start, y, max(0.4, min(stop, WIDTH) - start), BAR, told
            )
        )
    return parts


def _agree(strip: Strip) -> str:
    known = [(t, p) for t, p in zip(strip.truth, strip.predicted, strict=True) if t is not None]
    return f"{sum(t == p for t, p in known)} of {counted(len(known), 'slice')} right"
