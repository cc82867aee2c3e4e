"""The risk-coverage curve: what is left of the error when the most doubtful cases go to a person first.

El-Yaniv and Wiener, JMLR 11:1605 (2010). The risk at a coverage c is the mean error of the share c of cases that the
model is surest of.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from markupsafe import Markup

from striate.reporting.figures.axes import WIDTH, Axes, around, picture


def risk_coverage(errors: Sequence[float], doubts: Sequence[float]) -> list[tuple[float, float]]:
    """Return (coverage, risk) for each number of cases kept, the surest first.

    Parameters
    ----------
    errors
        (N,) what each case's result is wrong by.
    doubts
        (N,) how doubtful the model is; equally doubtful cases are kept together.

    Returns
    -------
    curve
        At most N points, from the surest cases alone to all of them.
    """
    order = sorted(range(len(errors)), key=lambda n: doubts[n])
    curve: list[tuple[float, float]] = []
    total = 0.0
    for kept, n in enumerate(order, start=1):
        total += errors[n]
        if kept == len(order) or doubts[order[kept]] > doubts[n]:
            curve.append((kept / len(order), total / kept))
    return curve


def risk_plot(errors: Sequence[float], doubts: Sequence[float], y_title: str) -> Markup:
    """Draw the curve over that of a perfect order of the cases; the dashed line is the mean, an order by chance.

    Parameters
    ----------
    errors, doubts
        See `risk_coverage`; at least one case.
    y_title
        What the risk is.
    """
    found, best, mean = risk_coverage(errors, doubts), risk_coverage(errors, errors), fmean(errors)
    axes = Axes((0, 1), around([r for _, r in (*found, *best)], zero=True))
    parts = [axes.frame("share of cases that are kept", y_title)]
    ends = axes.left, axes.at_y(mean), WIDTH - axes.right
    parts.append(Markup('<path class="mark" d="M{} {}H{}"/>').format(*ends))
    for curve, style, name in ((best, "line c8 faint", "perfect order"), (found, "line c7", "by the model's doubt")):
        path = "M" + "L".join(f"{axes.at_x(x)} {axes.at_y(y)}" for x, y in curve)
        parts.append(Markup('<path class="{}" d="{}"><title>{}</title></path>').format(style, path, name))
    parts.extend(
        Markup('<circle class="dot c7" cx="{}" cy="{}" r="2.5"><title>{:.0f} % kept: {:.3f}</title></circle>').format(
            axes.at_x(x), axes.at_y(y), 100 * x, y
        )
        for x, y in found
    )
    told = f"{y_title} over the share of {len(errors)} cases that are kept, the surest first; {mean:.3f} of all."
    return picture(axes, Markup("").join(parts), told)
