"""The confusion matrix: a cell's shade is its share of the row, so that a full diagonal is dark whatever the classes' sizes."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from striate.core.counted import counted
from striate.reporting.figures.axes import WIDTH, Axes, picture
from striate.reporting.figures.rows import told_apart

LARGEST = 84.0
"""Of a cell, in the plot's units."""
LETTER = 5.9
"""Width of a letter, in the plot's units."""
LONGEST = 16
"""Letters of a name that are shown."""
DARK = 0.55
"""Share from which on the text of a cell is light."""


def confusion_matrix(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Markup:
    """Draw how many of each true class (rows) were called what (columns), with the share of the row.

    Parameters
    ----------
    classes
        K names.
    counts
        (K, K) samples: rows truth, columns predicted.
    """
    longest = min(max(len(name) for name in classes), LONGEST)
    left = 26 + LETTER * longest
    size = min(LARGEST, (WIDTH - left - 4) / len(classes))
    turned = any(LETTER * min(len(name), LONGEST) > size - 6 for name in classes)
    if turned:
        size = min(LARGEST, (WIDTH - left - 0.67 * LETTER * longest) / len(classes))
    top = 22 + (10 + 0.75 * LETTER * longest if turned else 16)
    axes = Axes((0, 1), (0, 1), height=top + size * len(classes) + 8, left=left, top=top)
    middle = left + size * len(classes) / 2
    parts = [
        Markup('<text class="title" x="{:.1f}" y="11" text-anchor="middle">predicted</text>').format(middle),
        Markup(
            '<text class="title" transform="translate(11 {:.1f}) rotate(-90)" text-anchor="middle">truth</text>'
        ).format(top + size * len(classes) / 2),
    ]
    for n, (name, short) in enumerate(zip(classes, told_apart(classes, LONGEST), strict=True)):
        parts.append(_name(name, short, left - 7, top + size * (n + 0.5) + 4, "end"))
        at = left + size * (n + 0.5)
        parts.append(_turned(name, short, at, top - 6) if turned else _name(name, short, at, top - 7, "middle"))
    for n, row in enumerate(counts):
        total = sum(row)
        for m, count in enumerate(row):
            told = f"{classes[n]} called {classes[m]}: {count} of {total}"
            parts.append(_cell(left + size * m, top + size * n, size, count, total, told))
    right = sum(row[n] for n, row in enumerate(counts))
    samples = counted(sum(map(sum, counts)), "sample")
    told = f"Confusion matrix of {len(classes)} classes: {right} of {samples} on the diagonal."
    return picture(axes, Markup("").join(parts), told)


def _cell(x: float, y: float, size: float, count: int, total: int, told: str) -> Markup:
    share = count / total if total else 0.0
    shade = Markup(
        '<rect class="cell" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" fill-opacity="{:.3f}"><title>{}</title></rect>'
    ).format(x + 0.5, y + 0.5, size - 1, size - 1, 0.04 + 0.92 * share, told)
    if LETTER * len(str(count)) > size - 3 or size < 13:
        return shade
    place, style = x + size / 2, "in light" if share > DARK else "in"
    if size < 34 or not total:
        return shade + _text(place, y + size / 2 + 4, style, str(count))
    lines = _text(place, y + size / 2, style, str(count))
    return shade + lines + _text(place, y + size / 2 + 13, f"{style} small", f"{100 * share:.0f} %")


def _text(x: float, y: float, style: str, text: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(style, x, y, text)


def _name(name: str, short: str, x: float, y: float, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}"><title>{}</title>{}</text>').format(
        x, y, anchor, name, short
    )


def _turned(name: str, short: str, x: float, y: float) -> Markup:
    place = Markup("translate({:.1f} {:.1f}) rotate(-48)").format(x, y)
    return Markup('<text transform="{}"><title>{}</title>{}</text>').format(place, name, short)
