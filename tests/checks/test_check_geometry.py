"""Grids, affines, sides and spacing: each defect planted, each silent without it."""

import heads
import numpy as np
import pytest

from striate.core.case import Case
from striate.core.image import Grid
from striate.data.checks import affine, grids, spacing
from striate.data.checks.facts import CaseFacts, ChannelFacts, CohortFacts
from striate.data.checks.gather import gather


def only(check, *cases):
    return [p.sentence for p in check.find(CohortFacts(tuple(cases)))]


def flipped():
    matrix = heads.affine()
    matrix[0, 0] *= -1
    matrix[0, 3] *= -1
    return matrix


def moved(by):
    matrix = heads.affine()
    matrix[:3, 3] += by
    return matrix


def turned(degrees):
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ heads.affine()


@pytest.mark.parametrize(
    ("label", "matrix", "match"),
    [
        (heads.mask(1)[:60], None, r"label map has shape \(60, 72, 48\), flair has \(64, 72, 48\) voxels"),
        (heads.mask(1), np.diag([3, 3, 4, 1.0]), r"label map has voxels of \(3, 3, 4\) mm, flair of \(3, 3, 3\) mm"),
        (heads.mask(1), flipped(), r"label map is stored in LAS order, flair in RAS \(left and right exchanged\)"),
        (heads.mask(1), moved((0, 12, 0)), r"label map is shifted by \(0, 12, 0\) mm against flair"),
        (heads.mask(1), turned(5), r"label map is rotated by 5.0° against flair"),
    ],
)
def test_mask_on_another_grid(tmp_path, label, matrix, match):
    facts = heads.facts_of(tmp_path, heads.scan(1), label, label_affine=matrix)
    found = only(grids, facts)
    assert len(found) == 1
    with pytest.raises(AssertionError, match=match):
        raise AssertionError(found[0])
    assert facts.label.outside_head is None


def test_channels_on_two_grids(maker):
    case = maker.add("a", {"flair": heads.scan(1)})
    other = heads.save(maker.folder / "t1.nii.gz", heads.scan(1, "t1"), moved((6, 0, 0)))
    facts = gather(Case("a", "a", {**case.channels, "t1": other}))
    assert "channel t1 is shifted by (6, 0, 0) mm against flair" in only(grids, facts)[0]


def test_same_grid_within_tolerance_is_silent(tmp_path):
    assert only(grids, heads.facts_of(tmp_path, heads.scan(1), heads.mask(1), label_affine=moved((0.02, 0, 0)))) == []


def test_qform_against_sform(tmp_path):
    path = heads.save(tmp_path / "a.nii.gz", heads.scan(1), heads.affine(), sform=flipped())
    facts = gather(Case("a", "a", {"flair": path}))
    (problem,) = affine.find(CohortFacts((facts,)))
    assert problem.code == "left_right" and problem.severity == "error"
    assert "channel flair is LAS by its sform and RAS by its qform: left and right are exchanged" in problem.sentence
    path = heads.save(tmp_path / "b.nii.gz", heads.scan(1), heads.affine(), sform=moved((0, 0, 20)))
    (problem,) = affine.find(CohortFacts((gather(Case("b", "b", {"flair": path})),)))
    assert "20.0 mm apart by its sform and by its qform" in problem.sentence
    path = heads.save(tmp_path / "c.nii.gz", heads.scan(1), heads.affine(), sform=moved((0, 0, 0.3)))
    assert only(affine, gather(Case("c", "c", {"flair": path}))) == []


def test_header_without_orientation(tmp_path):
    import nibabel as nib

    image = nib.Nifti1Image(heads.scan(1), heads.affine())
    image.set_qform(None, 0)
    image.set_sform(None, 0)
    nib.save(image, tmp_path / "a.nii.gz")
    found = only(affine, gather(Case("a", "a", {"flair": tmp_path / "a.nii.gz"})))
    assert "1 cases without an orientation in the header (a)" in found[0]


def of(name, step, shape=(20, 20, 20), matrix=None):
    matrix = np.diag([*step, 1.0]) if matrix is None else matrix
    return CaseFacts(name, name, {"ct": ChannelFacts(Grid(shape, matrix), 0, 1, 0.5, 0.1, 0, 1)})


def test_sheared_axes():
    matrix = np.diag([1.0, 1, 1, 1])
    matrix[1, 2] = 0.2
    assert "11.3° off the right angle" in only(affine, of("a", (1, 1, 1), matrix=matrix))[0]
    assert only(affine, of("a", (1, 1, 2))) == []


def test_spacing_outlier_and_axis_order():
    usual = [of(f"c{i}", (1, 1, 3)) for i in range(6)]
    turned_axes = of("t", (0, 0, 0), matrix=np.array([[0, 0, 1.0, 0], [0, 1, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1]]))
    assert only(spacing, *usual, turned_axes) == []
    assert only(spacing, *usual, of("x", (1, 1, 5))) == []
    found = only(spacing, *usual, of("x", (1, 1, 7)))
    assert len(found) == 1 and found[0].startswith("case x: voxels of 1 × 1 × 7 mm (RAS), 2.3 times off")
    assert only(spacing, *usual[:3], *[of(f"x{i}", (1, 1, 7)) for i in range(3)]) == []  # two protocols, no outlier


def test_impossible_spacing_and_mixed_dimensions():
    assert "unit is probably not mm" in only(spacing, of("a", (1000, 1000, 1000)))[0]
    assert "voxels of 0.001 × 0.001 × 0.001 mm" in only(spacing, of("a", (0.001, 0.001, 0.001)))[0]
    assert "0.003 mm over 0.06 mm;" in only(spacing, of("a", (0.003, 0.003, 0.003)))[0]
    assert only(spacing, of("a", (0.5, 0.5, 5))) == []
    assert only(spacing, of("a", (1, 1, 999), (20, 20, 1))) == []  # pictures that were made volumes have such
    assert "voxels of 0.001 × 0.001 × 5 mm over 0.02 mm" in only(spacing, of("a", (0.001, 0.001, 5), (20, 20, 1)))[0]
    assert "1 of 2 cases are pictures" in only(spacing, of("a", (1, 1, 1)), of("b", (1, 1, 1), (20, 20)))[0]
