"""Scatter plots: round ticks of decades, every point inside, names that do not cover each other."""

from __future__ import annotations

import re

import pytest

from striate.reporting.figures.scatter import Line, Point, log_ticks, scatter_plot


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 3, [1, 10, 100, 1000]),
        (0.9, 2.1, [10, 30, 100]),
        (0.1, 0.9, [1.5, 2, 3, 5, 7]),
    ],
)
def test_ticks(low, high, expected):
    assert log_ticks(low, high) == pytest.approx(expected)


def test_many_decades_have_few_ticks():
    assert 3 <= len(log_ticks(0, 30)) <= 8


def test_points_lie_where_their_logarithms_do():
    plot = scatter_plot([Point("a", 10, 0.1), Point("b", 100, 0.2), Point("c", 1000, 0.3)], "x", "y")
    places = [float(v) for v in re.findall(r'cx="([0-9.]+)"', plot)]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.02)
    assert all(48 <= v <= 390 for v in places)


def test_names_are_escaped_and_do_not_cover_each_other():
    points = [Point(f"<net{n}>", 100 + n, 0.5 + 0.001 * n, colour=n % 8 + 1) for n in range(6)]
    plot = scatter_plot(points, "x", "y")
    assert "<net" not in plot
    found = re.findall(r'<text class="in" x="([0-9.]+)" y="([0-9.]+)" text-anchor="(start|end)"', plot)
    lefts = [float(x) - 6.1 * 6 * (anchor == "end") for x, _, anchor in found]
    boxes = [(left, float(y), left + 6.1 * 6) for left, (_, y, _) in zip(lefts, found, strict=True)]
    assert len(boxes) >= 3
    for n, (left, base, right) in enumerate(boxes):
        for other in boxes[:n]:
            assert abs(base - other[1]) >= 12 or right <= other[0] or other[2] <= left


def test_an_interval_down_to_zero_stays_on_a_logarithmic_axis():
    plot = scatter_plot(
        [Point("a", 10, 0.1, 0.0, 0.3), Point("b", 20, 0.0)],
        "x",
        "y",
        log_y=True,
        lines=[Line([5, 40], [0.2, 0.05], dashed=True)],
    )
    assert plot.count("<circle") == 1 and "nan" not in plot and "stroke-dasharray" in plot


def test_nothing_to_show_is_a_plot_all_the_same():
    assert "nothing" in scatter_plot([], "x", "y")


def test_a_share_has_no_place_above_one():
    plot = scatter_plot([Point("a", 10, 1.0), Point("b", 20, 1.0)], "x", "y", most=1.0)
    assert ">1.05" not in plot and ">1.000<" in plot
