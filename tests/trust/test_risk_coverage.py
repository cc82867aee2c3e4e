"""Risk against coverage by hand, by averaging over every order of ties, and of histograms against single voxels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from striate.core.errors import UsageError
from striate.trust.risk_coverage import RiskCoverage


def test_by_hand():
    # order by uncertainty: risks 0.1, 0.5, 0.3 → means 0.1, 0.3, 0.3; the oracle: 0.1, 0.2, 0.3
    found = RiskCoverage.of(np.array([3.0, 1.0, 2.0]), np.array([0.3, 0.1, 0.5]))
    assert found.coverage == pytest.approx([1 / 3, 2 / 3, 1])
    assert found.risk == pytest.approx([0.1, 0.3, 0.3])
    assert found.area == pytest.approx(0.7 / 3)
    assert found.oracle == pytest.approx(0.2)
    assert found.excess == pytest.approx(0.1 / 3)
    assert found.n == 3


def test_a_perfect_order_has_no_excess_and_the_worst_has_the_most():
    risk = np.random.default_rng(0).random(40)
    assert RiskCoverage.of(risk, risk).excess == pytest.approx(0, abs=1e-12)
    drawn = [RiskCoverage.of(np.random.default_rng(s).random(40), risk).excess for s in range(1, 21)]
    assert min(drawn) > 0 and max(drawn) < RiskCoverage.of(-risk, risk).excess


def test_ties_are_the_mean_over_all_orders():
    uncertainty, risk = np.array([1, 0, 1, 1, 2]), np.array([0.9, 0.2, 0.0, 0.4, 0.7])
    areas = []
    for order in itertools.permutations([0, 2, 3]):
        taken = risk[[1, *order, 4]]
        areas.append((np.cumsum(taken) / np.arange(1, 6)).mean())
    assert RiskCoverage.of(uncertainty, risk).area == pytest.approx(np.mean(areas))


def test_without_information_the_area_is_the_mean_risk():
    assert RiskCoverage.of(np.zeros(7), np.arange(7.0)).area == pytest.approx(3)


def test_histograms_equal_single_voxels():
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 30, 12)
    wrong = rng.binomial(counts, np.linspace(0, 0.6, 12))
    uncertainty = rng.permutation(12) // 2
    single = np.repeat(uncertainty, counts)
    errors = np.concatenate([np.arange(n) < w for n, w in zip(counts, wrong, strict=True)]).astype(float)
    found, direct = RiskCoverage.of_counts(uncertainty, wrong, counts), RiskCoverage.of(single, errors)
    assert found.area == pytest.approx(direct.area)
    assert found.oracle == pytest.approx(direct.oracle)
    assert (found.n, found.risk[-1]) == (counts.sum(), pytest.approx(errors.mean()))


def test_what_cannot_be_ordered_is_refused():
    with pytest.raises(UsageError, match="two lists of equal length are needed"):
        RiskCoverage.of(np.zeros(3), np.zeros(2))
    with pytest.raises(UsageError, match="a value is not finite"):
        RiskCoverage.of(np.array([np.nan, 1]), np.zeros(2))
    with pytest.raises(UsageError, match="wrong must lie between 0 and counts"):
        RiskCoverage.of_counts(np.zeros(2), np.array([2, 0]), np.array([1, 1]))
