"""The free-response characteristic: sensitivity over false positives per scan, with its band and the mask's own point."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from striate.reporting.figures.axes import Axes, picture
from striate.reporting.numbers import fixed

FROM, TO = -3, 3
"""Powers of two at the ends of the horizontal axis: 1/8 to 8 false positives per scan."""
POINTS: dict[float, str] = dict(zip(range(FROM, TO + 1), ("⅛", "¼", "½", "1", "2", "4", "8"), strict=True))
"""Power of two → false positives per scan, as they are written."""

Rate = tuple[float, float]
"""False positives per scan, sensitivity."""


def froc_plot(
    name: str, curve: Sequence[Rate], band: Sequence[tuple[float, float, float]], mask: Rate, end: float = math.inf
) -> Markup:
    """Draw one detector.

    Parameters
    ----------
    name
        Of the label.
    curve
        Its points, rising; between two of them the first one holds.
    band
        (false positives per scan, low, high) of the interval; empty where none is drawn.
    mask
        The masks as they are; where they lie beyond the ends of the axis, they are marked at its end,
        with the number.
    end
        False positives per scan of all candidates; from there on the curve is dashed.
    """
    axes = Axes((FROM, TO), (0, 1), height=260)
    parts = [axes.frame("False positives per scan", "Sensitivity", x_labels=POINTS)]
    if band:
        up, down = _stairs(axes, [(x, high) for x, _, high in band]), _stairs(axes, [(x, low) for x, low, _ in band])
        parts.append(Markup('<path class="ribbon c7" d="M{}Z"/>').format("L".join([*up, *reversed(down)])))
    last = next((n for n, (x, _) in enumerate(curve) if x >= end), len(curve) - 1)
    if curve[last:-1]:
        rest = "L".join(_stairs(axes, curve[last:]))
        parts.append(Markup('<path class="line c7" stroke-dasharray="3 4" d="M{}"/>').format(rest))
    parts.append(Markup('<path class="line c7" d="M{}"/>').format("L".join(_stairs(axes, curve[: last + 1]))))
    parts.append(_mark(axes, mask))
    ends = f"{curve[0][1]:.2f} at {curve[0][0]:g} to {curve[-1][1]:.2f} at {curve[-1][0]:g}" if curve else "nothing"
    return picture(axes, Markup("").join(parts), f"Sensitivity for {name} over false positives per scan: {ends}.")


def _mark(axes: Axes, mask: Rate) -> Markup:
    """Mark the masks as they are, named below the dot, where no curve that passes through it can be."""
    shown = min(max(mask[0], 2.0**FROM), 2.0**TO)
    per_scan = f"{mask[0]:.3g}" if mask[0] < 100 else fixed(mask[0], 0)
    x, name = axes.at_x(math.log2(shown)), "the masks" if shown == mask[0] else f"the masks, at {per_scan} per scan"
    y, right = axes.at_y(mask[1]), axes.at_x(TO)
    alarms = "false positive" if per_scan == "1" else "false positives"
    told = f"the masks: sensitivity {mask[1]:.3f} at {per_scan} {alarms} per scan"
    beside, anchor = (x + 7, "start") if x + 7 + 6 * len(name) < right else (right, "end")
    up = y + 15 > axes.floor
    return Markup(
        '<circle class="dot c6" cx="{}" cy="{}" r="4.5"><title>{}</title></circle><text class="told" x="{}" y="{}"'
        ' text-anchor="{}">{}</text>'
    ).format(x, y, told, beside, y - 7 if up else y + 14, anchor, name)


def _stairs(axes: Axes, points: Sequence[Rate]) -> list[str]:
    """Return the corners of a staircase: each height holds until the next point."""
    corners, before = [], None
    for x, y in points:
        place = axes.at_x(math.log2(x))
        if before is not None:
            corners.append(f"{place} {axes.at_y(before)}")
        corners.append(f"{place} {axes.at_y(y)}")
        before = y
    return corners
