import numpy as np
import pytest

from striate.core.errors import GeometryError
from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.trust.annotation import agreement, rate, sensitivity, summarise_sensitivity


def ball(radius, centre=(10, 10, 10), shape=(21, 21, 21)):
    return ((np.indices(shape) - np.array(centre)[:, None, None, None]) ** 2).sum(axis=0) <= radius**2


def test_a_perfect_prediction_is_measured_as_what_the_spoilt_mask_allows():
    truth = ball(5) | ball(2, (3, 3, 3))
    found = {s.way: s for s in sensitivity(truth, truth)}
    assert set(found) == {"thinner", "thicker", "forgotten", "noise"}
    for spoilt in found.values():
        assert spoilt.predicted == spoilt.own
        assert spoilt.way == "forgotten" or spoilt.own < 1
    thick = 2 * truth.sum() / (truth.sum() + np.count_nonzero(_dilated(truth)))
    assert found["thicker"].own == pytest.approx(thick)


def _dilated(mask):
    from scipy import ndimage

    return ndimage.binary_dilation(np.pad(mask, 1))


def test_an_empty_truth_says_nothing():
    assert sensitivity(ball(3), np.zeros((21, 21, 21), bool)) == []


def test_a_prediction_that_is_too_thick_gains_from_a_thicker_mask():
    rows = summarise_sensitivity(
        {"a": sensitivity(ball(6), ball(5)), "b": sensitivity(ball(6), ball(5))}, {"a": "a", "b": "b"}
    )
    by = {r["way"]: r for r in rows}
    assert by["thicker"]["predicted"]["mean"] > by["thinner"]["predicted"]["mean"]
    assert by["thicker"]["predicted"]["n"] == 2


def test_raters_are_compared_with_each_other_and_with_the_model():
    targets = Targets({"lesion": (1,)}, exclusive=True)
    affine = np.diag([2.0, 2, 2, 1])

    def label(mask):
        return LabelMap(mask.astype(np.uint8), affine)

    rated = []
    for n in range(3):
        masks = {"label": label(ball(5)), "anna": label(ball(5, (11, 10, 10)))}
        rated += rate(f"c{n}", f"s{n}", label(ball(5)), masks, targets)
    found = agreement(rated)[0]
    assert found.n_subjects == 3 and found.pairs["model and label"].mean == 1
    assert found.between.mean == found.pairs["label and anna"].mean == found.pairs["model and anna"].mean < 1
    assert "as well as" in found.sentence and found.volume_ratio.mean == 1
    with pytest.raises(GeometryError, match="rater anna"):
        rate("c", "s", label(ball(5)), {"anna": label(ball(5)[:-1])}, targets)
