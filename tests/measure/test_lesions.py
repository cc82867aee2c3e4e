"""Lesion-wise measures: the rule by hand, its two parameters, empty masks, and the WMH challenge's own way of counting."""

import numpy as np
import pytest

from striate.core.errors import GeometryError, UsageError
from striate.measure.components import components, in_order
from striate.measure.lesions import LesionOverlap, LesionRule


def masks():
    """Truth: lesions of 8, 4 and 1 voxels. Prediction: 1 voxel of the first, all of the third, one of 3 voxels elsewhere."""
    truth, predicted = np.zeros((20, 20, 3), bool), np.zeros((20, 20, 3), bool)
    truth[1:3, 1:3, 0:2] = True
    truth[10:12, 10:12, 1] = True
    truth[18, 18, 2] = True
    predicted[2, 2, 1] = True
    predicted[18, 18, 2] = True
    predicted[5, 14:17, 0] = True
    return predicted, truth


def test_by_hand():
    match = LesionOverlap.of(*masks(), voxel_volume_ml=0.001).match()
    assert (match.predicted, match.truth, match.right, match.found) == (3, 3, 2, 2)
    assert match.precision == match.recall == match.f1 == pytest.approx(2 / 3)


def test_touching_by_a_corner_is_one_lesion():
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = True
    assert components(mask)[1] == 2
    assert components(np.eye(4, dtype=bool))[1] == 1


def test_minimal_overlap():
    """One of 8 voxels is 12.5 %: found at 0.1 and 0.125, missed at 0.13."""
    for share, found in ((0.1, 2), (0.125, 2), (0.13, 1), (1.0, 1)):
        assert LesionOverlap.of(*masks(), 0.001, LesionRule(minimal_overlap=share)).match().found == found


def test_minimal_volume():
    """Below 3 mm³: the true lesion of 1 voxel and both predicted ones of 1 voxel do not count, but still cover."""
    match = LesionOverlap.of(*masks(), 0.001, LesionRule(minimal_lesion_ml=0.003)).match()
    assert (match.predicted, match.truth, match.right, match.found) == (1, 2, 0, 1)


def test_a_prediction_on_a_small_true_lesion_is_not_false():
    truth, predicted = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    truth[4, 4] = True
    predicted[3:6, 3:6] = True
    match = LesionOverlap.of(predicted, truth, 1.0, LesionRule(minimal_lesion_ml=2.0)).match()
    assert (match.truth, match.recall, match.precision) == (0, None, 1.0)


def test_empty_masks():
    empty, full = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    both = LesionOverlap.of(empty, empty, 0.001).match()
    assert (both.precision, both.recall, both.f1) == (None, None, 1.0)
    missed = LesionOverlap.of(empty, full, 0.001).match()
    assert (missed.precision, missed.recall, missed.f1) == (None, 0.0, 0.0)
    invented = LesionOverlap.of(full, empty, 0.001).match()
    assert (invented.precision, invented.recall, invented.f1) == (0.0, None, 0.0)


def test_one_blob_over_two_lesions():
    truth, predicted = np.zeros((9, 3), bool), np.ones((9, 3), bool)
    truth[1, 1] = truth[7, 1] = True
    match = LesionOverlap.of(predicted, truth, 1.0).match()
    assert (match.found, match.right, match.predicted) == (2, 1, 1)


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_an_independent_count(seed):
    """SimpleITK's fully connected components, counted by sets of numbers."""
    sitk = pytest.importorskip("SimpleITK")
    rng = np.random.default_rng(seed)
    predicted, truth = rng.random((12, 13, 9)) < 0.04, rng.random((12, 13, 9)) < 0.04
    predicted |= truth & (rng.random(truth.shape) < 0.5)

    def numbers(mask):
        return sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))

    ours, theirs = numbers(predicted), numbers(truth)
    found, right = set(theirs[predicted].tolist()) - {0}, set(ours[truth].tolist()) - {0}
    match = LesionOverlap.of(predicted, truth, 1.0).match()
    assert (match.predicted, match.truth) == (ours.max(), theirs.max())
    assert (match.right, match.found) == (len(right), len(found))
    precision, recall = len(right) / ours.max(), len(found) / theirs.max()
    assert match.f1 == pytest.approx(2 * precision * recall / (precision + recall))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rule", [LesionRule(), LesionRule(0.4), LesionRule(0.3, 0.002)])
def test_detected_is_what_masks_of_rising_thresholds_show(seed, rule):
    """Keep the predicted lesions of at least each score, match those masks, and count."""
    rng = np.random.default_rng(seed)
    shape = (16, 15, 8)
    predicted, truth = rng.random(shape) < 0.06, rng.random(shape) < 0.05
    truth[2:5, 2:9, 3] = True  # several predicted lesions share it
    predicted |= truth & (rng.random(shape) < 0.4)
    overlap = LesionOverlap.of(predicted, truth, 0.001, rule)
    numbers, count = components(predicted)
    voxels = np.bincount(numbers.ravel())[1:]
    scores = np.round(rng.random(count), 1)  # some are equal
    found, false = overlap.detected(scores[in_order(numbers, voxels)])
    assert len(found) == overlap.match().truth and overlap.predicted_voxels.sum() == predicted.sum()
    for threshold in np.arange(0, 1.05, 0.1).round(1):
        kept = np.isin(numbers, 1 + np.flatnonzero(scores >= threshold))
        match = LesionOverlap.of(kept, truth, 0.001, rule).match()
        assert np.count_nonzero(found >= threshold) == match.found
        assert np.count_nonzero(false >= threshold) == match.predicted - match.right


@pytest.mark.parametrize(
    "rule", [{"minimal_overlap": 1.5}, {"minimal_overlap": float("nan")}, {"minimal_lesion_ml": -1.0}]
)
def test_impossible_rules(rule):
    with pytest.raises(UsageError, match=r"minimal .*: (a share|0 or more)"):
        LesionRule(**rule)


def test_shapes_must_agree():
    with pytest.raises(GeometryError, match="shape"):
        LesionOverlap.of(np.zeros((2, 2)), np.zeros((3, 2)), 1.0)
