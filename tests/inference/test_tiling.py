"""Windows cover everything, their weights add up to one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.inference.tiling import Tiling

AXES = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 30)), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(AXES, st.floats(0, 0.9))
def test_every_voxel_is_covered_with_weights_that_add_up_to_one(axes, overlap):
    size, patch = tuple(n for n, _ in axes), tuple(p for _, p in axes)
    tiling = Tiling.of(size, patch, overlap)
    for axis, (n, p) in enumerate(axes):
        total = np.zeros(n)
        for start, weight in zip(tiling.starts[axis], tiling.weights(axis), strict=True):
            low, high = max(start, 0), min(start + p, n)
            total[low:high] += weight[low - start : high - start]
        np.testing.assert_allclose(total, 1, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 60), st.floats(0, 0.9))
def test_neighbours_overlap_as_asked_and_none_is_needless(size, patch, overlap):
    starts = Tiling.of((size,), (patch,), overlap).starts[0]
    steps = np.diff(starts)
    longest = max(1.0, patch * (1 - overlap))
    assert (steps >= 1).all() and (steps <= np.ceil(longest)).all()
    if len(starts) > 2:
        assert (size - patch) / (len(starts) - 2) > longest


def test_by_hand():
    tiling = Tiling.of((10, 7, 4), (4, 4, 8), 0.5)
    assert tiling.starts == ((0, 2, 4, 6), (0, 2, 3), (-2,))
    assert tiling.count == 12
    assert tiling.rolling_axis == 0


def test_the_weight_is_gaussian_with_an_eighth_of_the_patch():
    weight = Tiling.of((64,), (16,), 0.0).weights(0)[0]
    assert weight[8] == pytest.approx(1)  # alone, whatever it is
    low, high = Tiling.of((24,), (16,), 0.5).weights(0)
    place = np.arange(16) - 7.5
    gauss = np.exp(-0.5 * (place / 2) ** 2)
    np.testing.assert_allclose(low[8:] / high[:8], gauss[8:] / gauss[:8], rtol=1e-4)
