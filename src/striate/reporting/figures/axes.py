"""Axes of a plot: nice ticks, a frame that is as quiet as possible, and escaped text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 400
"""Width of every plot in its own units; about one CSS pixel each."""


def ticks(low: float, high: float, about: int = 5, *, whole: bool = False) -> list[float]:
    """Return about `about` round values (1, 2, 2.5, 5 × 10ⁿ) within [low, high]; with `whole` only whole numbers."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    rough = span / max(about, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    if whole:
        step = max(1.0, math.ceil(step))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def around(values: list[float], *, zero: bool = False, share: float = 0.05) -> tuple[float, float]:
    """Return a range that holds all `values` with a little room; with `zero` it starts or ends at 0 where it can."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low) * share or abs(high) * 0.1 or 1.0
    return (low if zero and low == 0 else low - room), (high if zero and high == 0 else high + room)


def label(value: float, step: float) -> str:
    """Write a tick with the decimals that its step needs."""
    if value == 0:
        return "0"
    if abs(value) >= 1e4 or abs(value) < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        if abs(value) >= 1e4 and abs(value) < 1e7:
            return f"{value / 1e3:g}k".replace("-", "−")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}".replace("-", "−")
    decimals = max(0, -math.floor(math.log10(abs(step)) + 1e-9)) if step else 2
    if step and abs(round(step, decimals) - step) > 1e-9 * abs(step):
        decimals += 1
    return f"{value:.{decimals}f}".replace("-", "−")


@dataclass(frozen=True, slots=True)
class Axes:
    """Where data lie on the plot.

    Attributes
    ----------
    x, y
        (low, high) of the data shown along each axis.
    height
        Of the whole plot.
    left, right, top, bottom
        Margins.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    height: float = 220
    left: float = 44
    right: float = 10
    top: float = 24
    bottom: float = 36

    def at_x(self, value: float) -> float:
        """Return the horizontal place of a value."""
        low, high = self.x
        return round(self.left + (value - low) / ((high - low) or 1) * (WIDTH - self.left - self.right), 2)

    def at_y(self, value: float) -> float:
        """Return the vertical place of a value."""
        low, high = self.y
        return round(
            self.height - self.bottom - (value - low) / ((high - low) or 1) * (self.height - self.top - self.bottom), 2
        )

    @property
    def floor(self) -> float:
        """Vertical place of the horizontal axis."""
        return self.height - self.bottom

    def frame(
        self,
        x_title: str,
        y_title: str,
        *,
        x_about: int = 5,
        rows: bool = True,
        whole: bool = False,
        x_labels: Mapping[float, str] | None = None,
    ) -> Markup:
        """Draw grid lines, ticks and titles.

        Without `rows` the vertical axis is left to the caller; `whole`: x counts; `x_labels`: place → what stands there.
        """
        parts = []
        if rows:
            found = ticks(*self.y)
            step = found[1] - found[0] if len(found) > 1 else found[0]
            for value in found:
                y = self.at_y(value)
                parts.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(self.left, y, WIDTH - self.right))
                parts.append(
                    Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(
                        self.left - 6, y + 3.5, label(value, step)
                    )
                )
        found = ticks(*self.x, x_about, whole=whole)
        step = found[1] - found[0] if len(found) > 1 else found[0]
        words = {value: label(value, step) for value in found} if x_labels is None else x_labels
        parts.append(Markup('<path class="axis" d="M{} {}H{}"/>').format(self.left, self.floor, WIDTH - self.right))
        for value, word in words.items():
            x = self.at_x(value)
            if not rows:
                parts.append(Markup('<path class="grid" d="M{} {}V{}"/>').format(x, self.top, self.floor))
            parts.append(Markup('<path class="axis" d="M{} {}v4"/>').format(x, self.floor))
            parts.append(Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(x, self.floor + 16, word))
        middle = (self.left + WIDTH - self.right) / 2
        parts.append(
            Markup('<text class="title" x="{}" y="{}" text-anchor="middle">{}</text>').format(
                middle, self.height - 4, x_title
            )
        )
        parts.append(Markup('<text class="title" x="{}" y="12">{}</text>').format(0 if rows else self.left, y_title))
        return Markup("").join(parts)


def picture(axes: Axes, content: Markup, description: str, extra: Markup = Markup("")) -> Markup:
    """Wrap drawn content as an accessible SVG; `extra` holds further attributes."""
    return Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}"{}>{}</svg>').format(
        WIDTH, axes.height, escape(description), extra, content
    )
