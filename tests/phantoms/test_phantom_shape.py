import numpy as np
import pytest
from scipy import ndimage

from striate.phantoms.anatomy import template
from striate.phantoms.shape import FIELDS, WARP_MM, draw_shape, spline_basis, warp


def test_spline_weights_sum_to_one_and_match_scipy():
    positions = np.linspace(2, 9, 50, dtype=np.float32)
    weights = spline_basis(positions, 12)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    coefficients = np.random.default_rng(0).normal(size=12)
    expected = ndimage.map_coordinates(coefficients, positions[None], order=3, prefilter=False)
    np.testing.assert_allclose(weights @ coefficients, expected, atol=1e-5)


def test_spline_weights_at_a_knot_by_hand():
    np.testing.assert_allclose(
        spline_basis(np.array([2.0], dtype=np.float32), 5)[0], [0, 1 / 6, 4 / 6, 1 / 6, 0], atol=1e-7
    )


@pytest.mark.parametrize("seed", range(4))
def test_deformation_never_folds(seed):
    values = warp(draw_shape(np.random.default_rng(seed)), template()).values
    rows = [np.stack(np.gradient(values[axis], WARP_MM)) for axis in range(3)]
    determinant = np.linalg.det(np.moveaxis(np.stack(rows), (0, 1), (-2, -1)))
    brain = values[3] > 0
    assert (determinant[brain] > 0.1).mean() > 0.999
    assert 0.8 < np.median(determinant[brain]) < 1.25


def test_subjects_differ_by_millimetres():
    one, two = (warp(draw_shape(np.random.default_rng(seed)), template()) for seed in (0, 1))
    apart = np.linalg.norm(one.values[:3] - two.values[:3], axis=0)[one.values[3] > 0]
    assert 2 < np.median(apart) < 15


def test_warp_interpolates_its_own_grid():
    warped = warp(draw_shape(np.random.default_rng(3)), template())
    points = np.array([[0, 3, -6], [0, -9, 30], [0, 12, 3]], dtype=np.float32)
    index = (points / WARP_MM).astype(int) + np.array([[30], [36], [32]])
    np.testing.assert_allclose(warped.at(points), warped.values[:, index[0], index[1], index[2]], atol=1e-3)


def test_every_subject_has_its_own_sulci():
    one, two = (warp(draw_shape(np.random.default_rng(seed)), template()) for seed in (0, 1))
    near = [np.abs(w.values[5]) < 1.5 for w in (one, two)]
    cortex = (one.values[3] > 0) & (one.values[3] < 12)
    assert all(0.05 < n[cortex].mean() < 0.4 for n in near)
    assert (near[0] & near[1])[cortex].mean() < 0.5 * near[0][cortex].mean()
    slope = np.sqrt(sum(part**2 for part in np.gradient(one.values[5], WARP_MM)))
    assert 0.6 < np.median(slope[near[0] & cortex]) < 1.3  # a distance changes by 1 mm a mm


def test_fields_are_drawn_with_the_stated_spread():
    shape = draw_shape(np.random.default_rng(0))
    for (_, spread_mm), coefficients in zip(FIELDS, shape.fields, strict=True):
        inner = coefficients[0]
        for axis in range(3):
            inner = ndimage.convolve1d(inner, [1 / 6, 4 / 6, 1 / 6], axis=axis, mode="wrap")
        assert inner.std() == pytest.approx(spread_mm, rel=0.15)
