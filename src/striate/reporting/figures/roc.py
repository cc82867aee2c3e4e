"""The receiver operating characteristic: one line per class, and where its decisions lie on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from striate.reporting.figures.axes import WIDTH, Axes, picture

LEFT, RIGHT, TOP, BOTTOM = 44, 10, 24, 36
SQUARE = Axes(
    (0, 1), (0, 1), height=WIDTH - LEFT - RIGHT + TOP + BOTTOM, left=LEFT, right=RIGHT, top=TOP, bottom=BOTTOM
)
"""Axes from 0 to 1 whose plotting area is square."""


@dataclass(frozen=True, slots=True)
class RocCurve:
    """One class against the rest.

    Attributes
    ----------
    name
        Of the class.
    points
        (false positive rate, true positive rate) from (0, 0) to (1, 1).
    colour
        1 to 8.
    decision
        (1 − specificity, sensitivity) of the decisions that were made; None where unknown.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 1
    decision: tuple[float, float] | None = None


def roc_plot(curves: Sequence[RocCurve]) -> Markup:
    """Draw sensitivity over 1 − specificity, with the diagonal of a guess."""
    parts = [SQUARE.frame("1 − specificity", "Sensitivity")]
    parts.append(
        Markup('<path class="mark" d="M{} {}L{} {}"/>').format(
            SQUARE.at_x(0), SQUARE.at_y(0), SQUARE.at_x(1), SQUARE.at_y(1)
        )
    )
    for curve in curves:
        path = "M" + "L".join(f"{SQUARE.at_x(x)} {SQUARE.at_y(y)}" for x, y in curve.points)
        parts.append(
            Markup('<path class="line c{}" d="{}"><title>{}</title></path>').format(curve.colour, path, curve.name)
        )
    for curve in curves:
        if curve.decision is not None:
            x, y = curve.decision
            told = f"{curve.name}: sensitivity {y:.3f}, specificity {1 - x:.3f}"
            parts.append(
                Markup('<circle class="dot c{}" cx="{}" cy="{}" r="4"><title>{}</title></circle>').format(
                    curve.colour, SQUARE.at_x(x), SQUARE.at_y(y), told
                )
            )
    names = ", ".join(curve.name for curve in curves)
    return picture(SQUARE, Markup("").join(parts), f"Sensitivity over 1 − specificity of {names or 'no class'}.")
