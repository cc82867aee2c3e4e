"""`per_doubling`: gains along the networks that no cheaper one beats."""

from __future__ import annotations

import pytest

from striate.comparing.doubling import per_doubling


def rows(*pairs):
    return [{"label": name, "cost": cost, "value": value} for name, cost, value in pairs]


def test_a_hand_computed_front():
    known = rows(("big", 800, 0.9), ("small", 100, 0.6), ("worse", 200, 0.5), ("middle", 200, 0.8), ("near", 210, 0.81))
    found = per_doubling([*known, *rows(("unknown", 9, None))], "value", "cost", less_is_better=False)
    assert [one["label"] for one in found] == ["small", "middle", "near", "big"]
    assert found[0]["gain"] is None
    assert (found[1]["doublings"], found[1]["gain_per_doubling"]) == (1, pytest.approx(0.2))
    assert found[2]["gain"] == pytest.approx(0.01) and found[2]["gain_per_doubling"] is None  # 0.07 doublings
    assert found[3]["doublings"] == pytest.approx(1.93, abs=0.01)


def test_where_less_is_better():
    found = per_doubling(rows(("a", 1, 0.4), ("b", 4, 0.2), ("c", 8, 0.3)), "value", "cost", less_is_better=True)
    assert [(one["label"], one["gain_per_doubling"]) for one in found] == [("a", None), ("b", pytest.approx(-0.1))]
