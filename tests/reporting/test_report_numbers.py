"""How numbers are written."""

from __future__ import annotations

import math

import pytest

from striate.reporting.numbers import (
    bounds,
    compact,
    fixed,
    interval,
    interval_name,
    joined,
    number,
    plain_text,
    product,
    volume,
    volume_decimals,
)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, None),
        (math.nan, None),
        (math.inf, None),
        ("x", None),
        (True, None),
        ({"value": 3}, 3.0),
        ("2.5", 2.5),
        (0, 0.0),
    ],
)
def test_number(given: object, wanted: float | None) -> None:
    assert number(given) == wanted


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (fixed(-1.234, 2), "−1.23"),
        (fixed(-0.0001, 2), "0.00"),
        (fixed(None), "–"),
        (fixed(12345.6, 1), "12\u202f345.6"),
        (volume(0.0123), "0.012"),
        (volume(1.234), "1.23"),
        (volume(123.4), "123.4"),
        (volume({"value": 5}), "5.00"),
        (compact(31_199_796), "31.2\u00a0M"),
        (compact(12), "12"),
        (compact(2.3e-5), "2.3·10⁻⁵"),
        (compact(0.4), "0.4"),
        (compact(None), "–"),
        (interval(0.8, None), ""),
        (interval(0.8, 0.9), "0.80 to 0.90"),
        (bounds({"value": 1, "low": 0.8, "high": 1.25}, 1), "0.8 to 1.2"),
        (bounds(3.0), ""),
        (interval_name([{"low": 1, "high": 2, "coverage": 0.9}, {"value": 1}]), "90 % interval"),
        (interval_name([{"low": 1, "high": 2, "coverage": 0.9}, {"low": 1, "high": 2, "coverage": 0.95}]), "interval"),
        (product([1.0, 1.0, 3.0]), "1\u00a0×\u00a01\u00a0×\u00a03"),
        (plain_text({"a": [1, 2]}), "a: 1, 2"),
        (plain_text(True), "yes"),
        (joined(["a", "b", "c"]), "a, b and c"),
        (joined([]), ""),
    ],
)
def test_written(written: str, wanted: str) -> None:
    assert written == wanted


def test_a_column_has_one_number_of_decimals() -> None:
    assert volume_decimals([156.5, 24.5, 0.2]) == 1
    assert volume_decimals([0.5, 2.0, None]) == 2
    assert volume_decimals([0.01]) == 3
    assert volume_decimals([]) == 2
