import json

import numpy as np
import pytest

from striate.core.errors import DataError, UsageError
from striate.trust.likeness import METHODS, Likeness, likeness_features, shrinkage


def gaussian(n, f=12, seed=0):
    rng, mixing = np.random.default_rng(seed), np.random.default_rng(99).normal(size=(3, f))
    return (rng.normal(size=(n, 3)) @ mixing + 0.4 * rng.normal(size=(n, f))) * np.linspace(0.5, 3, f) + 4


def names(n):
    return [f"s{i}" for i in range(n)]


@pytest.mark.parametrize("method", METHODS)
def test_what_lies_far_away_scores_higher_and_the_threshold_holds(method):
    held = []
    for seed in range(20):
        rows = gaussian(100, seed=seed)
        fitted = Likeness.fit(rows[:40], names(40), method)
        alike = np.array([fitted.score(x) for x in rows[40:]])
        assert min(fitted.score(x) for x in rows[40:] + 15) > alike.max()
        held.append(np.mean(alike <= fitted.threshold))
    assert 0.92 < np.mean(held) < 0.99  # 95 %, on average over fits


@pytest.mark.parametrize("method", METHODS)
def test_read_back_equal(method):
    fitted = Likeness.fit(gaussian(25), names(25), method)
    again = Likeness.from_dict(json.loads(json.dumps(fitted.to_dict())))
    x = gaussian(1, seed=3)[0]
    assert again.score(x) == fitted.score(x) and again.summary() == fitted.summary()


@pytest.mark.parametrize("method", METHODS)
def test_scores_left_out_know_nothing_of_the_subject(method):
    rows = gaussian(10)
    fitted = Likeness.fit(rows, [*names(8), "s0", "s1"], method)
    rest = [i for i in range(10) if i not in (0, 8)]
    alone = Likeness.fit(rows[rest], [str(i) for i in rest], method)
    np.testing.assert_allclose(fitted.left_out[[0, 8]], [alone.score(rows[0]), alone.score(rows[8])])


def test_mahalanobis_is_the_plain_formula():
    rows, new = gaussian(30, 6), gaussian(1, 6, seed=5)[0]
    x = (rows - rows.mean(0)) / rows.std(0)
    s, level = shrinkage(x)
    covariance = (1 - s) * x.T @ x / 30 + s * level * np.eye(6)
    y = (new - rows.mean(0)) / rows.std(0)
    wanted = np.sqrt(y @ np.linalg.inv(covariance) @ y / 6)
    assert Likeness.fit(rows, names(30)).score(new) == pytest.approx(wanted)


def test_shrinkage_is_ledoit_and_wolfs():
    x = gaussian(15, 40)
    x -= x.mean(0)
    n, f = x.shape
    s = x.T @ x / n
    level = np.trace(s) / f
    apart = ((s - level * np.eye(f)) ** 2).sum()
    noise = sum(((np.outer(r, r) - s) ** 2).sum() for r in x) / n**2
    assert shrinkage(x) == pytest.approx((min(noise / apart, 1), level))


def test_too_few_subjects_have_no_threshold_or_nothing():
    assert Likeness.fit(gaussian(6), ["a", "b"] * 3) is None
    few = Likeness.fit(gaussian(3), names(3))
    assert few.threshold is None and few.n_subjects == 3 and np.isfinite(few.score(gaussian(1)[0]))
    assert Likeness.fit(gaussian(18), names(18)).threshold is None
    assert Likeness.fit(gaussian(19), names(19)).threshold is not None


def test_cases_that_are_equal_do_not_divide_by_zero():
    for method in METHODS:
        fitted = Likeness.fit(np.ones((5, 4)), names(5), method)
        assert fitted.score(np.ones(4)) == 0 and fitted.score(np.full(4, 2.0)) > 0


def test_wrong_input_gets_a_sentence():
    with pytest.raises(UsageError, match="method 'x'"):
        Likeness.fit(gaussian(5), names(5), "x")
    with pytest.raises(UsageError, match="5 subjects"):
        Likeness.fit(gaussian(4), names(5))
    with pytest.raises(UsageError, match="3 features; 12 are needed"):
        Likeness.fit(gaussian(5), names(5)).score(np.ones(3))
    with pytest.raises(DataError, match="NaN"):
        Likeness.fit(np.full((5, 2), np.nan), names(5))


def test_facts_and_network_make_one_vector():
    facts = {"flair": {"noise": 0.1, "edge": None, "blur": 0.3, "quantiles": [1.0] * 25}, "t1": {}}
    row = likeness_features(facts, np.array([7.0, 8.0], np.float32))
    assert row.shape == (2 * (5 + 3 + 25) + 2,) and row[-2:].tolist() == [7, 8]
    assert row[:2] == pytest.approx([np.log(0.1), 0]) and row[5] == 0.3 and row[8] == 1
    assert not row[33:66].any()
