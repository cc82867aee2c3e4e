"""Evidence of a case: numbers of a prediction by hand, with and without truth."""

from pathlib import Path

import numpy as np
import pytest
import torch

from striate.core.case import Case
from striate.core.errors import GeometryError, UsageError
from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.data.cohort import Cohort
from striate.inference.observed import BINS, Observed
from striate.inference.predict import predict_case
from striate.inference.prediction import Prediction
from striate.io.read import read_label
from striate.measure.overlap import dice
from striate.trust.collect import collect

AFFINE = np.diag([1.0, 2.0, 5.0, 1.0])
TARGETS = Targets.of_labels({1: "lesion", 2: "core"})
CASE = Case("c1", "s1", {"flair": Path("c1.nii.gz")})


def masks():
    label, truth = np.zeros((2, 8, 8, 6), np.uint8)
    label[1:3, 1:4, 1] = label[6, 6, 4] = 1
    truth[2:4, 1:4, 1] = truth[0, 7, 5] = truth[5, 5, 5] = 1
    truth[7, 0, 0] = 2
    return label, truth


def observed_of(label, truth=None):
    rng = np.random.default_rng(0)
    bins = rng.integers(0, 256, label.shape).astype(np.uint8)
    rows = {
        n: np.stack([np.bincount(bins[(label == v) == i], minlength=BINS) for i in (0, 1)])
        for n, v in (("lesion", 1), ("core", 2))
    }
    true = {} if truth is None else {name: row // 2 for name, row in rows.items()}
    return Observed(rows, dict.fromkeys(rows, bins), true, np.arange(3, dtype=np.float32))


def prediction_of(label, observed):
    return Prediction(CASE, TARGETS, held=LabelMap(label, AFFINE), observed=observed)


def test_with_truth():
    label, truth = masks()
    observed = observed_of(label, truth)
    case = collect(prediction_of(label, observed), LabelMap(truth, AFFINE), {"flair": {"mean": 1.5}})
    assert (case.case, case.subject, case.facts) == ("c1", "s1", {"flair": {"mean": 1.5}})
    assert case.features.tolist() == [0, 1, 2]
    lesion, core = case.labels["lesion"], case.labels["core"]
    assert lesion.voxel_ml == pytest.approx(0.01)
    assert (lesion.predicted_ml, lesion.predicted_lesions) == (pytest.approx(0.07), 2)
    assert (lesion.true_ml, lesion.true_lesions) == (pytest.approx(0.08), 3)
    assert lesion.dice == pytest.approx(2 * 3 / 15) == dice(label == 1, truth == 1)
    assert [row.real for row in lesion.lesions] == [True, False]
    assert lesion.counts is observed.counts["lesion"] and lesion.true_counts is observed.true_counts["lesion"]
    assert (core.predicted_lesions, core.true_lesions, core.dice, core.lesions) == (0, 1, 0.0, ())


def test_without_truth():
    label, _ = masks()
    case = collect(prediction_of(label, observed_of(label)), None, {})
    lesion = case.labels["lesion"]
    assert (lesion.true_ml, lesion.true_lesions, lesion.dice) == (None, None, None)
    assert lesion.true_counts.shape == (2, BINS) and not lesion.true_counts.any()
    assert [row.real for row in lesion.lesions] == [None, None]


def test_two_empty_masks_have_no_dice():
    empty = np.zeros((4, 4, 4), np.uint8)
    case = collect(prediction_of(empty, observed_of(empty, empty)), LabelMap(empty, AFFINE))
    for found in case.labels.values():
        assert (found.predicted_ml, found.true_ml, found.true_lesions, found.dice) == (0, 0, 0, None)


def test_what_was_not_observed():
    label, _ = masks()
    with pytest.raises(UsageError, match=r"c1: nothing was observed; predict_case\(…, observe=True\) is needed"):
        collect(prediction_of(label, None))


def test_a_truth_on_another_grid():
    label, truth = masks()
    with pytest.raises(GeometryError, match="grid of the prediction"):
        collect(prediction_of(label, observed_of(label)), LabelMap(truth, np.eye(4)))


class Bright(torch.nn.Module):
    """The brighter, the more lesion."""

    def forward(self, images):
        return torch.cat([torch.zeros_like(images), 2 * images - 3], dim=1)


def test_from_a_network(tiny_cohort, tiny_plan):
    """What was counted while predicting agrees with the masks: voxels inside, true voxels, logits of what was written."""
    case = Cohort.open(tiny_cohort).cases[0]
    truth = read_label(case.label)
    prediction = predict_case(tiny_plan(), case, network=Bright().eval(), observe=True, truth=truth)
    found = collect(prediction, truth).labels["lesion"]
    assert found.dice > 0.8 and found.lesions[0].real and found.lesions[0].mean_logit > 0
    assert found.counts[1].sum() * found.voxel_ml == pytest.approx(found.predicted_ml)
    assert found.true_counts.sum() * found.voxel_ml == pytest.approx(found.true_ml)
    assert sum(lesion.volume_ml for lesion in found.lesions) == pytest.approx(found.predicted_ml)
    common = found.true_counts[1].sum() * found.voxel_ml
    assert found.dice == pytest.approx(2 * common / (found.predicted_ml + found.true_ml))
