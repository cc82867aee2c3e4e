"""Plots: ticks, hand-computed agreement, escaped text, well-formed pictures."""

from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from striate.reporting.figures.agreement import Pairs, bland_altman, limits_of_agreement, scatter
from striate.reporting.figures.axes import around, label, ticks
from striate.reporting.figures.dots import Row, dot_plot
from striate.reporting.figures.froc import froc_plot
from striate.reporting.figures.intervals import Interval, interval_plot
from striate.reporting.figures.lines import Series, line_plot, smoothed, thinned
from striate.reporting.figures.reliability import ReliabilityBin, reliability_diagram
from striate.reporting.figures.risk import risk_coverage, risk_plot
from striate.reporting.figures.rows import told_apart
from striate.reporting.figures.shares import Share, share_bar
from striate.reporting.figures.strength import Response, strength_plot

HOSTILE = '<script>alert("1")</script>'


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6))
def test_ticks_are_round_inside_and_few(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert all(low - 1e-6 * span <= t <= low + span * (1 + 1e-6) for t in found)
    assert len(found) <= 7


def test_ticks_by_hand() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert [label(t, 0.2) for t in ticks(0, 1)] == ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert label(-2.5, 2.5) == "−2.5"
    assert label(20000, 5000) == "20k"
    assert ticks(3, 3) == [3]
    assert ticks(0, 11, whole=True) == [0, 3, 6, 9]
    assert ticks(0, 2, whole=True) == [0, 1, 2]


def test_around_handles_nothing_and_constants() -> None:
    assert around([]) == (0.0, 1.0)
    low, high = around([5.0, 5.0])
    assert low < 5 < high
    assert around([2.0, 4.0], zero=True)[0] == 0


def test_limits_of_agreement_by_hand() -> None:
    pairs = Pairs("tumour", [("a", 11, 10), ("b", 18, 20), ("c", 34, 30)])
    mean, low, high = limits_of_agreement(pairs)  # differences 1, -2, 4: mean 1, standard deviation 3
    assert mean == pytest.approx(1)
    assert (low, high) == (pytest.approx(1 - 1.96 * 3), pytest.approx(1 + 1.96 * 3))


def test_thinning_and_smoothing_keep_the_mean() -> None:
    x, y = [float(n) for n in range(1000)], [math.sin(n) for n in range(1000)]
    few_x, few_y = thinned(x, y, 100)
    assert len(few_x) == len(few_y) == 100
    assert sum(few_y) / 100 == pytest.approx(sum(y) / 1000)
    assert smoothed([2.0] * 7) == [2.0] * 7
    assert smoothed([0.0, 3.0, 0.0]) == [1.5, 1.0, 1.5]


@pytest.mark.parametrize(
    "plot",
    [
        line_plot(
            [Series(HOSTILE, [0, 1], [1, 2]), Series("b", [0], [3], 2, dots=True)],
            HOSTILE,
            HOSTILE,
            mark=(1.5, HOSTILE),
        ),
        line_plot([], "x", "y"),
        dot_plot([Row(HOSTILE, [(HOSTILE, 0.5), ("b", 0.5)], 0.5, 0.4, 0.6)], HOSTILE, x_range=(0, 1)),
        interval_plot([Interval(HOSTILE, 2, 1, 3, 2.5, alarm=True), Interval("b", 1)], HOSTILE),
        interval_plot([Interval(HOSTILE, n, n / 2, 2 * n) for n in range(100)], HOSTILE),
        risk_plot([0.1, 0.5, 0.2], [0.2, 0.9, 0.2], HOSTILE),
        reliability_diagram(
            [ReliabilityBin(0, 0.5, 3, 0.3, 0.2)], HOSTILE, "y", before=[ReliabilityBin(0, 1, 3, 0.4, 0.1)]
        ),
        scatter([Pairs(HOSTILE, [(HOSTILE, 1, 2)])], "mL"),
        bland_altman(Pairs(HOSTILE, [(HOSTILE, 1, 2), ("b", 2, 2), ("c", 4, 3)]), "mL"),
    ],
)
def test_pictures_are_well_formed_and_escaped(plot: str) -> None:
    root = ET.fromstring(str(plot))
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert "script" not in {element.tag for element in root.iter()}
    assert "NaN" not in plot
    assert "nan" not in plot.replace("nance", "")


@pytest.mark.parametrize(
    "y",
    [
        [12 + n % 3 for n in range(60)],
        [2 + n % 2 for n in range(60)],
        [9.7 + 0.4 * (n % 4) for n in range(60)],
        [60 * 0.92**n + 4 for n in range(60)],
        [n / 5 + 1 for n in range(60)],
    ],
    ids=["above", "below", "around", "falling", "rising"],
)
def test_no_line_runs_through_what_a_mark_means(y: list[float]) -> None:
    """The box of the words, 6 wide and 9 high a character, holds no point between two of the line."""
    series = [Series("waiting", [float(n) for n in range(60)], [float(v) for v in y])]
    plot = line_plot(series, "update", "%", y_range=(0, max(12.0, max(y) * 1.08)), mark=(10, "aim: at most 10 %"))
    root = ET.fromstring(str(plot))
    (note,) = [e for e in root.iter() if e.tag.endswith("text") and e.get("class") == "note"]
    (line,) = [e for e in root.iter() if (e.get("class") or "").startswith("line")]
    base, at = float(note.get("y", "")), float(note.get("x", ""))
    left = at - 6 * len(note.text or "") if note.get("text-anchor") == "end" else at
    points = [tuple(map(float, pair.split())) for pair in (line.get("d") or "")[1:].split("L")]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        for share in range(20):
            x, height = x0 + (x1 - x0) * share / 20, y0 + (y1 - y0) * share / 20
            assert not (left <= x <= left + 6 * len(note.text or "") and base - 9 <= height <= base)


def test_risk_over_coverage_by_hand() -> None:
    """Errors 0.1, 0.4, 0.3, 0.8; kept in the order 0.1, 0.3 and 0.4 together, 0.8."""
    found = risk_coverage([0.1, 0.4, 0.3, 0.8], [0.0, 0.5, 0.5, 0.9])
    assert found == [pytest.approx(p) for p in [(0.25, 0.1), (0.75, 0.8 / 3), (1.0, 0.4)]]
    assert risk_coverage([0.5], [0.1]) == [(1.0, 0.5)]


def test_whether_an_interval_holds_the_truth() -> None:
    assert Interval("a", 2, 1, 3, 3).holds is True
    assert Interval("a", 2, 1, 3, 3.1).holds is False
    assert Interval("a", 2, 1, 3).holds is None and Interval("a", 2, true=2).holds is None


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ((1.0, 0.8), ">the masks<"),
        ((0.0, 0.5), ">the masks, at 0 per scan<"),
        ((40.0, 0.02), ">the masks, at 40 per scan<"),
    ],
)
def test_the_masks_are_marked_wherever_they_lie(mask: tuple[float, float], words: str) -> None:
    plot = froc_plot("lesion", [(0.125, 0.4), (1.0, 0.6), (2.0, 0.7), (8.0, 0.7)], (), mask, end=2.0)
    assert words in plot and plot.count("<circle") == 1
    assert plot.count("stroke-dasharray") == 1  # no candidate is left from 2 on
    x, y = (float(v) for v in re.search(r'cx="([\d.]+)" cy="([\d.]+)"', plot).groups())
    assert 40 <= x <= 400 and 0 <= y <= 260
    assert "stroke-dasharray" not in froc_plot("lesion", [(0.125, 0.4), (8.0, 0.7)], (), mask)


