"""Copies, near-copies and subjects on both sides of a split."""

import dataclasses

import heads
import numpy as np
import pytest
from scipy import ndimage

from striate.core.case import Case
from striate.core.image import Image
from striate.data.checks import duplicates, leakage, looks_alike
from striate.data.checks.facts import CohortFacts
from striate.data.checks.gather import gather
from striate.data.checks.run import find_problems
from striate.io.write import write_image


def only(check, *cases):
    return [p.sentence for p in check.find(CohortFacts(tuple(cases)))]


@pytest.fixture(scope="module")
def different(tmp_path_factory):
    maker = heads.Maker(tmp_path_factory.mktemp("different"))
    return [gather(maker.add(f"P{s}", {"flair": heads.scan(s)}, heads.mask(s))) for s in range(4)]


def copy_of(tmp_path, image, name="copy", label=None, matrix=None, **more):
    maker = heads.Maker(tmp_path)
    case = maker.add(name, {"flair": image}, heads.mask(0) if label is None else label, **more)
    if matrix is not None:
        heads.save(case.channels["flair"], image, matrix)
        heads.save(case.label, case.label and heads.mask(0), matrix)
    return gather(case)


@pytest.mark.parametrize("check", [duplicates, looks_alike, leakage])
def test_silent_on_different_people(different, check):
    assert only(check, *different) == []


def test_exact_copy_under_another_subject(different, tmp_path):
    copy = copy_of(tmp_path, heads.scan(0))
    (found,) = only(duplicates, *different, copy)
    assert "case copy: flair holds the same voxels as flair of case P0 (subjects copy and P0)" in found
    assert only(looks_alike, *different, copy) == []  # told once


def test_exact_copy_stored_in_another_order(different, tmp_path):
    turned = heads.affine()
    turned[0, 0] *= -1
    turned[0, 3] = heads.affine()[0, 3] + heads.SPACING * (heads.SHAPE[0] - 1)
    copy = copy_of(tmp_path, heads.scan(0)[::-1].copy(), matrix=turned)
    assert "same voxels as flair of case P0" in only(duplicates, *different, copy)[0]


def test_copy_of_the_same_subject_is_a_warning(different, tmp_path):
    (problem,) = duplicates.find(CohortFacts((different[0], copy_of(tmp_path, heads.scan(0), subject="P0"))))
    assert problem.severity == "warning" and "of the same subject" in problem.sentence


def test_copies_with_different_masks(different, tmp_path):
    found = only(duplicates, *different, copy_of(tmp_path, heads.scan(0), label=heads.mask(3)))
    assert "its scan equals that of case P0, but the label maps differ" in found[1]


def test_one_image_in_two_channels(tmp_path):
    maker = heads.Maker(tmp_path)
    facts = gather(maker.add("a", {"flair": heads.scan(1), "t1": heads.scan(1)}))
    assert "case a: channels flair and t1 hold the same image" in only(duplicates, facts)[0]


CHANGED = {
    "noise": lambda a: np.abs(a + np.random.default_rng(3).normal(0, 15, a.shape)).astype(np.float32),
    "scale": lambda a: a * 3.7,
    "gamma": lambda a: (a / a.max()) ** 0.8 * 100,
    "smooth": lambda a: ndimage.gaussian_filter(a, 0.7),
    "moved": lambda a: np.abs(np.roll(a, (3, -2), (0, 1)) + np.random.default_rng(3).normal(0, 2, a.shape)),
}


@pytest.mark.parametrize("how", sorted(CHANGED))
def test_near_copies_are_found(different, tmp_path, how):
    copy = copy_of(tmp_path, CHANGED[how](heads.scan(0)).astype(np.float32))
    (found,) = only(looks_alike, *different, copy)
    assert (
        found.startswith("case copy: flair looks like flair of case P0 (correlation 0.9") or "correlation 1.0" in found
    )
    assert only(duplicates, *different, copy) == []
    same = dataclasses.replace(copy, subject="P0")
    assert only(looks_alike, *different, same) == []


def test_copy_with_another_border_has_the_same_voxels(different, tmp_path):
    copy = copy_of(tmp_path, np.roll(heads.stripped(heads.scan(0), 0), (3, -2), (0, 1)))
    first = copy_of(tmp_path, heads.stripped(heads.scan(0), 0), name="first")
    assert "case copy: flair holds the same voxels as flair of case first" in only(duplicates, first, copy)[0]


@pytest.mark.parametrize(("axis", "how"), [(0, "left to right"), (1, "front to back"), (2, "upside down")])
def test_mirrored_copies_are_found(different, tmp_path, axis, how):
    noisy = np.abs(heads.scan(0) + np.random.default_rng(3).normal(0, 5, heads.SHAPE)).astype(np.float32)
    (found,) = only(looks_alike, *different, copy_of(tmp_path, np.flip(noisy, axis).copy()))
    assert "of case P0" in found and how in found


def test_pictures_have_a_top_and_a_bottom(tmp_path):
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(size=(96, 80)), 5)
    image = (100 + 40 * image / image.std()).clip(0, 255)
    (tmp_path / "pictures").mkdir()
    cases = []
    for name, array in (("a", image), ("b", np.flip(image, 1) + rng.normal(0, 3, image.shape))):
        path = tmp_path / "pictures" / f"{name}.png"
        write_image(path, Image(array.clip(0, 255).astype(np.uint8)[None], np.eye(4)))
        cases.append(gather(Case(name=name, subject=name, channels={"image": path})))
    (found,) = only(looks_alike, *cases)
    assert "mirrored top to bottom" in found


def test_subject_on_both_sides(different):
    cases = [dataclasses.replace(c, split="train") for c in different]
    assert only(leakage, *cases) == []
    second = dataclasses.replace(cases[1], case="P0b", subject="P0", split="validation")
    (found,) = only(leakage, cases[0], cases[2], second)
    assert "cohort: subject P0 is on both sides of the split (P0 in train, P0b in validation)" in found


def test_scan_on_both_sides_under_two_names(different, tmp_path):
    cases = [dataclasses.replace(c, split="train") for c in different]
    copy = dataclasses.replace(copy_of(tmp_path, heads.scan(0)), split="validation")
    (found,) = only(leakage, *cases, copy)
    assert "one scan is on both sides of the split under different subjects (P0 in train, copy in validation)" in found
    assert {"leakage", "duplicate"} <= {p.code for p in find_problems(CohortFacts((*cases, copy)))}
