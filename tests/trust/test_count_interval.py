"""Intervals of numbers of lesions: against trying every number, coverage of exchangeable subjects, the ends."""

import numpy as np
import pytest
from scipy.stats import binom

from striate.trust.count_interval import Counted, conforms, count_interval


def drawn(rng, subject):
    """A mask that misses four lesions of ten, runs some together and invents one or two."""
    true = int(rng.negative_binomial(2, 0.12))
    predicted = int(rng.binomial(true, rng.uniform(0.4, 0.8)) + rng.poisson(1.5))
    return Counted(subject, predicted, predicted * float(rng.uniform(0.6, 0.95)), true)


def conforms_by_loops(case, others, true, coverage):
    """One case per subject, written out: median of n + 1 ratios, share of n + 1 scores that are not smaller."""
    rows = [*((o.predicted, o.evident, o.true) for o in others), (case.predicted, case.evident, true)]
    ratios = sorted((y + 1) / (e + 1) for _, e, y in rows)
    ratio = ratios[(len(rows) + 1) // 2 - 1]
    scores = []
    for k, e, y in rows:
        centre = ratio * (e + 1) - 1
        scores.append(0.0 if min(k, centre) <= y <= max(k, centre) else abs(y - centre) / (e + 1) ** 0.5)
    return sum(s >= scores[-1] - 1e-9 for s in scores) / len(rows) > 1 - coverage + 1e-9


@pytest.mark.parametrize("n", [9, 12, 25])
def test_against_trying_every_number(n):
    rng = np.random.default_rng(n)
    for _ in range(12):
        case, *others = (drawn(rng, str(i)) for i in range(n + 1))
        kept = [y for y in range(400) if conforms_by_loops(case, others, y, 0.9)]
        assert count_interval(case, others, 0.9) == (min(kept), max(kept))
        assert conforms(case, others, 0.9) == conforms_by_loops(case, others, case.true, 0.9)


@pytest.mark.parametrize("n", [9, 29])
def test_coverage_of_exchangeable_subjects(n):
    """At least 90 %, and hardly more though numbers tie, within what 3000 draws allow."""
    rng, draws = np.random.default_rng(1), 3000
    pool = [drawn(rng, str(i)) for i in range(3000)]
    held = 0
    for _ in range(draws):
        case, *others = (pool[i] for i in rng.choice(len(pool), n + 1, replace=False))
        held += conforms(case, others, 0.9)
    assert binom.ppf(1e-6, draws, 0.9) <= held <= binom.ppf(1 - 1e-6, draws, 0.92)


def test_a_mask_that_is_always_right():
    others = [Counted(str(i), i, 0.9 * i, i) for i in range(12)]
    assert count_interval(Counted("new", 7, 6.3), others, 0.9) == (7, 7)
    assert count_interval(Counted("new", 0, 0.0), others, 0.9) == (0, 0)


def test_a_mask_that_always_shows_half():
    """Bias moves the interval; the number shown stays in it, at its end."""
    others = [Counted(str(i), i, float(i), 2 * i + 1) for i in range(1, 20)]
    low, high = count_interval(Counted("new", 10, 10.0), others, 0.9)
    assert (low, high) == (10, 21)


def test_one_strange_subject_does_not_widen_all():
    others = [*(Counted(str(i), 10, 9.0, 10 + i % 3) for i in range(18)), Counted("strange", 10, 9.0, 4000)]
    low, high = count_interval(Counted("new", 10, 9.0), others, 0.9)
    assert 5 <= low <= 10 <= high <= 20


def test_very_many_lesions_stay_finite():
    rng = np.random.default_rng(2)
    others = [drawn(rng, str(i)) for i in range(15)]
    low, high = count_interval(Counted("new", 5000, 4500.0), others, 0.9)
    assert 0 <= low <= 5000 <= high < 100_000


def test_too_few_subjects():
    eight = [Counted(str(i % 8), 1, 1.0, 1) for i in range(30)]
    assert count_interval(Counted("new", 1, 1.0), eight, 0.9) is None
    assert count_interval(Counted("new", 1, 1.0), [], 0.9) is None
