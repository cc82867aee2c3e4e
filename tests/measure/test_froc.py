"""The free-response characteristic: by hand, a random scorer, monotone, intervals over subjects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.core.errors import DataError
from striate.measure.froc import CPM_POINTS, froc


def test_by_hand() -> None:
    """Two cases, three lesions; 0.9 and 0.6 hit the same lesion, which counts once and is no false positive."""
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    cases = ["a", "a", "b", "a", "b", "b"]
    hits = [0, -1, -1, 0, 0, -1]
    found = froc(scores, cases, hits, {"a": 2, "b": 1}, at=(0, 0.5, 1, 3), draws=0)
    assert found.false_positives == (0, 0.5, 1, 1, 1, 1.5)
    assert found.sensitivity == (1 / 3, 1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3)
    assert {n: e.value for n, e in found.at.items()} == {
        0: pytest.approx(1 / 3),
        0.5: pytest.approx(1 / 3),
        1: pytest.approx(2 / 3),
        3: pytest.approx(2 / 3),
    }
    assert (found.cases, found.lesions, found.subjects) == (2, 3, 2)
    assert found.cpm.value == pytest.approx((3 * 1 / 3 + 4 * 2 / 3) / 7)


def test_equal_scores_count_together() -> None:
    found = froc([0.5, 0.5], ["a", "a"], [0, -1], {"a": 1}, at=(0, 1), draws=0)
    assert [e.value for e in found.at.values()] == [0, 1]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(-1, 2)), max_size=40))
def test_it_never_falls(rows: list[tuple[int, int, int]]) -> None:
    lesions = {str(n): 3 for n in range(4)}
    found = froc([r[0] for r in rows], [str(r[1]) for r in rows], [r[2] for r in rows], lesions, draws=0)
    values = [found.sensitivity_at(n) for n in (0, *CPM_POINTS, 100)]
    assert values == sorted(values)
    assert (np.diff(found.sensitivity) >= 0).all()
    assert (np.diff(found.false_positives) >= 0).all()
    assert [e.value for e in found.at.values()] == [pytest.approx(found.sensitivity_at(n)) for n in found.at]
    assert values[-1] == pytest.approx(len({(c, h) for _, c, h in rows if h >= 0}) / 12)


def test_a_random_scorer_finds_its_share() -> None:
    """Thirty wrong and one right candidate per case, scores at random: at 3 false positives per case 3/30 are found."""
    rng = np.random.default_rng(0)
    cases = [str(n) for n in range(400) for _ in range(31)]
    hits = [0, *[-1] * 30] * 400
    found = froc(rng.random(len(cases)), cases, hits, {str(n): 1 for n in range(400)}, at=(3,), draws=200)
    assert found.at[3.0].low <= 0.1 <= found.at[3.0].high
    assert found.at[3.0].value == pytest.approx(0.1, abs=0.05)


def test_no_candidates_and_no_lesions() -> None:
    assert froc([], [], [], {"a": 1, "b": 1}, at=(3,)).at[3.0].value == 0
    found = froc([0.5], ["a"], [-1], {"a": 0, "b": 0}, at=(3,))
    assert found.at[3.0].value is None
    assert found.sensitivity_at(3) is None


def test_subjects_are_drawn() -> None:
    rng = np.random.default_rng(1)
    lesions = {str(n): 1 for n in range(40)}
    cases = [c for c in lesions for _ in range(3)]
    arguments = rng.random(120), cases, [0, -1, -1] * 40, lesions
    apart = froc(*arguments, at=(0.5,)).at[0.5]
    together = froc(*arguments, subjects={c: str(int(c) // 20) for c in lesions}, at=(0.5,))
    assert together.subjects == 2
    assert apart.low < apart.value < apart.high
    assert froc(*arguments, subjects=dict.fromkeys(lesions, "one"), at=(0.5,)).at[0.5].low is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], ["x"], [0], {"a": 1}), "case 'x'"),
        (([1.0], ["a"], [1], {"a": 1}), "lesion 1; a number from 0 below 1"),
        (([np.nan], ["a"], [0], {"a": 1}), "score nan"),
        (([1.0], ["a"], [], {"a": 1}), "1 score, 1 case, 0 hits"),
        (([], [], [], {}), "0 searched cases"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(DataError, match=message):
        froc(*arguments)


def test_all_that_is_found_at_any_number_of_false_alarms() -> None:
    """Thresholds that no draw can reach are not looked at; what lies beyond them counts at infinity all the same."""
    rng = np.random.default_rng(2)
    scores = np.concatenate([rng.random(400), -rng.random(3)])  # the three true ones come after 400 false ones
    cases = [*(str(n % 4) for n in range(400)), "0", "1", "2"]
    hits = [*[-1] * 400, 0, 0, 0]
    found = froc(scores, cases, hits, {str(n): 1 for n in range(4)}, at=(1, 8, np.inf), draws=100)
    assert [e.value for e in found.at.values()] == [0, 0, 0.75]
    assert found.sensitivity_at(100) == 0.75 and found.sensitivity_at(99) == 0
    assert found.at[np.inf].low < 0.75 <= found.at[np.inf].high
