"""Evidence of lesions: by hand, and in the order of the findings whatever ties there are."""

import numpy as np
import pytest

from striate.core.errors import GeometryError
from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.inference.observed import LOGITS
from striate.measure.findings import Findings
from striate.measure.lesions import LesionOverlap
from striate.trust.lesion_evidence import lesion_evidence

AFFINE = np.diag([2.0, 1.0, 3.0, 1.0])
TARGETS = Targets.of_labels({1: "lesion", 2: "core"})


def test_by_hand():
    """Label 1: three voxels, one of them true, and a false voxel; label 2: one voxel where the truth says 1."""
    label, truth = np.zeros((2, 6, 6, 4), np.uint8)
    label[1, 1:4, 1] = label[5, 5, 3] = 1
    label[5, 0, 0] = 2
    truth[1, 3, 1] = truth[5, 0, 0] = 1
    truth[0, 0, 0] = 2
    bins = np.full(label.shape, 7, np.uint8)
    bins[1, 1:4, 1] = 130, 140, 250
    bins[5, 5, 3], bins[5, 0, 0] = 129, 200
    found = lesion_evidence(LabelMap(label, AFFINE), TARGETS, {"lesion": bins, "core": bins}, LabelMap(truth, AFFINE))
    large, small = found["lesion"]
    assert large.volume_ml == pytest.approx(0.018) and small.volume_ml == pytest.approx(0.006)
    assert large.mean_logit == pytest.approx(LOGITS[[130, 140, 250]].mean()) and large.top_logit == LOGITS[250]
    assert (large.real, small.real) == (True, False) and small.mean_logit == small.top_logit == LOGITS[129]
    (core,) = found["core"]
    assert core.real is False and core.top_logit == LOGITS[200]


@pytest.mark.parametrize("shape", [(14, 15, 9), (30, 31)])
@pytest.mark.parametrize("exclusive", [True, False])
def test_the_order_and_the_volumes_of_the_findings(shape, exclusive):
    """Sparse voxels make many lesions of one size; each is told apart by a logit that only it has."""
    rng = np.random.default_rng(len(shape))
    array = (rng.random(shape) < 0.05) * rng.integers(1, 3, shape)
    label = LabelMap(array.astype(np.uint8), AFFINE)
    targets = TARGETS if exclusive else Targets({"both": (1, 2), "core": (2,)}, exclusive=False)
    bins = rng.integers(0, 256, shape).astype(np.uint8)
    (case,) = Findings.of("case", label, targets).cases
    rows = lesion_evidence(label, targets, dict.fromkeys(targets.names, bins))
    for name in targets.names:
        mask = targets.mask(label.array, name)
        lesions = case.labels[name].lesions
        assert len(lesions) == len(rows[name]) > 5
        for lesion, row in zip(lesions, rows[name], strict=True):
            box = tuple(slice(*ends) for ends in lesion.bbox)
            assert row.volume_ml == lesion.volume_ml and row.real is None
            if mask[box].sum() == lesion.voxels:
                logits = LOGITS[bins[box][mask[box]]]
                assert row.mean_logit == pytest.approx(logits.mean()) and row.top_logit == logits.max()


def test_the_rule_of_the_lesion_measures():
    rng = np.random.default_rng(5)
    label, truth = (LabelMap((rng.random((16, 16, 8)) < 0.04).astype(np.uint8), AFFINE) for _ in range(2))
    targets = Targets.of_labels({1: "lesion"})
    rows = lesion_evidence(label, targets, {"lesion": np.zeros(label.array.shape, np.uint8)}, truth)["lesion"]
    match = LesionOverlap.of(label.array, truth.array, 1.0).match()
    assert (len(rows), sum(row.real for row in rows)) == (
        match.predicted,
        match.right,
    ) and 0 < match.right < match.predicted


def test_empty_masks():
    empty = LabelMap(np.zeros((4, 4, 4), np.uint8), AFFINE)
    bins = np.zeros((4, 4, 4), np.uint8)
    assert lesion_evidence(empty, TARGETS, {"lesion": bins, "core": bins}, empty) == {"lesion": (), "core": ()}


def test_a_truth_on_another_grid():
    label = LabelMap(np.ones((4, 4, 4), np.uint8), AFFINE)
    bins = {"lesion": label.array, "core": label.array}
    for truth in (LabelMap(np.ones((4, 4, 5), np.uint8), AFFINE), LabelMap(label.array, np.diag([1.0, 1.0, 3.0, 1.0]))):
        with pytest.raises(GeometryError, match="the grid of the prediction is needed"):
            lesion_evidence(label, TARGETS, bins, truth)
