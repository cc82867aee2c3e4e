"""Rows of a plot from top to bottom, each with its name beside it while there is room for names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from striate.reporting.figures.axes import Axes

NAMED = 40
"""Rows up to which each has its name and its full height; more share the height of so many."""
LONGEST = 18
"""Letters of a name that are shown."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows over one horizontal axis.

    Attributes
    ----------
    axes
        Where they lie.
    names
        One per row, from top to bottom.
    height
        Of a row.
    """

    axes: Axes
    names: Sequence[str]
    height: float

    @classmethod
    def over(cls, x: tuple[float, float], names: Sequence[str], height: float) -> Rows:
        """Return rows of at most `height` each over the range `x`."""
        few = len(names) <= NAMED
        height = height if few else height * NAMED / len(names)
        axes = Axes(x, (0, 1), height=46 + height * len(names), left=room(names) if few else 14, right=14, bottom=22)
        return cls(axes, names, height)

    def middle(self, number: int) -> float:
        """Return the vertical place of a row."""
        return round(self.axes.top + self.height * (number + 0.5), 2)

    def frame(self, title: str) -> Markup:
        """Draw the axis, its title, and the names."""
        parts = [self.axes.frame("", title, rows=False)]
        if len(self.names) <= NAMED:
            x = self.axes.left - 10
            shown = told_apart(self.names)
            parts += [row_name(name, x, self.middle(n), shown[n]) for n, name in enumerate(self.names)]
        return Markup("").join(parts)


def room(names: Sequence[str]) -> float:
    """Return the left margin that the longest of `names` needs."""
    return 14 + 6.2 * min(max(map(len, names), default=4), LONGEST)


def told_apart(names: Sequence[str], longest: int = LONGEST) -> list[str]:
    """Return `names` in at most `longest` letters: cut at their ends or, those that would look alike, where they begin alike."""
    twins: dict[str, set[str]] = {}
    for name in names:
        twins.setdefault(_cut(name, longest), set()).add(name)
    begin = {end: _alike(min(alike), max(alike)) for end, alike in twins.items() if len(alike) > 1}
    ends = [(name, _cut(name, longest)) for name in names]
    return [_cut(f"…{name[begin[end] :]}", longest) if end in begin else end for name, end in ends]


def _alike(one: str, other: str) -> int:
    """Return how many letters two different names begin with alike."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _cut(name: str, longest: int) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"


def row_name(name: str, x: float, y: float, shown: str) -> Markup:
    """Write `shown` so that it ends at `x` and is centred on `y`; the whole name where one points."""
    text = Markup('<text x="{}" y="{}" text-anchor="end"><title>{}</title>{}</text>')
    return text.format(x, y + 4, name, shown)
