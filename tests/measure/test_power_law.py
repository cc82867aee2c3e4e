"""`power_law`: exact on exact numbers, honest about what cannot be fitted."""

from __future__ import annotations

import numpy as np
import pytest

from striate.core.errors import UsageError
from striate.measure.power_law import PowerLaw, fit_power_law, foresee

N = [10, 30, 100, 300, 1000]


def test_without_offset_exact_numbers_come_back():
    law = fit_power_law(N[:3], [2 * n**-0.5 for n in N[:3]])
    assert law.a == pytest.approx(2, rel=1e-12)
    assert (law.b, law.c, law.explained) == (pytest.approx(0.5, rel=1e-12), 0, pytest.approx(1))
    assert law.at(400) == pytest.approx(0.1)


@pytest.mark.parametrize(("a", "b", "c"), [(2, 0.5, 0.05), (0.9, 0.2, 0.1), (5, 1.0, 0.02), (2, 0.5, 0.0)])
def test_with_offset_exact_numbers_come_back(a, b, c):
    law = fit_power_law(N, [a * n**-b + c for n in N])
    assert (law.a, law.b) == (pytest.approx(a, rel=1e-3), pytest.approx(b, rel=1e-3))
    assert law.c == pytest.approx(c, abs=1e-4)


def test_the_line_is_that_of_ordinary_least_squares_in_logarithms():
    errors = [0.4, 0.33, 0.2]
    slope, intercept = np.polyfit(np.log(N[:3]), np.log(errors), 1)
    law = fit_power_law(N[:3], errors)
    assert (law.b, np.log(law.a)) == (pytest.approx(-slope), pytest.approx(intercept))
    left = np.log(errors) - (slope * np.log(N[:3]) + intercept)
    assert law.explained == pytest.approx(1 - left.var() / np.var(np.log(errors)))


def test_the_offset_never_makes_the_fit_worse():
    rng = np.random.default_rng(0)
    for _ in range(20):
        errors = (N ** -rng.uniform(0.1, 1, 1) + rng.uniform(0, 0.2)) * rng.uniform(0.8, 1.2, 5)
        with_c, without = (fit_power_law(N, errors, offset=o) for o in (True, False))
        assert with_c.explained >= without.explained - 1e-9
        assert 0 <= with_c.c < errors.min()


def test_equal_errors_explain_nothing():
    assert fit_power_law([1, 2, 4], [0.3, 0.3, 0.3]) == PowerLaw(pytest.approx(0.3), pytest.approx(0), 0, None)


def test_foreseen_interval_is_that_of_the_draws():
    rng = np.random.default_rng(1)
    true = np.array([2 * n**-0.5 for n in N[:3]])
    drawn = true * np.exp(0.05 * rng.normal(size=(4000, 3)))
    law, foreseen, exponent = foresee(N[:3], true.tolist(), drawn, 200)
    slopes = np.polyfit(np.log(N[:3]), np.log(drawn).T, 1)
    assert exponent == pytest.approx(np.quantile(-slopes[0], (0.025, 0.975)))
    ends = np.exp(np.quantile(slopes[0] * np.log(200) + slopes[1], (0.025, 0.975)))
    assert (foreseen.low, foreseen.high) == (pytest.approx(ends[0]), pytest.approx(ends[1]))
    assert foreseen.error == pytest.approx(law.at(200)) == pytest.approx(2 / np.sqrt(200))


def test_draws_that_do_not_exist_are_left_out_or_are_too_many():
    drawn = np.array([[0.4, 0.3, 0.2]] * 6 + [[np.nan, 0.3, 0.2]] * 4)
    assert foresee(N[:3], [0.4, 0.3, 0.2], drawn, 200)[1] is not None
    assert foresee(N[:3], [0.4, 0.3, 0.2], drawn[5:], 200)[1:] == (None, None)
    assert foresee(N[:3], [0.4, 0.3, 0.2], np.zeros((0, 3)), 200)[1:] == (None, None)


@pytest.mark.parametrize(
    ("n", "errors", "message"),
    [
        ([10, 10], [0.1, 0.2], r"2 amounts \[10\.0\] and 2 errors; an error for each of at least two different"),
        ([10, 20], [0.1], r"2 amounts .* and 1 error;"),
        ([0, 20], [0.1, 0.2], r"amounts from 0"),
        ([10, 20], [-0.1, 0.2], r"errors from -0\.1"),
    ],
)
def test_what_cannot_be_fitted_is_refused(n, errors, message):
    with pytest.raises(UsageError, match=message):
        fit_power_law(n, errors)


def test_an_error_of_zero_has_a_place():
    assert np.isfinite(fit_power_law([10, 100, 1000], [0.1, 0.01, 0.0]).b)
