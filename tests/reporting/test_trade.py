"""Two measures against each other: every point has its name, which nothing strikes through; noise is shown as small as it is."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from striate.reporting.figures.names import CHARACTER, LINE
from striate.reporting.figures.trade import Place, trade_plot

NAMES = ("before", "25 %", "50 %", "75 %", "whole update")


def drawn(xs: list[float], ys: list[float], least_x: float | None = None) -> str:
    places = [Place(n, x, y, n == "50 %") for n, x, y in zip(NAMES, xs, ys, strict=True)]
    return str(trade_plot(places, "kept", "won", least_x=least_x))


def boxes(plot: str) -> dict[str, tuple[float, float, float, float]]:
    found = {}
    for x, y, anchor, name in re.findall(
        r'<text class="in" x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">([^<]+)<', plot
    ):
        wide = CHARACTER * len(name)
        left = float(x) - (wide if anchor == "end" else 0)
        found[name] = (left, float(y) - LINE + 3, left + wide, float(y) + 3)
    return found


@pytest.mark.parametrize(
    ("xs", "ys"),
    [
        ([0.81, 0.81, 0.80, 0.77, 0.73], [0.41, 0.57, 0.64, 0.68, 0.69]),
        ([0.81, 0.74, 0.59, 0.39, 0.29], [0.41, 0.46, 0.46, 0.48, 0.49]),  # what lies beside the limit has its name too
        ([0.808, 0.804, 0.807, 0.798, 0.804], [0.414, 0.415, 0.415, 0.414, 0.415]),
    ],
)
def test_names_lie_on_no_line_point_or_other_name(xs: list[float], ys: list[float]) -> None:
    plot = drawn(xs, ys, xs[0] - 0.02)
    found = boxes(plot)
    assert set(found) == set(NAMES)
    spots = [tuple(map(float, pair)) for pair in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', plot)]
    limit = float(re.search(r'class="mark" d="M([\d.]+)', plot)[1])  # type: ignore[index]
    line = [
        (x0 + (x1 - x0) * n / 100, y0 + (y1 - y0) * n / 100)
        for (x0, y0), (x1, y1) in pairwise(spots)
        for n in range(101)
    ]
    for name, (left, top, right, bottom) in found.items():
        assert not left < limit < right, name
        assert not [1 for x, y in line if left < x < right and top < y < bottom], name
        assert not [
            1 for n, b in found.items() if n != name and left < b[2] and b[0] < right and top < b[3] and b[1] < bottom
        ]


def test_what_hardly_differs_is_drawn_near() -> None:
    plot = drawn([0.808, 0.804, 0.807, 0.798, 0.804], [0.4142, 0.4151, 0.4146, 0.4141, 0.4151])
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', plot)]
    assert max(heights) - min(heights) < 0.1 * 300 and ">0.41<" in plot and ">0.4142" not in plot


def test_no_tick_lies_where_no_measure_does() -> None:
    plot = drawn([0.015, 0.015, 0.015, 0.015, 0.008], [0.008, 0.008, 0.016, 0.016, 0.016])
    assert ">0.01<" in plot and ">−0.01<" not in plot
    plot = drawn([1.0, 0.99, 0.98, 0.97, 0.96], [0.9, 0.95, 0.97, 0.99, 1.0])
    assert ">1.00<" in plot and ">1.01<" not in plot and ">1.02<" not in plot
