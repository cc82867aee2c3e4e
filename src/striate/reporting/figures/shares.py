"""One bar divided into shares of a whole: where time, or anything that adds up, goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from striate.reporting.figures.axes import Axes, picture

BAR = 30
QUIET = 8
"""Colour of what needs no attention."""
BRIGHT = (1, 2, 5, 6)
"""Colours on which white would be hard to read."""
LETTER = 6.6
"""Width of a letter, about: a share has its per cent in it where there is room for it."""


@dataclass(frozen=True, slots=True)
class Share:
    """One part: its name, its size in any unit, and the number of its colour (1 to 8, the eighth the quiet one)."""

    name: str
    size: float
    colour: int


def percent(size: float, whole: float) -> str:
    """Write a share in per cent with the digits that it needs: < 0.1 %, 3.1 %, 48 %."""
    value = 100 * size / whole if whole else 0.0
    if 0 < value < 0.1:
        return "<\u00a00.1\u00a0%"
    return f"{value:.{0 if value == 0 or value >= 9.95 else 1}f}\u00a0%"


def share_bar(shares: Sequence[Share], title: str) -> Markup:
    """Draw one horizontal bar from 0 to 100 %; a share that is wide enough has its per cent in it, each where one points.

    Parameters
    ----------
    shares
        From left to right; together they are the whole.
    title
        What the whole is.
    """
    whole = sum(s.size for s in shares)
    axes = Axes((0, 100), (0, 1), height=46 + BAR, left=4, right=14, top=20, bottom=22)
    parts = [axes.frame("", title, rows=False)]
    left = axes.left
    for n, one in enumerate(shares):
        right = axes.at_x(100 * sum(s.size for s in shares[: n + 1]) / whole if whole else 0.0)
        if right > left:
            parts.append(_part(one, left, right - left, axes.top + 4, percent(one.size, whole)))
        left = right
    described = "; ".join(f"{s.name} {percent(s.size, whole)}" for s in shares)
    return picture(axes, Markup("").join(parts), f"{title}: {described or 'nothing'}.")


def _part(one: Share, x: float, width: float, y: float, told: str) -> Markup:
    bar = Markup(
        '<rect class="stripe c{}" x="{}" y="{}" width="{:.2f}" height="{}"><title>{}: {}</title></rect>'
    ).format(one.colour, x, y, width, BAR, one.name, told)
    if width < LETTER * len(told):
        return bar
    style = "in" if one.colour == QUIET else "in dark" if one.colour in BRIGHT else "in light"
    text = Markup('<text class="{}" x="{:.1f}" y="{}" text-anchor="middle">{}</text>')
    return bar + text.format(style, x + width / 2, y + BAR / 2 + 4, told)
