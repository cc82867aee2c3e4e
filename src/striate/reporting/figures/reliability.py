"""The reliability diagram: what came true against what was said, over the diagonal of a model that means what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from striate.core.counted import counted
from striate.reporting.figures.axes import picture
from striate.reporting.figures.roc import SQUARE

TALLEST = 0.22
"""Share of the height that the fullest bin's bar takes."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bin: its bounds, how many are in it, mean confidence, share that came true, and that share's interval."""

    start: float
    stop: float
    n: int
    confidence: float
    outcome: float
    low: float | None = None
    high: float | None = None


def reliability_diagram(
    bins: Sequence[ReliabilityBin], x_title: str, y_title: str, *, before: Sequence[ReliabilityBin] = ()
) -> Markup:
    """Draw one dot per bin with its interval; the bars at the bottom are the counts.

    Parameters
    ----------
    bins
        Those that hold anything.
    x_title, y_title
        What was said, and what came true.
    before
        The same before calibration: a grey line with dots, without bars.
    """
    parts = [SQUARE.frame(x_title, y_title)]
    most = max((b.n for b in bins), default=1)
    for b in bins:
        left, right, height = SQUARE.at_x(b.start), SQUARE.at_x(b.stop), TALLEST * b.n / most
        top = SQUARE.at_y(height)
        parts.append(
            Markup(
                '<rect class="band" x="{:.2f}" y="{}" width="{:.2f}" height="{:.2f}"><title>{}</title></rect>'
            ).format(
                left + 0.7, top, right - left - 1.4, SQUARE.floor - top, f"{b.n} between {b.start:.2f} and {b.stop:.2f}"
            )
        )
    diagonal = SQUARE.at_x(0), SQUARE.at_y(0), SQUARE.at_x(1), SQUARE.at_y(1)
    parts.append(Markup('<path class="mark" d="M{} {}L{} {}"/>').format(*diagonal))
    if before:
        path = "M" + "L".join(f"{SQUARE.at_x(b.confidence)} {SQUARE.at_y(b.outcome)}" for b in before)
        parts.append(Markup('<path class="line c8" d="{}"/>').format(path))
        for b in before:
            told = f"before calibration: said {b.confidence:.3f}, true {b.outcome:.3f}, n = {b.n}"
            parts.append(
                Markup('<circle class="dot c8" cx="{}" cy="{}" r="3"><title>{}</title></circle>').format(
                    SQUARE.at_x(b.confidence), SQUARE.at_y(b.outcome), told
                )
            )
    for b in bins:
        x, y = SQUARE.at_x(b.confidence), SQUARE.at_y(b.outcome)
        if b.low is not None and b.high is not None:
            ends = SQUARE.at_y(b.low), SQUARE.at_y(b.high)
            parts.append(Markup('<path class="whisker c7" d="M{} {}V{}"/>').format(x, *ends))
        told = f"said {b.confidence:.3f}, true {b.outcome:.3f}, n = {b.n}"
        parts.append(
            Markup('<circle class="dot c7" cx="{}" cy="{}" r="4"><title>{}</title></circle>').format(x, y, told)
        )
    return picture(
        SQUARE,
        Markup("").join(parts),
        f"{y_title} over {x_title}, {counted(len(bins), 'bin')}; the diagonal is perfect.",
    )
