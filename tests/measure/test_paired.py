"""Two classifiers: McNemar by hand and against scipy, Holm by hand, the paired bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from striate.core.errors import DataError, UsageError
from striate.measure.paired import compare, holm, mcnemar


def two(count: int, gains: tuple[float, float], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(2, size=count)
    common = rng.normal(size=count)
    said = []
    for gain in gains:
        p = 1 / (1 + np.exp(-(common + 0.3 * rng.normal(size=count) + gain * (2 * truth - 1))))
        said.append(np.stack([1 - p, p], axis=1))
    return truth, said[0], said[1]


def test_mcnemar_by_hand() -> None:
    """One against five discordant: p = 2 · (1 + 6) / 2⁶."""
    first = np.array([1] * 10 + [1] + [0] * 5 + [0] * 3, bool)
    second = np.array([1] * 10 + [0] + [1] * 5 + [0] * 3, bool)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (1, 5)
    assert found.p == pytest.approx(14 / 64)
    assert mcnemar(first, first).p == 1


@pytest.mark.parametrize(("one", "other"), [(0, 9), (3, 12), (7, 7), (40, 22)])
def test_mcnemar_is_the_binomial_test(one: int, other: int) -> None:
    first = np.array([1] * one + [0] * other, bool)
    assert mcnemar(first, ~first).p == pytest.approx(binomtest(one, one + other).pvalue)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.5, 0.9]) == (1.0, 1.0)
    assert holm([]) == ()
    with pytest.raises(UsageError, match=r"1\.5"):
        holm([1.5])


def test_the_difference_is_that_of_the_measures() -> None:
    truth, first, second = two(200, (1.0, 0.5))
    found = compare(["a", "b"], truth, first, second, [f"s{n}" for n in range(200)])
    accuracy = found.differences["overall"]["accuracy"]
    wanted = (first.argmax(axis=1) == truth).mean() - (second.argmax(axis=1) == truth).mean()
    assert accuracy.difference.value == pytest.approx(wanted)
    assert accuracy.first - accuracy.second == pytest.approx(wanted)
    area = found.differences["b"]["auc"]
    assert area.difference.low > 0
    assert area.p < 0.01
    assert (found.samples, found.subjects) == (200, 200)
    assert found.to_dict()["differences"]["b"]["auc"]["difference"]["n"] == 200


def test_pairing_makes_the_interval_narrow() -> None:
    """Classifiers that err on the same samples: the paired interval is narrower than two apart would give."""
    from striate.measure.classification import ClassEvaluation

    truth, first, second = two(200, (0.6, 0.55))
    subjects = [f"s{n}" for n in range(200)]
    paired = compare(["a", "b"], truth, first, second, subjects).differences["b"]["auc"].difference
    alone = ClassEvaluation.of(["a", "b"], truth, first, subjects).summary["b"]["auc"]
    assert paired.high - paired.low < 0.7 * (alone.high - alone.low)


def test_the_same_classifier_does_not_differ() -> None:
    truth, first, _ = two(60, (1.0, 0.5))
    found = compare(["a", "b"], truth, first, first, [f"s{n}" for n in range(60)])
    one = found.differences["overall"]["accuracy"]
    assert (one.difference.value, one.difference.low, one.difference.high, one.p) == (0, 0, 0, 1)
    assert found.mcnemar.p == 1


def test_p_is_uniform_when_there_is_no_difference() -> None:
    small = 0
    for seed in range(100):
        truth, first, second = two(80, (0.6, 0.6), seed)
        found = compare(["a", "b"], truth, first, second, [str(n) for n in range(80)], draws=200)
        small += found.differences["b"]["auc"].p < 0.1
    assert 2 <= small <= 20


def test_one_subject_has_neither_interval_nor_p() -> None:
    truth, first, second = two(40, (1.0, 0.5))
    one = compare(["a", "b"], truth, first, second, ["s"] * 40).differences["overall"]["accuracy"]
    assert (one.difference.low, one.p) == (None, None)


def test_other_samples_are_refused() -> None:
    truth, first, second = two(40, (1.0, 0.5))
    with pytest.raises(DataError, match=r"\(40, 2\) and \(39, 2\)"):
        compare(["a", "b"], truth, first, second[1:], ["s"] * 40)
    with pytest.raises(DataError, match="the same samples"):
        mcnemar(np.ones(3), np.ones(4))
