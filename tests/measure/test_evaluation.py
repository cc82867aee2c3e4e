"""Evaluation: every registered measure, empty masks, grids, JSON and CSV."""

import csv
import json

import numpy as np
import pytest

from striate.core.errors import DataError, FormatError, GeometryError, UsageError
from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.measure.evaluation import CaseEvaluation, Evaluation, evaluate_pair
from striate.measure.pair import MEASURES, Pair

ISSUE = ("dice", "iou", "hd95_mm", "assd_mm", "volume_error_ml", "lesion_f1", "lesion_precision", "lesion_recall")
AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])
LABELS = Targets({"one": (1,), "two": (2,)}, exclusive=True)


def ball(shape=(14, 12, 10), centre=(6, 6, 5), radius=3.0):
    index = np.indices(shape).reshape(len(shape), -1).T - np.array(centre[: len(shape)])
    return (np.linalg.norm(index, axis=1) <= radius).reshape(shape)


def label_map(mask, value=1):
    return LabelMap(mask.astype(np.uint8) * value, AFFINE)


def test_the_table_of_measures_is_the_issue_s():
    assert tuple(MEASURES) == ISSUE


@pytest.mark.parametrize("name", MEASURES)
class TestEveryMeasure:
    """The contract of a measure: a function of a `Pair`, whose value is finite or None, and best on equal masks."""

    def value(self, name, predicted, truth):
        return MEASURES[name](Pair(predicted, truth, (1.0, 2.0, 3.0)[: truth.ndim], 0.006))

    @pytest.mark.parametrize("shape", [(14, 12, 10), (14, 12)])
    def test_finite_or_none(self, name, shape):
        empty, some, all_of_it = np.zeros(shape, bool), ball(shape), np.ones(shape, bool)
        for predicted in (empty, some, all_of_it):
            for truth in (empty, some, all_of_it):
                value = self.value(name, predicted, truth)
                assert value is None or (isinstance(value, (int, float)) and np.isfinite(value))

    def test_perfect(self, name):
        best = 0.0 if name.endswith(("_mm", "_ml")) else 1.0
        assert self.value(name, ball(), ball()) == pytest.approx(best)

    def test_only_the_masks_count_not_the_field_of_view(self, name):
        predicted, truth = ball(centre=(7, 6, 5)), ball()
        padded = [np.pad(m, ((5, 2), (0, 9), (3, 3))) for m in (predicted, truth)]
        assert self.value(name, *padded) == pytest.approx(self.value(name, predicted, truth))

    def test_inputs_are_not_changed(self, name):
        predicted, truth = ball(centre=(7, 6, 5)), ball()
        before = predicted.copy(), truth.copy()
        self.value(name, predicted, truth)
        assert np.array_equal(predicted, before[0]) and np.array_equal(truth, before[1])

    def test_unit_in_the_name(self, name):
        """What changes with the voxel size has a unit, and the other way round."""
        predicted, truth = ball(centre=(7, 6, 5), radius=2.5), ball()
        small, large = (MEASURES[name](Pair(predicted, truth, (s, s, s), s**3 / 1000)) for s in (1.0, 2.0))
        if name.endswith("_mm"):
            assert large == pytest.approx(2 * small) and small > 0
        elif name.endswith("_ml"):
            assert large == pytest.approx(8 * small) and small < 0
        else:
            assert large == small


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        (
            0,
            0,
            {
                "dice": 1.0,
                "iou": 1.0,
                "lesion_f1": 1.0,
                "lesion_precision": None,
                "lesion_recall": None,
                "volume_error_ml": 0.0,
            },
        ),
        (0, 1, {"dice": 0.0, "iou": 0.0, "lesion_f1": 0.0, "lesion_precision": None, "lesion_recall": 0.0}),
        (1, 0, {"dice": 0.0, "iou": 0.0, "lesion_f1": 0.0, "lesion_precision": 0.0, "lesion_recall": None}),
    ],
)
def test_empty_masks(predicted, truth, expected):
    found = evaluate_pair(label_map(ball() * predicted), label_map(ball() * truth), LABELS)["one"]
    assert {name: found[name] for name in expected} == expected
    assert found["hd95_mm"] is None and found["assd_mm"] is None


def test_by_hand():
    """Truth 2 × 2 × 1 voxels of 1 × 2 × 3 mm, prediction the same moved by one voxel (2 mm) along the second axis."""
    truth, predicted = np.zeros((6, 6, 3), bool), np.zeros((6, 6, 3), bool)
    truth[1:3, 1:3, 1] = True
    predicted[1:3, 2:4, 1] = True
    found = evaluate_pair(label_map(predicted, 2), label_map(truth, 2), LABELS)["two"]
    assert found["dice"] == pytest.approx(0.5)
    assert found["iou"] == pytest.approx(1 / 3)
    assert found["hd95_mm"] == pytest.approx(2.0)  # per direction: 0, 0, 2, 2
    assert found["assd_mm"] == pytest.approx(1.0)
    assert found["volume_error_ml"] == 0.0
    assert (found["lesion_f1"], found["lesion_precision"], found["lesion_recall"]) == (1.0, 1.0, 1.0)


