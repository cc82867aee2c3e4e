"""Dice and IoU: hand-computed cases, empty masks, identities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from striate.core.errors import GeometryError
from striate.measure.overlap import dice, iou

PAIRS = array_shapes(min_dims=2, max_dims=3, max_side=5).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)


def test_hand_computed():
    predicted = np.array([[1, 1, 0], [0, 0, 0]])
    truth = np.array([[0, 1, 1], [1, 0, 0]])
    assert dice(predicted, truth) == pytest.approx(2 * 1 / (2 + 3))
    assert iou(predicted, truth) == pytest.approx(1 / 4)


def test_empty_masks():
    empty, full = np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool)
    assert dice(empty, empty) == iou(empty, empty) == 1.0
    assert dice(empty, full) == iou(full, empty) == 0.0


def test_any_non_zero_value_belongs_to_the_mask():
    labels = np.array([[0, 3, 7]], np.uint8)
    assert dice(labels, labels > 0) == 1.0


def test_shapes_must_agree():
    with pytest.raises(GeometryError, match=r"shape \(2, 2\).*truth's shape \(2, 3\)"):
        dice(np.zeros((2, 2), bool), np.zeros((2, 3), bool))


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_identities(pair):
    predicted, truth = pair
    d, j = dice(predicted, truth), iou(predicted, truth)
    assert 0 <= j <= d <= 1
    assert d == pytest.approx(2 * j / (1 + j))
    assert d == dice(truth, predicted)
    assert dice(truth, truth) == iou(truth, truth) == 1.0
