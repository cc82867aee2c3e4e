"""Masks grown and shrunk along lines, against distance maps and morphology voxel by voxel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from striate.data.checks.dilate import ball, dilated, eroded
from striate.data.checks.foreground import find_foreground
from striate.data.checks.tissue import inner

STEPS = st.tuples(*[st.sampled_from([0.7, 1.0, 1.875, 3.0, 6.0])] * 3)
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))


def _mask(shape, seed, share):
    mask = np.random.default_rng(seed).random(shape) < share
    mask[0, 0, 0], mask[-1, -1, -1] = False, mask.size > 1
    return mask


@settings(max_examples=60, deadline=None)
@given(SHAPES, STEPS, st.integers(0, 99), st.sampled_from([0.05, 0.5, 0.95]), st.sampled_from([0.5, 4.0, 7.3, 12.0]))
def test_balls_reach_as_far_as_distances_say(shape, steps, seed, share, radius_mm):
    mask = _mask(shape, seed, share)
    around = ball(radius_mm, steps, shape)
    deep_mm = ndimage.distance_transform_edt(mask, sampling=steps)
    assert np.array_equal(eroded(mask, around, outside=True), deep_mm > radius_mm)
    if mask.any():
        away_mm = ndimage.distance_transform_edt(~mask, sampling=steps)
        assert np.array_equal(dilated(mask, around), away_mm <= radius_mm)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_the_border_counts_as_it_is_told(share):
    mask, around = _mask((11, 8, 9), 0, share), ball(2.0, (1.0, 1.0, 1.0), (11, 8, 9))
    assert np.array_equal(eroded(mask, around), ndimage.binary_erosion(mask, around))
    assert np.array_equal(eroded(mask, around, outside=True), ndimage.binary_erosion(mask, around, border_value=1))
    assert np.array_equal(dilated(mask, around), ndimage.binary_dilation(mask, around))
    assert np.array_equal(dilated(mask, around, outside=True), ndimage.binary_dilation(mask, around, border_value=1))


@pytest.mark.parametrize("size", [3, 10, 20])
@pytest.mark.parametrize("thickness", [1, 25])
def test_a_core_lies_deeper_than_the_rim_or_a_share_of_the_largest_depth(size, thickness):
    steps = (2.0, 2.0, 2.0)
    mask = np.zeros((50, 44, thickness), dtype=bool)
    mask[2 : 2 + size, 0:size, :] = True
    padded = np.pad(mask, [(1, 1), (1, 1), (0, 0) if thickness == 1 else (1, 1)])
    deep_mm = ndimage.distance_transform_edt(padded, sampling=steps)
    deep_mm = deep_mm[1:-1, 1:-1, slice(None) if thickness == 1 else slice(1, -1)]
    assert np.array_equal(inner(mask, 6.0, steps), deep_mm > min(6.0, 0.4 * deep_mm.max()))


def test_voxels_whose_size_was_rounded_have_the_same_object():
    rng = np.random.default_rng(0)
    blobs = ndimage.gaussian_filter(rng.normal(size=(40, 40, 40)), 2.5)
    volume = (rng.normal(10, 2, blobs.shape) + 100 * (blobs > 0)).astype(np.float32)
    exact, rounded = (find_foreground(volume, (step,) * 3).coarse_mask for step in (1.5, 1.5000001))
    assert 0.1 < exact.mean() < 0.9 and np.array_equal(exact, rounded)
