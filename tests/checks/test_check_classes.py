"""Cohorts of classes: what is wrong is told, what is right is not, and small images are not measured as scans are."""

import numpy as np
import pytest

from striate.core.case import Case
from striate.core.image import Image
from striate.data.checks import (
    class_absent,
    class_balance,
    class_conflict,
    class_few,
    class_names,
    labels_empty,
    labels_values,
)
from striate.data.checks.facts import CaseFacts, CohortFacts
from striate.data.checks.looks_alike import _alike
from striate.data.checks.run import run_checks
from striate.data.cohort import Cohort
from striate.io.write import write_image


def facts(*rows, labelled=False):
    """Return a cohort of (subject, classes) or (subject, classes, split); without images."""
    return CohortFacts(
        tuple(
            CaseFacts(f"c{i}", subject, {}, split=(*split, None)[0], has_label=labelled, classes=classes)
            for i, (subject, classes, *split) in enumerate(rows)
        )
    )


def only(check, *rows, **more):
    return [(p.severity, p.sentence) for p in check.find(facts(*rows, **more))]


GOOD = [(f"s{i}", ("a" if i % 3 else "b",)) for i in range(12)]


@pytest.mark.parametrize(
    "check", [class_absent, class_balance, class_conflict, class_few, class_names, labels_empty, labels_values]
)
def test_silent_on_a_good_cohort(check):
    assert only(check, *GOOD) == []
    assert only(check, *((s, None) for s, _ in GOOD)) == []
    assert only(check, *((s, c if i % 2 else ()) for i, (s, c) in enumerate(GOOD))) == []


def test_imbalance():
    rows = [(f"s{i}", ("a",)) for i in range(21)] + [("x", ("b",)), ("y", ("b",)), ("z", ("b",), "test")]
    assert only(class_balance, *rows) == [
        ("warning", "cohort: class a has 21 cases, class b only 2; up to 10 times learns well; beyond, a high accuracy may mean"
         " that the rare class is never told. Add cases of the rare class, or judge by its own sensitivity and not by the"
         " accuracy.")
    ]  # fmt: skip
    assert only(class_balance, *rows[1:]) == []  # 20 to 2


def test_classes_of_few_subjects():
    rows = [("s1", ("a",)), ("s2", ("a",)), ("s3", ("b",)), ("s3", ("b",)), ("s4", ("c",), "test")]
    found = only(class_few, *rows)
    assert [s for s, _ in found] == ["warning", "warning"]
    assert "only subject s3 has class b; at least 2 subjects are needed" in found[0][1]
    assert "class c is in the split test alone" in found[1][1]


def test_a_class_that_all_have():
    rows = [("s1", ("a",)), ("s2", ("a",))]
    (severity, sentence), *rest = only(class_few, *rows)
    assert severity == "error" and "all 2 cases have class a; a class is learned from" in sentence and rest == []
    assert [s for s, _ in only(class_few, *rows, labelled=True)] == ["warning"]
    both = [("s1", ("a", "b")), ("s2", ("a", "b")), ("s3", ("a",))]
    assert [s for s, _ in only(class_few, *both)] == ["warning"]


def test_cases_without_a_class():
    found = only(class_absent, *GOOD, ("t", None), ("u", None, "test"))
    assert len(found) == 1 and found[0][0] == "note" and "1 of 14 cases has no class (c12)" in found[0][1]


def test_spellings_and_slips():
    found = only(class_names, ("s1", ("Left lung",)), ("s2", ("left_lung",)), ("s3", ("right",)))
    assert len(found) == 1 and "classes Left lung and left_lung are told apart" in found[0][1]
    rows = [(f"s{i}", ("ab"[i % 2],)) for i in range(60)]
    found = only(class_names, *rows, ("x", ("a", "b")), ("y", ()))
    assert len(found) == 1 and "case c60: 2 of 62 cases have none or several classes (c60, c61)" in found[0][1]
    assert only(class_names, *rows, *(("x", ()) for _ in range(4))) == []  # 4 of 64: 6 %


@pytest.fixture
def small(tmp_path):
    """Return a function that makes a cohort of 28 × 28 pictures: rows of (picture number, subject, classes)."""

    def make(*rows, labelled=False):
        cases = []
        for index, (number, subject, classes) in enumerate(rows):
            array = np.zeros((1, 28, 28), np.uint8)
            strokes = np.random.default_rng(number).integers(4, 24, (6, 2))
            for x, y in strokes:
                array[0, x : x + 3, y : y + 9] = 255
            path = tmp_path / f"{index}.png"
            write_image(path, Image(array, np.eye(4)))
            cases.append(Case(f"c{index}", subject, {"image": path}, path if labelled else None, classes=classes))
        return Cohort("digits", tuple(cases))

    return make


