"""A descent on an error surface, as a picture for a paper: level lines with the path, and the total error per step.

Drawn by matplotlib into a file; the other figures are parts of the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLUE, ORANGE, GREY = "#00629b", "#d55e00", "#8a8a8a"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "svg.hashsalt": "striate",
}
SIZE_INCH = (7.0, 3.1)
DOTS_PER_INCH = 300
FAR = 6.0
"""Places farther from the minimum than this many times the start are out of the picture."""
SMALLEST = 1e-16
"""Total errors below this share of the first are drawn there."""


def draw(out: Path, x: NDArray[Any], target: NDArray[Any], path: NDArray[Any], best: tuple[float, float]) -> None:
    """Draw the descent of E(a, b) = ½ Σ (t - a·x - b)².

    Parameters
    ----------
    out
        PNG, SVG or PDF, by its suffix.
    x, target
        The points (n,).
    path
        (3, steps + 1): a, b and E before the first update and after each.
    best
        a and b of the minimum.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE_INCH, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
        _surface(left, x, target, path, best)
        _error(right, x, target, path, best)
        stamp = {".png": "Software", ".svg": "Date", ".pdf": "CreationDate"}[out.suffix.lower()]
        figure.savefig(out, dpi=DOTS_PER_INCH, metadata={stamp: None})  # the same bytes for the same numbers


def _surface(axes: Any, x: NDArray[Any], target: NDArray[Any], path: NDArray[Any], best: tuple[float, float]) -> None:
    from matplotlib.patheffects import Normal, Stroke

    away = path[:2] - np.array(best)[:, None]
    near = np.abs(away).max(axis=0) <= FAR * np.abs(away[:, 0]).max()
    reach = 1.2 * np.abs(away[:, near]).max() or 1.0
    side = np.linspace(-reach, reach, 201)
    a, b = np.meshgrid(best[0] + side, best[1] + side)
    error = 0.5 * ((target - a[..., None] * x - b[..., None]) ** 2).sum(axis=-1)
    lowest = _total(x, target, best)
    levels = lowest + (error.max() - lowest) * np.geomspace(1e-3, 0.7, 10)
    lines = axes.contour(a, b, error, levels=levels, colors=GREY, linewidths=0.5)
    axes.clabel(lines, levels=levels[4:9:2], fmt=lambda v: f"{v:.2g}" if v < 10 else f"{v:.0f}", fontsize=6)
    axes.plot(path[0], path[1], "-o", color=BLUE, markersize=2.5, linewidth=1, clip_on=True)
    axes.plot(*path[:2, 0], "o", color="white", markeredgecolor=BLUE, markersize=6)
    axes.plot(*best, "+", color=ORANGE, markersize=9, markeredgewidth=1.6)
    right, above = (1 if best[0] >= path[0, 0] else -1), (1 if path[1, 0] >= best[1] else -1)
    for text, place, shift, colour in (
        ("start", path[:2, 0], (0, 8 * above), BLUE),
        ("minimum", best, (12 * right, -10 * above), ORANGE),
    ):
        axes.annotate(
            text, place, shift, textcoords="offset points", color=colour, va="center",
            ha="center" if text == "start" else "left" if right > 0 else "right",
            path_effects=[Stroke(linewidth=2.5, foreground="white"), Normal()],
        )  # fmt: skip
    axes.set(
        xlim=(best[0] - reach, best[0] + reach),
        ylim=(best[1] - reach, best[1] + reach),
        xlabel="Weight a",
        ylabel="Weight b",
        aspect="equal",
    )
    axes.set_title("A   Total error E(a, b) and the path", loc="left")


def _error(axes: Any, x: NDArray[Any], target: NDArray[Any], path: NDArray[Any], best: tuple[float, float]) -> None:
    lowest, floor = _total(x, target, best), SMALLEST * path[2, 0]
    axes.semilogy(np.maximum(path[2], floor), "-o", color=BLUE, markersize=2.5, linewidth=1)
    if lowest > 1e-9 * path[2, 0]:
        axes.axhline(lowest, color=ORANGE, linewidth=1, linestyle="--")
        axes.annotate(
            "minimum (noise)", (1, lowest), (-2, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", color=ORANGE, fontsize=7,
        )  # fmt: skip
    axes.set(xlabel="Step (update)", ylabel="Total error E = ½ Σ (t − o)²")
    axes.set_title("B   Total error per step", loc="left")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", linewidth=0.4, color="#d9d9d9")


def _total(x: NDArray[Any], target: NDArray[Any], weights: tuple[float, float]) -> float:
    return float(0.5 * ((target - weights[0] * x - weights[1]) ** 2).sum())
