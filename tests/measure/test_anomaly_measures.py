"""Anomaly maps against masks: equal to scikit-learn, the best Dice by trying every threshold, masks without a question."""

import numpy as np
import pytest

from striate.core.errors import GeometryError
from striate.measure.anomaly import MEASURES, anomaly_measures


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_scikit_learn(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    mask = rng.random((9, 8, 7)) < 0.1
    values = np.round(rng.random(mask.shape) + 0.4 * mask, 1 + seed).astype(np.float32)  # many ties, then few
    found = anomaly_measures(values, mask)
    assert tuple(found) == MEASURES
    assert found["auroc"] == pytest.approx(metrics.roc_auc_score(mask.ravel(), values.ravel()), abs=1e-12)
    assert found["average_precision"] == pytest.approx(
        metrics.average_precision_score(mask.ravel(), values.ravel()), abs=1e-12
    )
    dice = [2 * (mask & (values >= t)).sum() / (mask.sum() + (values >= t).sum()) for t in np.unique(values)]
    assert found["best_dice"] == pytest.approx(max(dice))
    assert found["share"] == pytest.approx(mask.mean())


def test_a_map_that_knows_nothing_and_one_that_knows_all():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 2:4] = True
    nothing, everything = anomaly_measures(np.ones((4, 5)), mask), anomaly_measures(mask * 3.0, mask)
    assert (nothing["auroc"], nothing["average_precision"]) == (0.5, pytest.approx(0.2))
    assert nothing["best_dice"] == pytest.approx(2 * 4 / 24)
    assert [everything[m] for m in MEASURES[:3]] == [1, 1, 1]


def test_without_a_lesion_there_is_nothing_to_find():
    values = np.random.default_rng(0).random((3, 4))
    assert anomaly_measures(values, np.zeros((3, 4))) == {**dict.fromkeys(MEASURES), "share": 0.0}
    assert anomaly_measures(values, np.ones((3, 4)))["auroc"] is None
    with pytest.raises(GeometryError, match="shape"):
        anomaly_measures(values, np.ones((4, 3)))
