"""Detection of lesions over cases: by hand, without probabilities, without lesions, to JSON and back, as a table."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from striate.cli.train import show_detection
from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.measure.detection import CURVE, Detection, named_in, scores_of
from striate.measure.detection_table import froc_table
from striate.measure.finding import CaseFindings
from striate.measure.findings import Findings
from striate.measure.froc import CPM_POINTS
from striate.measure.lesions import LesionOverlap

WIDTH = 60


def line(*starts, length=2):
    """Return a flat mask with one lesion at each start."""
    mask = np.zeros((WIDTH, 3), bool)
    for start in starts:
        mask[start : start + length, 1] = True
    return mask


def overlap(predicted, truth):
    return LesionOverlap.of(line(*predicted), line(*truth), 0.001)


def two_cases():
    """a: two lesions, both found, two false alarms. b: one lesion, missed, one false alarm. All of one size, so in order."""
    return {"a": overlap((0, 10, 20, 30), (0, 10)), "b": overlap((40,), (50,))}


SUBJECTS = {"a": "s1", "b": "s2"}


def test_by_hand():
    found = Detection.of(two_cases(), [[0.9, 0.5, 0.7, 0.1], [0.6]], SUBJECTS)
    assert (found.cases, found.subjects, found.lesions, found.found, found.false_positives) == (2, 2, 3, 2, 3)
    assert found.false_positives_per_scan == 1.5
    assert found.sensitivity.value == pytest.approx(2 / 3)
    # 0.9 finds the first; false: 0.7 (half of one per scan), 0.6 (one per scan); then 0.5 finds the second
    want = dict(zip(CPM_POINTS, [1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3], strict=True))
    assert {n: e.value for n, e in found.at.items()} == pytest.approx(want)
    assert found.mean_sensitivity is not None
    assert found.mean_sensitivity.value == pytest.approx(sum(want.values()) / 7)
    assert tuple(found.curve) == CURVE and set(CPM_POINTS) <= set(CURVE)
    assert found.why is None


def test_one_operating_point_without_probabilities():
    found = Detection.of(two_cases(), "No probability is known.", SUBJECTS)
    assert (found.curve, found.at, found.mean_sensitivity) == ({}, {}, None)
    assert found.why == "No probability is known."
    assert (found.sensitivity.value, found.false_positives_per_scan) == (pytest.approx(2 / 3), 1.5)


def test_no_true_lesion():
    found = Detection.of({"a": overlap((0, 9), ())}, [[0.5, 0.4]], SUBJECTS)
    assert found.why == "No true lesion counts, so none can be found."
    assert (found.sensitivity.value, found.false_positives, found.curve) == (None, 2, {})


def test_one_blob_finds_all_that_it_touches():
    blob = np.zeros((WIDTH, 3), bool)
    blob[0:20] = True
    found = Detection.of({"a": LesionOverlap.of(blob, line(3, 13), 0.001)}, [[0.8]], SUBJECTS)
    assert (found.found, found.false_positives, found.at[0.125].value) == (2, 0, 1.0)


def test_the_band_rises_with_the_curve():
    rng = np.random.default_rng(0)
    overlaps = {f"c{n}": overlap((0, 10, 20, 30), tuple(10 * np.flatnonzero(rng.random(5) < 0.6))) for n in range(15)}
    scores = [rng.random(4).tolist() for _ in overlaps]
    found = Detection.of(overlaps, scores, {c: c for c in overlaps})
    lows, highs = ([getattr(e, side) for e in found.curve.values()] for side in ("low", "high"))
    assert lows == sorted(lows) and highs == sorted(highs) and lows[0] < highs[0]
    assert Detection.of(overlaps, scores, {c: c for c in overlaps}) == found


def test_json_and_table():
    ranked = Detection.of(two_cases(), [[0.9, 0.5, 0.7, 0.1], [0.6]], SUBJECTS)
    plain = Detection.of(two_cases(), "Why.", SUBJECTS)
    for found in (ranked, plain):
        assert Detection.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    rows = list(csv.DictReader(io.StringIO(froc_table({"lesion": ranked, "other": plain}))))
    assert [r["row"] for r in rows] == ["mask", "mean", *["at"] * 7, *["curve"] * len(CURVE), "mask"]
    assert float(rows[0]["false_positives_per_scan"]) == 1.5
    assert [float(r["sensitivity"]) for r in rows[2:9]] == pytest.approx([e.value for e in ranked.at.values()])
    assert rows[-1]["label"] == "other" and rows[1]["false_positives_per_scan"] == ""


def findings_of(mask, probabilities, name="lesion", case="a"):
    label = LabelMap(mask.astype(np.uint8), np.eye(4))
    (found,) = Findings.of(case, label, Targets.of_labels({1: name})).cases
    return {case: replace(found, labels={name: found.labels[name].with_probabilities(probabilities)})}


def test_scores_come_from_findings_by_the_size_of_lesions():
    mask = line(0, 10)
    mask[30:35, 1] = True  # the largest comes first
    overlaps = {"a": LesionOverlap.of(mask, line(0), 0.001)}
    assert scores_of(overlaps, "tumour", findings_of(mask, [0.3, 0.2, 0.1])) == [[0.3, 0.2, 0.1]]  # another name
    assert "no probability" in scores_of(overlaps, "lesion", findings_of(mask, [0.3, None, 0.1]))
    assert "not those of its findings" in scores_of(overlaps, "lesion", findings_of(line(0, 10), [0.3, 0.2]))
    assert "No findings lie beside the mask of case a" in scores_of(overlaps, "lesion", {})


def test_one_name_is_found_for_all_cases():
    some, none, lesions = line(0, 10), line(), lambda mask: int(mask.sum()) // 2
    empty = {"a": LesionOverlap.of(none, line(0), 0.001)}
    both = {**empty, "b": LesionOverlap.of(some, line(0), 0.001)}

    def findings(**masks):
        """Return the findings of cases a and b, of label → the mask of each."""
        made = {}
        for place, case in enumerate("ab"):
            every = {
                n: findings_of(own[place], [0.5] * lesions(own[place]), n)["a"].labels[n] for n, own in masks.items()
            }
            made[case] = CaseFindings(case, every)
        return made

    known = findings(edema=(none, none), core=(none, some))
    assert named_in(known, "label_2", both) == "core"  # not edema, which fits in the first case too
    assert scores_of(both, "label_2", known) == [[], [0.5, 0.5]]
    assert named_in(known, "label_2", empty) is None and named_in(known, "edema", empty) == "edema"
    assert "'label_2' may be those of 'core' or 'edema' in the findings" in scores_of(empty, "label_2", known)
    mixed = findings(edema=(none, line(0)), core=(some, some))
    assert named_in(mixed, "label_2", both) is None
    assert "No one label of the findings has the lesions of 'label_2'" in scores_of(both, "label_2", mixed)
    assert named_in({}, "label_2", both) is None


def test_what_a_training_says_of_lesions(capsys):
    show_detection({"lesion": Detection.of(two_cases(), [[0.9, 0.5, 0.7, 0.1], [0.6]], SUBJECTS)})
    show_detection({"core": Detection.of(two_cases(), "Why.", SUBJECTS)})
    show_detection({"none": Detection.of({"a": overlap((0,), ())}, [[0.5]], SUBJECTS)})
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "Lesions lesion: 2 of 3 found with 1.5 false positives per scan; mean sensitivity at 1/8 to 8: 0.524",
        "Lesions core: 2 of 3 found with 1.5 false positives per scan",
    ]
