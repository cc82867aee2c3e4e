"""Surface distances: hand-computed, anisotropic, 2D, empty; equal to MONAI, close to surface-distance."""

import numpy as np
import pytest

from striate.core.errors import GeometryError
from striate.measure.pair import MEASURES, Pair
from striate.measure.surface import boundary, surface_distances_mm

SPACING = (0.9, 1.1, 3.0)


def hd95_mm(predicted, truth, spacing_mm):
    return MEASURES["hd95_mm"](Pair(predicted, truth, spacing_mm, 1.0))


def assd_mm(predicted, truth, spacing_mm):
    return MEASURES["assd_mm"](Pair(predicted, truth, spacing_mm, 1.0))


def blobs(seed, shape=(26, 22, 14)):
    """Two smooth random masks of several pieces that overlap in part."""
    from scipy.ndimage import gaussian_filter, shift

    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal(shape), 2.0)
    other = 0.6 * shift(field, rng.uniform(-2, 2, len(shape))) + 0.4 * gaussian_filter(rng.standard_normal(shape), 2.0)
    return field > np.quantile(field, 0.85), other > np.quantile(other, 0.88)


def monai_of(function, predicted, truth, spacing, **options):
    import torch

    tensors = [torch.from_numpy(m.copy())[None, None].float() for m in (predicted, truth)]
    return float(function(*tensors, include_background=True, spacing=list(spacing), **options))


def test_boundary_by_hand():
    mask = np.zeros((5, 5), bool)
    mask[1:4, 1:4] = True
    expected = mask.copy()
    expected[2, 2] = False
    assert np.array_equal(boundary(mask), expected)
    assert boundary(np.ones((3, 3, 3), bool)).sum() == 26  # the image's edge is a boundary too


def test_two_points_by_hand():
    predicted, truth = np.zeros((8, 8, 8), bool), np.zeros((8, 8, 8), bool)
    predicted[1, 1, 1], truth[4, 5, 1] = True, True
    assert hd95_mm(predicted, truth, (1, 1, 1)) == pytest.approx(5.0)
    assert assd_mm(predicted, truth, (2, 1, 9)) == pytest.approx(np.hypot(6, 4))


def test_percentile_and_mean_by_hand():
    """A row of 20 voxels against its first: distances 0 … 19 one way, 0 the other."""
    predicted, truth = np.zeros((20, 3), bool), np.zeros((20, 3), bool)
    predicted[:, 1], truth[0, 1] = True, True
    forward, backward = surface_distances_mm(predicted, truth, (2.0, 1.0))
    assert sorted(forward) == pytest.approx(list(np.arange(20) * 2.0))
    assert list(backward) == [0.0]
    assert hd95_mm(predicted, truth, (2.0, 1.0)) == pytest.approx(0.95 * 19 * 2)
    assert assd_mm(predicted, truth, (2.0, 1.0)) == pytest.approx(np.arange(20).sum() * 2 / 21)


def test_empty_masks_have_no_distance():
    empty, full = np.zeros((3, 3), bool), np.ones((3, 3), bool)
    for pair in ((empty, full), (full, empty), (empty, empty)):
        assert hd95_mm(*pair, (1, 1)) is None
        assert assd_mm(*pair, (1, 1)) is None


def test_equal_masks_are_zero_apart():
    mask, _ = blobs(0)
    assert hd95_mm(mask, mask, SPACING) == assd_mm(mask, mask, SPACING) == 0.0


def test_spacing_needs_one_value_per_axis():
    with pytest.raises(GeometryError, match="2 values"):
        hd95_mm(np.ones((2, 2, 2)), np.ones((2, 2, 2)), (1.0, 1.0))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("shape", "spacing"), [((26, 22, 14), SPACING), ((40, 30), (0.7, 1.6))])
def test_equal_to_monai(seed, shape, spacing):
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    predicted, truth = blobs(seed, shape)
    theirs = monai_of(compute_hausdorff_distance, predicted, truth, spacing, percentile=95)
    assert hd95_mm(predicted, truth, spacing) == pytest.approx(theirs, rel=1e-5)
    theirs = monai_of(compute_average_surface_distance, predicted, truth, spacing, symmetric=True)
    assert assd_mm(predicted, truth, spacing) == pytest.approx(theirs, rel=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("shape", "spacing"), [((26, 22, 14), SPACING), ((40, 30), (0.7, 1.6))])
def test_within_a_voxel_of_surface_distance(seed, shape, spacing):
    """Surface elements lie half a voxel beside voxel centres on both masks: less than one diagonal in all."""
    import surface_distance

    predicted, truth = blobs(seed, shape)
    diagonal = float(np.linalg.norm(spacing))
    theirs = surface_distance.compute_surface_distances(truth, predicted, spacing)
    robust = surface_distance.compute_robust_hausdorff(theirs, 95)
    assert abs(hd95_mm(predicted, truth, spacing) - robust) < diagonal
    forth, back = surface_distance.compute_average_surface_distance(theirs)
    assert abs(assd_mm(predicted, truth, spacing) - (forth + back) / 2) < diagonal / 2
