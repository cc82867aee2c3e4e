"""`compare_means`: the difference of means on the same cases."""

from __future__ import annotations

import numpy as np
import pytest

from striate.core.errors import DataError
from striate.measure.paired_means import compare_means


def test_a_hand_computed_difference():
    found = compare_means([0.9, 0.8, 0.7, 0.6], [0.8, 0.7, 0.5, np.nan], ["a", "a", "b", "c"])
    assert (found.first, found.second) == (pytest.approx(0.8), pytest.approx(2 / 3))
    assert found.difference.value == pytest.approx(0.4 / 3)
    assert found.difference.n == 3
    # draws of two subjects: aa 0.1, ab and ba 0.4/3, bb 0.2: never on the other side of zero
    assert found.p == pytest.approx(2 / 2001)
    assert 0.1 <= found.difference.low <= found.difference.high <= 0.2


def test_nobody_and_one_subject():
    nothing = compare_means([np.nan], [0.5], ["a"])
    assert (nothing.difference.value, nothing.p) == (None, None)
    one = compare_means([0.9, 0.8], [0.5, 0.6], ["a", "a"])
    assert (one.difference.value, one.difference.low, one.p) == (pytest.approx(0.3), None, None)


def test_lengths():
    with pytest.raises(DataError, match=r"2 and 1 value, 2 subjects"):
        compare_means([1, 2], [1], ["a", "b"])
