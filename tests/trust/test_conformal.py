"""Conformal bounds: ranks by hand, several cases of a subject, exact coverage of exchangeable scores."""

import numpy as np
import pytest
from scipy.stats import binom

from striate.trust.conformal import bound, nonconformity, subject_weights, subjects_needed


def bound_of(scores, subjects=None, coverage=0.9):
    subjects = [str(i) for i in range(len(scores))] if subjects is None else subjects
    return bound(np.asarray(scores, dtype=float), subject_weights(subjects), coverage)


def test_subjects_needed():
    assert [subjects_needed(c) for c in (0.5, 0.8, 0.9, 0.95, 0.99)] == [1, 4, 9, 19, 99]


@pytest.mark.parametrize(("n", "rank"), [(9, 9), (10, 10), (18, 18), (19, 18), (20, 19), (29, 27), (99, 90)])
def test_the_rank(n, rank):
    """⌈(n + 1) · 0.9⌉."""
    assert bound_of(np.random.default_rng(n).permutation(n) + 1) == rank


def test_too_few_subjects():
    assert bound_of(range(8)) is None and bound_of([]) is None
    assert bound_of(range(80), [str(i % 8) for i in range(80)]) is None


def test_a_subject_weighs_one_whatever_its_cases():
    """9 subjects of one case and one of 9 cases: 9.9 of 11 are wanted, 9 are below 10, so 0.9 of the tenth's cases."""
    scores, subjects = [*range(1, 10), *range(10, 19)], [*"abcdefghi", *["j"] * 9]
    assert bound_of(scores, subjects) == 18
    assert bound_of(scores, subjects, 0.85) == 13  # 9.35 are wanted: 9 and 4 of 9 cases reach 9.44
    assert sorted(subject_weights(["a", "b", "b"])) == [0.5, 0.5, 1.0]


def test_the_smallest_interval_that_holds_the_truth():
    """Centre 10, value 12: 11 is held anyway; below and above the distance from the centre counts, in its own scale."""
    found = nonconformity([11, 10, 12, 8, 13, 4], 10, 12, 2, 5)
    assert found == pytest.approx([0, 0, 0, 1, 0.6, 3])


@pytest.mark.parametrize("n", [9, 14, 19, 40])
def test_coverage_of_exchangeable_scores_is_exact(n):
    """⌈0.9 (n + 1)⌉ / (n + 1), within what 20,000 draws allow with a probability of 1 − 10⁻⁶."""
    rng, draws = np.random.default_rng(n), 20_000
    scores = rng.standard_cauchy((draws, n + 1))
    weights = np.ones(n)
    held = sum(row[-1] <= bound(row[:-1], weights, 0.9) for row in scores)
    truly = np.ceil(0.9 * (n + 1) - 1e-9) / (n + 1)
    low, high = binom.ppf([5e-7, 1 - 5e-7], draws, truly)
    assert low <= held <= high and truly >= 0.9


def test_coverage_with_several_cases_of_a_subject():
    """Cases of a subject share most of their score; numbers of cases differ and go with it. One case of a new subject is held."""
    rng, draws, held = np.random.default_rng(0), 5000, 0
    for _ in range(draws):
        centres = rng.exponential(1.0, 21)
        cases = 1 + rng.poisson(centres)
        scores = [c + rng.exponential(0.3, k) for c, k in zip(centres, cases, strict=True)]
        limit = bound_of(np.concatenate(scores[:-1]), np.repeat(np.arange(20).astype(str), cases[:-1]))
        held += rng.choice(scores[-1]) <= limit
    assert binom.ppf(1e-6, draws, 0.9) <= held <= binom.ppf(1 - 1e-6, draws, 0.9 + 1 / 21)
