"""Bootstrap over subjects: against scipy, clusters, few subjects, missing values."""

import numpy as np
import pytest

from striate.measure.statistics import bootstrap_interval, summarise


def names(n):
    return [f"s{i}" for i in range(n)]


@pytest.mark.parametrize("n", [8, 30])
def test_close_to_scipy(n):
    from scipy.stats import bootstrap

    values = np.random.default_rng(n).beta(8, 2, n)
    low, high = bootstrap_interval(values, names(n), seed=3)
    theirs = bootstrap((values,), np.mean, method="BCa", n_resamples=20000, rng=np.random.default_rng(0))
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.06 * width)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.06 * width)


def test_seeded():
    values = np.random.default_rng(0).random(9)
    assert bootstrap_interval(values, names(9), seed=1) == bootstrap_interval(values, names(9), seed=1)
    assert bootstrap_interval(values, names(9), seed=1) != bootstrap_interval(values, names(9), seed=2)


def test_level():
    values = np.random.default_rng(0).random(20)
    wide, narrow = (bootstrap_interval(values, names(20), level=level) for level in (0.99, 0.8))
    assert wide[0] < narrow[0] < values.mean() < narrow[1] < wide[1]


def test_one_subject_has_no_interval():
    found = summarise([0.5], ["a"])
    assert (found.mean, found.median, found.low, found.high, found.n) == (0.5, 0.5, None, None, 1)
    found = summarise([0.5, 0.7], ["a", "a"])
    assert (found.mean, found.low, found.n) == (pytest.approx(0.6), None, 2)


def test_two_subjects_have_one():
    found = summarise([0.4, 0.8])
    assert 0.4 <= found.low <= 0.6 <= found.high <= 0.8


def test_equal_values():
    found = summarise([0.3, 0.3, 0.3])
    assert found.low == found.high == found.mean == pytest.approx(0.3)


def test_missing_values_are_left_out():
    found = summarise([None, 1.0, float("nan"), 3.0, 8.0])
    assert (found.mean, found.median, found.n) == (4.0, 3.0, 3)
    nothing = summarise([None, None])
    assert (nothing.mean, nothing.median, nothing.low, nothing.high, nothing.n) == (None, None, None, None, 0)
    assert summarise([]).n == 0


def test_cases_of_one_subject_stay_together():
    """Ten copies of each subject's case are not ten times the evidence."""
    values = np.random.default_rng(5).random(8)
    once = bootstrap_interval(values, names(8), seed=0)
    copied = bootstrap_interval(np.repeat(values, 10), [n for n in names(8) for _ in range(10)], seed=0)
    apart = bootstrap_interval(np.repeat(values, 10), names(80), seed=0)
    assert copied == pytest.approx(once)
    assert apart[1] - apart[0] < 0.5 * (once[1] - once[0])


def test_covers_the_true_mean():
    """Of 200 samples of 25, about 95 % of intervals hold the mean of the distribution."""
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.beta(6, 2, 25), names(25))
        hits += low <= 0.75 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_many_subjects_in_bounded_blocks():
    values = np.random.default_rng(0).random(3000)
    low, high = bootstrap_interval(values, names(3000))
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(3000), rel=0.1)
