"""Agreement of two measurements: one against the other, and their difference over their mean.

Bland and Altman, Lancet 1986;327:307-310: the limits of agreement are the mean difference ± 1.96 standard deviations
(with n - 1 in the denominator).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, stdev

from markupsafe import Markup

from striate.reporting.figures.axes import WIDTH, Axes, around, picture
from striate.reporting.numbers import fixed


@dataclass(frozen=True, slots=True)
class Pairs:
    """Measured pairs of one label: (case, predicted, true), in the same unit."""

    name: str
    values: list[tuple[str, float, float]]
    colour: int = 1


def limits_of_agreement(pairs: Pairs) -> tuple[float, float, float]:
    """Return the mean difference (predicted - true) and its lower and upper limit of agreement; n ≥ 2 is needed."""
    differences = [predicted - true for _, predicted, true in pairs.values]
    mean, spread = fmean(differences), 1.96 * stdev(differences)
    return mean, mean - spread, mean + spread


def scatter(groups: list[Pairs], unit: str) -> Markup:
    """Draw predicted against true values with the line of equality."""
    every = [v for g in groups for _, predicted, true in g.values for v in (predicted, true)]
    span = around(every, zero=True)
    axes = Axes(span, span, height=260)
    parts = [axes.frame(f"truth ({unit})", f"predicted ({unit})")]
    ends = (axes.at_x(span[0]), axes.at_y(span[0]), axes.at_x(span[1]), axes.at_y(span[1]))
    parts.append(Markup('<path class="mark" d="M{} {}L{} {}"/>').format(*ends))
    for group in groups:
        parts.extend(
            Markup(
                '<circle class="dot c{}" cx="{}" cy="{}" r="3.6"><title>{}, {}: predicted {:.4g}, true {:.4g} {}</title></circle>'
            ).format(group.colour, axes.at_x(true), axes.at_y(predicted), case, group.name, predicted, true, unit)
            for case, predicted, true in group.values
        )
    return picture(axes, Markup("").join(parts), f"Predicted against true {unit}, with the line of equality.")


def bland_altman(pairs: Pairs, unit: str) -> Markup:
    """Draw the difference predicted - true over the mean of both, with the limits of agreement."""
    mean, low, high = limits_of_agreement(pairs)
    xs = [(predicted + true) / 2 for _, predicted, true in pairs.values]
    ys = [predicted - true for _, predicted, true in pairs.values]
    axes = Axes(around(xs), around([*ys, low, high, 0.0], share=0.14), height=260, right=64)
    parts = [axes.frame(f"mean of both ({unit})", f"{pairs.name}: predicted − truth ({unit})")]
    parts.append(Markup('<path class="axis" d="M{} {}H{}"/>').format(axes.left, axes.at_y(0), WIDTH - axes.right))
    for value, style, told in ((mean, "mean", "mean"), (low, "mark", "−1.96 SD"), (high, "mark", "+1.96 SD")):
        y = axes.at_y(value)
        parts.append(Markup('<path class="{}" d="M{} {}H{}"/>').format(style, axes.left, y, WIDTH - axes.right))
        parts.append(Markup('<text class="note" x="{}" y="{}">{}</text>').format(WIDTH + 4 - axes.right, y - 1, told))
        parts.append(
            Markup('<text class="note" x="{}" y="{}">{}</text>').format(WIDTH + 4 - axes.right, y + 10, fixed(value, 2))
        )
    parts.extend(
        Markup('<circle class="dot c{}" cx="{}" cy="{}" r="3.6"><title>{}: {:+.4g} {}</title></circle>').format(
            pairs.colour, axes.at_x(x), axes.at_y(y), case, y, unit
        )
        for (case, _, _), x, y in zip(pairs.values, xs, ys, strict=True)
    )
    told = f"{pairs.name}: mean difference {mean:.3g} {unit}, limits of agreement {low:.3g} to {high:.3g} {unit}."
    return picture(axes, Markup("").join(parts), told)
