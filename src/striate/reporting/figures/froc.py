"""The free-response characteristic: sensitivity over false positives per scan, with its band and the mask's own point."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from striate.reporting.figures.axes import Axes, picture

FROM, TO = -3, 3
"""Powers of two at the ends of the horizontal axis: 1/8 to 8 false positives per scan."""
POINTS: dict[float, str] = dict(zip(range(FROM, TO + 1), ("⅛", "¼", "½", "1", "2", "4", "8"), strict=True))
"""Power of two → false positives per scan, as they are written."""

Rate = tuple[float, float]
"""False positives per scan, sensitivity."""


def froc_plot(name: str, curve: Sequence[Rate], band: Sequence[tuple[float, float, float]], mask: Rate) -> Markup:
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
        The masks as they are.
    """
    axes = Axes((FROM, TO), (0, 1), height=260)
    parts = [axes.frame("False positives per scan", "Sensitivity", x_labels=POINTS)]
    if band:
        up, down = _stairs(axes, [(x, high) for x, _, high in band]), _stairs(axes, [(x, low) for x, low, _ in band])
        parts.append(Markup('<path class="ribbon c7" d="M{}Z"/>').format("L".join([*up, *reversed(down)])))
    parts.append(Markup('<path class="line c7" d="M{}"/>').format("L".join(_stairs(axes, curve))))
    if 2**FROM <= mask[0] <= 2**TO:
        told = f"the masks: sensitivity {mask[1]:.3f} at {mask[0]:.3g} false positives per scan"
        dot = Markup('<circle class="dot c7" cx="{}" cy="{}" r="4"><title>{}</title></circle>')
        parts.append(dot.format(axes.at_x(math.log2(mask[0])), axes.at_y(mask[1]), told))
    ends = f"{curve[0][1]:.2f} at {curve[0][0]:g} to {curve[-1][1]:.2f} at {curve[-1][0]:g}" if curve else "nothing"
    return picture(axes, Markup("").join(parts), f"Sensitivity for {name} over false positives per scan: {ends}.")


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