def test_long_names_that_begin_alike_are_told_apart() -> None:
    names = [f"sub-hospital-of-somewhere-{n}_ses-baseline_flair" for n in range(3)]
    assert told_apart(names) == ["…0_ses-baseline_f…", "…1_ses-baseline_f…", "…2_ses-baseline_f…"]
    assert told_apart(["P1", "a name of twenty letters"]) == ["P1", "a name of twenty …"]
    assert told_apart(["P1", *names[:2]]) == ["P1", "…0_ses-baseline_f…", "…1_ses-baseline_f…"]
    drawn = interval_plot([Interval(name, 1.0) for name in names], "volume (mL)")
    assert all(f"<title>{name}</title>{short}<" in drawn for name, short in zip(names, told_apart(names), strict=True))


def test_a_share_has_its_per_cent_in_it_only_where_there_is_room() -> None:
    drawn = share_bar([Share("waiting", 7.0, 6), Share("forward", 93.0, 7)], "time (%)")
    assert ">93\u00a0%</text>" in drawn
    assert ">7.0\u00a0%</text>" not in drawn
    both = share_bar([Share("waiting", 50.0, 2), Share("forward", 50.0, 7)], "time (%)")
    assert re.findall(r'<text class="in (\w+)"', both) == ["dark", "light"], "each word stands out on its colour"


def test_the_word_of_a_level_stands_where_no_curve_runs() -> None:
    curves = [Response("square", (0.0, 0.1, 0.2), (0.9, 0.12, 0.12), colour=6)]
    drawn = strength_plot(curves, "ε", "Dice", level=(0.06, "half of the clean Dice"))
    assert re.search(r'text-anchor="start">half of the clean Dice<', drawn)