def test_small_pictures_are_checked_for_what_can_be_told(small):
    result = run_checks(small(*((i, f"s{i}", ("ab"[i % 2],)) for i in range(40))))
    assert [(p.code, p.severity) for p in result.problems] == [("small_images", "note")] and result.clean
    assert result.problems[0].sentence.startswith(
        "cohort: 40 of 40 cases have small images (28 × 28); at least 2304 voxels"
    )
    channel = result.facts[0]["channels"]["image"]
    assert set(channel["quality"].values()) == {None}
    assert set(channel["not_measurable"].values()) == {"image too small (784 voxels)"}
    assert result.facts[0]["classes"] == ["a"] and (channel["min"], channel["max"]) == (0, 255)


def test_one_image_with_two_classes(small):
    rows = [
        (1, "s1", ("a",)),
        (2, "s2", ("b",)),
        (3, "s3", ("b",)),
        (1, "s1", ("b",)),
        (2, "s2", ("b",)),
        (3, "s3", ("a", "b")),
    ]
    found = {p.case: p for p in run_checks(small(*rows)).problems if p.code == "classes_disagree"}
    assert set(found) == {"c3", "c5"} and {p.severity for p in found.values()} == {"error"}
    assert "its image equals that of case c0, but it has class b and the other class a" in found["c3"].sentence
    assert "it has classes a, b and the other class b" in found["c5"].sentence
    labelled = run_checks(small(*rows, labelled=True))
    assert {p.severity for p in labelled.problems if p.code == "classes_disagree"} == {"warning"}


def test_a_constant_small_picture_is_still_an_error(tmp_path, small):
    cohort = small((1, "s1", ("a",)), (2, "s2", ("b",)))
    write_image(cohort.cases[0].channels["image"], Image(np.full((1, 28, 28), 7, np.uint8), np.eye(4)))
    assert ("constant", "c0", "error") in [(p.code, p.case, p.severity) for p in run_checks(cohort).problems]


def pictures(tmp_path, count, noise):
    """Return a cohort of 64 × 64 pictures that are one picture with noise."""
    rng = np.random.default_rng(0)
    base = np.kron(rng.integers(40, 200, (8, 8)), np.ones((8, 8)))
    cases = []
    for index in range(count):
        path = tmp_path / f"p{index}.png"
        write_image(path, Image((base + rng.normal(0, noise, (64, 64))).clip(1, 254).astype(np.uint8)[None], np.eye(4)))
        cases.append(Case(f"p{index}", f"s{index}", {"image": path}))
    return Cohort("alike", tuple(cases))


def test_images_that_are_all_alike_give_one_note(tmp_path):
    few = [p for p in run_checks(pictures(tmp_path, 6, 8.0)).problems if p.code == "near_duplicate"]
    assert len(few) == 5 and {p.severity for p in few} == {"warning"}
    many = [p for p in run_checks(pictures(tmp_path, 24, 8.0)).problems if p.code == "near_duplicate"]
    assert [(p.case, p.severity) for p in many] == [(None, "note")]
    assert "23 of 24 cases look like a case of another subject" in many[0].sentence


def test_the_most_alike_is_found_whatever_the_blocks(tmp_path, monkeypatch):
    """Against all pairs, one by one."""
    from striate.data.checks import looks_alike
    from striate.data.checks.gather import gather

    cases = [gather(c) for c in pictures(tmp_path, 9, 25.0).cases]
    unit = looks_alike._unit([c.channels["image"].signature.thumbnail for c in cases])
    wanted = {}
    for j in range(len(cases)):
        best = max(range(j), key=lambda i: float(unit[i] @ unit[j]), default=None)
        if best is not None and unit[best] @ unit[j] >= looks_alike.ALIKE:
            wanted[j] = (best, pytest.approx(float(unit[best] @ unit[j]), abs=1e-5))
    assert wanted
    for block in (2, 4, 256):
        monkeypatch.setattr(looks_alike, "BLOCK", block)
        found = {}
        for a, b, correlation, how in _alike(cases, "image"):
            if not how and correlation > found.get(b, (0, 0.0))[1]:
                found[b] = (a, correlation)
        assert found == wanted
