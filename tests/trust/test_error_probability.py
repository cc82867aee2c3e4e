"""The probability that a voxel is wrong, by hand: inside, outside, exclusive labels and regions."""

from pathlib import Path

import numpy as np
import pytest
from simulated_evidence import simulated

from striate.core.case import Case
from striate.core.errors import UsageError
from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.inference.observed import BINS, LOGITS, Observed
from striate.inference.prediction import Prediction
from striate.trust.belief import beliefs
from striate.trust.curve import sigmoid
from striate.trust.error_probability import error_probability
from striate.trust.trust import Trust

AFFINE = np.eye(4)
COUNTS = np.zeros((2, BINS), np.int64)


def prediction_of(label, certainty, targets):
    observed = Observed(dict.fromkeys(certainty, COUNTS), certainty)
    return Prediction(
        Case("c", "c", {"flair": Path("c.nii.gz")}), targets, held=LabelMap(label, AFFINE), observed=observed
    )


def test_exclusive_labels():
    label = np.array([[[0, 1]]], np.uint8)
    bins = np.array([[[200, 180]]], np.uint8)
    found = error_probability(prediction_of(label, {"lesion": bins}, Targets.of_labels({1: "lesion"})), None)
    share = sigmoid(LOGITS)
    np.testing.assert_allclose(found, [[[1 - share[200], 1 - share[180]]]], rtol=1e-4)
    assert found.dtype == np.float32


def test_regions_take_the_worst():
    targets = Targets({"whole": (1, 2), "core": (2,)}, exclusive=False)
    label = np.array([[[0, 1, 2]]], np.uint8)
    certainty = {"whole": np.array([[[100, 200, 250]]], np.uint8), "core": np.array([[[50, 120, 140]]], np.uint8)}
    found = error_probability(prediction_of(label, certainty, targets), None)
    p = sigmoid(LOGITS)
    wanted = [max(p[100], p[50]), max(1 - p[200], p[120]), max(1 - p[250], 1 - p[140])]
    np.testing.assert_allclose(found[0, 0], wanted, rtol=1e-4)


def test_with_limits_it_is_the_calibrated_one():
    rng = np.random.default_rng(0)
    trust = Trust.fit([simulated(rng, str(i), shift=-1.5) for i in range(12)])
    label, bins = np.array([[[1]]], np.uint8), np.array([[[150]]], np.uint8)
    found = error_probability(prediction_of(label, {"lesion": bins}, Targets.of_labels({1: "lesion"})), trust)
    assert found[0, 0, 0] == pytest.approx(1 - trust.calibration.table("lesion")[150], rel=1e-5)
    assert found[0, 0, 0] > 1 - sigmoid(LOGITS)[150], "truth is rarer than the network believes"


def test_what_was_not_observed_has_none():
    blind = Prediction(
        Case("c", "c", {"flair": Path("c.nii.gz")}), Targets.of_labels({1: "lesion"}),
        held=LabelMap(np.zeros((2, 2, 2), np.uint8), AFFINE),
    )  # fmt: skip
    with pytest.raises(UsageError, match="case c: nothing was observed"):
        error_probability(blind, None)


def test_limits_that_do_not_know_a_label_leave_its_probabilities_raw():
    prediction = prediction_of(
        np.array([[[0, 1]]], np.uint8), {"lesion": np.array([[[200, 180]]], np.uint8)}, Targets.of_labels({1: "lesion"})
    )
    found = beliefs(prediction, Trust.fit([]))["lesion"]
    np.testing.assert_allclose(found, [[[1 - sigmoid(LOGITS)[200], sigmoid(LOGITS)[180]]]], rtol=1e-4)