def test_volume_error_is_signed():
    small, large = label_map(ball(radius=2)), label_map(ball(radius=3))
    voxels = int(ball(radius=3).sum() - ball(radius=2).sum())
    assert evaluate_pair(large, small, LABELS)["one"]["volume_error_ml"] == pytest.approx(voxels * 0.006)
    assert evaluate_pair(small, large, LABELS)["one"]["volume_error_ml"] == pytest.approx(-voxels * 0.006)


def test_regions_are_unions():
    array = np.zeros((5, 5, 5), np.uint8)
    array[1, 1, 1], array[2, 2, 2] = 1, 2
    swapped = np.where(array == 1, 2, np.where(array == 2, 1, 0)).astype(np.uint8)
    regions = Targets({"all": (1, 2), "core": (2,)}, exclusive=False)
    found = evaluate_pair(LabelMap(swapped, AFFINE), LabelMap(array, AFFINE), regions)
    assert found["all"]["dice"] == 1.0
    assert found["core"]["dice"] == 0.0


def test_reversed_axes_are_turned():
    truth = label_map(ball(centre=(4, 6, 5)))
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = truth.array.shape[0] - 1
    flipped = LabelMap(truth.array[::-1], AFFINE @ flip)
    assert evaluate_pair(flipped, truth, LABELS)["one"]["dice"] == 1.0
    swapped = LabelMap(truth.array.transpose(1, 0, 2), AFFINE @ np.eye(4)[[1, 0, 2, 3]])
    assert evaluate_pair(swapped, truth, LABELS)["one"]["hd95_mm"] == 0.0


def test_other_grids_are_refused():
    truth = label_map(ball())
    moved = AFFINE.copy()
    moved[0, 3] = 5.0
    with pytest.raises(GeometryError, match=r"case P1: predicted shape .*origin \(5, 0, 0\) mm.*truth has .*resample"):
        evaluate_pair(LabelMap(truth.array, moved), truth, LABELS, case_name="P1")
    with pytest.raises(GeometryError, match=r"predicted shape \(14, 12, 9\).*\(14, 12, 10\)"):
        evaluate_pair(LabelMap(truth.array[:, :, :9], AFFINE), truth, LABELS)
    with pytest.raises(GeometryError, match=r"predicted shape \(14, 12\)"):
        evaluate_pair(LabelMap(truth.array[:, :, 5], AFFINE), truth, LABELS)


def two_cases():
    truth = label_map(ball())
    first = evaluate_pair(label_map(ball(centre=(7, 6, 5))), truth, LABELS)
    second = evaluate_pair(label_map(ball() & False), truth, LABELS)
    return [CaseEvaluation("a", first, "s1"), CaseEvaluation("b", second, "s2")]


def test_summary_and_json_form():
    found = Evaluation.of(two_cases()).to_dict()
    assert set(found) == {"summary", "cases"}
    assert set(found["summary"]["one"]) == set(ISSUE)
    assert set(found["summary"]["one"]["dice"]) == {"mean", "median", "low", "high", "n"}
    assert set(found["cases"][0]) == {"case", "one", "two"}
    values = [case["one"]["dice"] for case in found["cases"]]
    assert found["summary"]["one"]["dice"]["mean"] == pytest.approx(np.mean(values))
    assert found["summary"]["one"]["dice"]["n"] == 2
    assert found["summary"]["one"]["hd95_mm"]["n"] == 1  # nothing was predicted in b
    assert found["summary"]["one"]["hd95_mm"]["low"] is None
    assert found["summary"]["two"]["dice"]["mean"] == 1.0  # absent on both sides in both cases
    json.dumps(found, allow_nan=False)


def test_one_subject_has_no_interval():
    cases = [CaseEvaluation(c.case, c.labels, "same") for c in two_cases()]
    assert Evaluation.of(cases).summary["one"]["dice"].low is None


def test_files(tmp_path):
    found = Evaluation.of(two_cases(), notes=["1 case left out"])
    found.write(tmp_path / "e.json")
    assert Evaluation.read(tmp_path / "e.json") == found
    found.write(tmp_path / "e.csv")
    rows = list(csv.DictReader((tmp_path / "e.csv").open()))
    assert [(r["case"], r["label"]) for r in rows] == [("a", "one"), ("a", "two"), ("b", "one"), ("b", "two")]
    assert float(rows[0]["hd95_mm"]) == found.cases[0].labels["one"]["hd95_mm"]
    assert rows[2]["hd95_mm"] == ""


def test_refusals(tmp_path):
    with pytest.raises(DataError, match="0 cases"):
        Evaluation.of([])
    with pytest.raises(DataError, match="case 'a' twice"):
        Evaluation.of([two_cases()[0]] * 2)
    with pytest.raises(UsageError, match="named 'case'"):
        CaseEvaluation("a", {"case": {}})
    (tmp_path / "e.json").write_text('{"kind": "striate-evaluation", "schema_version": 1, "cases": 3}')
    with pytest.raises(FormatError, match="not readable as striate-evaluation"):
        Evaluation.read(tmp_path / "e.json")
