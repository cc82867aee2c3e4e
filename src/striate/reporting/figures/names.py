"""Names beside the points of a plot, each where nothing else stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from striate.reporting.figures.axes import WIDTH, Axes

CHARACTER = 6.1
"""Width of one character of a name beside a point."""
LINE = 12.0

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def names_beside(places: Sequence[tuple[str, float, float]], axes: Axes, taken: Iterable[Box] = ()) -> list[Markup]:
    """Write each name right or left of its point, else above, below, or not at all.

    Parameters
    ----------
    places
        Name of each point, and where it lies on the plot.
    axes
        Of the plot; a name lies within them.
    taken
        What is drawn besides the points, and must not be written over.
    """
    boxes = [*((x - 5, y - 5, x + 5, y + 5) for _, x, y in places), *taken]
    parts = []
    for name, x, y in sorted(places, key=lambda place: place[2]):
        wide = CHARACTER * len(name)
        for left, base in (
            (x + 8, y + 4), (x - 8 - wide, y + 4), (x + 6, y - 7), (x + 6, y + 14), (x - 6 - wide, y - 7),
            (x - 6 - wide, y + 14), (x + 6, y - 19), (x + 6, y + 26), (x - 6 - wide, y - 19), (x - 6 - wide, y + 26),
        ):  # fmt: skip
            box = (left, base - LINE + 3, left + wide, base + 3)
            inside = left >= axes.left and box[2] <= WIDTH - 2 and box[1] >= 14 and box[3] <= axes.floor
            if inside and all(_apart(box, other) for other in boxes):
                boxes.append(box)
                place, anchor = (left, "start") if left > x else (left + wide, "end")
                text = Markup('<text class="in" x="{}" y="{}" text-anchor="{}">{}</text>')
                parts.append(text.format(round(place, 2), round(base, 2), anchor, name))
                break
    return parts


def _apart(one: Box, other: Box) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
