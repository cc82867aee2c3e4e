"""The audit of label maps: values, empty, stray voxels, outside the head, raters."""

import heads
import numpy as np
import pytest

from striate.data.checks import labels_empty, labels_outside, labels_stray, labels_values, raters
from striate.data.checks.facts import CohortFacts
from striate.data.checks.gather import gather
from striate.data.checks.labels import component_sizes


def only(check, *cases, names=None):
    return [p.sentence for p in check.find(CohortFacts(tuple(cases), names or {}))]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return heads.facts_of(tmp_path_factory.mktemp("good"), heads.scan(1), heads.mask(1))


@pytest.mark.parametrize("check", [labels_values, labels_empty, labels_stray, labels_outside, raters])
def test_silent_on_a_good_mask(good, check):
    assert only(check, good, names={1: "lesion"}) == []
    assert only(check, good) == []


def test_unknown_and_missing_values(tmp_path):
    label = heads.mask(1)
    label[24, 30, 24] = 7
    found = only(labels_values, heads.facts_of(tmp_path, heads.scan(1), label), names={1: "lesion", 2: "core"})
    assert "case a: label value 7 in 1 voxel; only 1, 2 are named (lesion, core)" in found[0]
    assert "cohort: label 2 (core) has no voxel in 1 label maps" in found[1]


def test_a_value_that_hardly_any_case_has(tmp_path):
    usual = heads.facts_of(tmp_path / "u", heads.scan(1), heads.mask(1))
    odd = heads.facts_of(tmp_path / "o", heads.scan(1), heads.mask(1) * 3)
    found = only(labels_values, *[usual] * 24, odd)
    assert len(found) == 1 and "label value 3 occurs in only 1 of 25 cases" in found[0]


def test_what_reading_understood_is_noted(tmp_path):
    (problem,) = labels_values.find(CohortFacts((heads.facts_of(tmp_path, heads.scan(1), heads.mask(1) * 255),)))
    assert problem.severity == "note" and "0 and 255 were taken as 0 and 1" in problem.sentence


def test_white_that_means_two_things_is_an_error(tmp_path):
    several = heads.mask(1) * 255
    several[24, 30, 24] = 128
    (tmp_path / "s").mkdir()
    cases = (
        heads.facts_of(tmp_path / "w", heads.scan(1), heads.mask(1) * 255),
        heads.facts_of(tmp_path / "s", heads.scan(1), several),
    )
    (problem,) = [p for p in labels_values.find(CohortFacts(cases)) if p.code == "label_ambiguous"]
    assert problem.severity == "error"
    assert "0 and 255 were taken as 0 and 1, but the mask of case a holds 255 as a label of its own" in problem.sentence


def test_empty_masks(tmp_path, good):
    empty = heads.facts_of(tmp_path, heads.scan(1), heads.mask(1) * 0)
    assert only(labels_empty, good, empty)[0].startswith("case a: the label map is empty; at least one labelled voxel")
    assert "all 1 label maps are empty" in only(labels_empty, empty)[0]
    absent = heads.facts_of(tmp_path / "n", heads.scan(1))
    assert "1 of 2 cases has no label map (a)" in only(labels_empty, good, absent)[0]
    assert only(labels_empty, absent) == []


def test_stray_voxels_few_and_many(tmp_path):
    label = heads.mask(1)
    label[30, 40, 24] = 1
    (few,) = labels_stray.find(CohortFacts((heads.facts_of(tmp_path / "f", heads.scan(1), label),)))
    assert few.severity == "note" and "1 single labelled voxel touches no other label" in few.sentence
    label[20:40:3, 40:50:3, 24] = 1  # 28 voxels, one of which touches the first
    (many,) = labels_stray.find(CohortFacts((heads.facts_of(tmp_path / "m", heads.scan(1), label),)))
    assert many.severity == "warning" and "27 single labelled voxels touch no other label" in many.sentence


def test_components_touch_by_corners():
    array = np.zeros((5, 5, 5), dtype=bool)
    array[0, 0, 0] = array[1, 1, 1] = array[4, 4, 4] = True
    assert sorted(component_sizes(array)) == [1, 2]
    assert sorted(component_sizes(array[0])) == [1]


def test_labels_in_two_values_that_touch_are_not_stray(tmp_path):
    label = heads.mask(1)
    label[24, 31, 24] = 2
    assert heads.facts_of(tmp_path, heads.scan(1), label).label.stray_voxels == 0


@pytest.mark.parametrize("kind", ["raw", "stripped", "zscored"])
def test_mask_outside_the_head(tmp_path, kind):
    image = heads.scan(1)
    if kind != "raw":
        image = heads.stripped(image, 1, kind == "zscored")
    shifted = np.roll(heads.mask(1), -22, axis=0)
    (problem,) = labels_outside.find(CohortFacts((heads.facts_of(tmp_path, image, shifted),)))
    assert problem.severity == "error" and "labelled voxels (100 %) lie outside the object" in problem.sentence
    assert "shifted" in problem.advice


def test_mirrored_mask_is_recognised(tmp_path):
    image = heads.scan(1)
    image = np.roll(image, -10, axis=0)
    label = np.roll(heads.mask(1), -16, axis=0)
    assert only(labels_outside, heads.facts_of(tmp_path / "a", image, label)) == []
    found = only(labels_outside, heads.facts_of(tmp_path / "b", image, label[::-1].copy()))
    assert "but not when mirrored left to right" in found[0] and "flip it" in found[0]


def test_raters_who_disagree(maker):
    second = heads.save(maker.folder / "r2.nii.gz", heads.mask(1))
    third = heads.save(maker.folder / "r3.nii.gz", np.roll(heads.mask(1), 6, axis=1))
    facts = gather(maker.add("a", {"flair": heads.scan(1)}, heads.mask(1), raters={"two": second, "three": third}))
    assert facts.raters["two"].dice == {1: 1.0}
    (found,) = only(raters, facts, names={1: "lesion"})
    assert "rater three and the label map agree with Dice 0." in found and "for lesion" in found
