"""Facts of cohorts made by hand, whose numbers are known."""

from __future__ import annotations

import math

import nibabel as nib
import numpy as np
import pytest

from striate.core.case import Case
from striate.core.errors import DataError, FormatError, LabelError, PlanError
from striate.core.targets import Targets
from striate.data.cohort import Cohort
from striate.planning.fingerprint import Fingerprint, coarser

SHAPE = (24, 20, 16)
AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])


@pytest.fixture
def cohort(tmp_path):
    """Make a cohort of (image, label) pairs of arrays; `names` are label names, `affine` the grid."""

    def make(*pairs, names=None, affine=AFFINE, channels=("flair",)):
        cases = []
        for index, (images, label) in enumerate(pairs):
            arrays = images if isinstance(images, tuple) else (images,)
            files = {}
            for channel, array in zip(channels, arrays, strict=True):
                files[channel] = tmp_path / f"{index}_{channel}.nii.gz"
                nib.save(nib.Nifti1Image(array.astype(np.float32), affine), files[channel])
            mask = tmp_path / f"{index}_label.nii.gz"
            nib.save(nib.Nifti1Image(label.astype(np.uint8), affine), mask)
            cases.append(Case(f"c{index}", f"p{index}", files, mask))
        return Cohort("made", tuple(cases), label_names=names or {})

    return make


def box(*slices, value=1, shape=SHAPE):
    """Return zeros with a box of `value`."""
    array = np.zeros(shape)
    array[slices] = value
    return array


def measure(cohort, targets=None):
    """Measure all cases."""
    return Fingerprint.measure(cohort, cohort.cases, targets)


def test_extent_volume_and_diameter(cohort):
    label = box(slice(2, 8), slice(4, 9), slice(5, 9))  # 6 × 5 × 4 voxels of 1 × 2 × 3 mm
    facts = measure(cohort((np.ones(SHAPE), label)))
    found = facts.objects["label_1"]
    volume_mm3 = 6 * 10 * 12
    assert found.extent_mm == (6, 10, 12)
    assert found.volume_ml == pytest.approx(volume_mm3 / 1000)
    assert found.diameter_mm == pytest.approx((6 * volume_mm3 / math.pi) ** (1 / 3), abs=0.06)
    assert found.cases == 1 and found.left_share == (1.0,)
    assert facts.label_names == {1: "label_1"} and facts.spatial_dims == 3
    assert facts.cases[0].spacing_mm == (1, 2, 3) and facts.cases[0].shape == SHAPE


def test_the_typical_object_holds_half_of_the_volume(cohort):
    label = np.zeros(SHAPE)
    label[1, 1, 1] = label[4, 1, 1] = label[7, 1, 1] = 1  # three single voxels
    label[10:14, 10:12, 10:12] = 1  # one of 16
    found = measure(cohort((np.ones(SHAPE), label), affine=np.eye(4))).objects["label_1"]
    assert found.diameter_mm == pytest.approx((6 * 16 / math.pi) ** (1 / 3), abs=0.06)
    assert found.extent_mm == (4, 2, 2)  # of the largest object, not of all


def test_diameter_of_a_disc(cohort):
    label = ((np.indices((40, 40)) - 20) ** 2).sum(axis=0) < 100
    facts = measure(cohort((np.ones((40, 40)), label), affine=np.diag([0.5, 0.5, 1, 1])))
    assert facts.spatial_dims == 2
    assert facts.objects["label_1"].diameter_mm == pytest.approx(10.0, abs=0.3)


def test_medians_over_the_cases_that_have_it(cohort):
    boxes = [box(slice(0, n), slice(0, 4), slice(0, 4)) for n in (2, 4, 10)]
    empty = np.zeros(SHAPE)
    empty[0, 0, 0] = 2
    facts = measure(cohort(*[(np.ones(SHAPE), b) for b in (*boxes, empty)]))
    assert facts.objects["label_1"].cases == 3 and facts.objects["label_2"].cases == 1
    assert facts.objects["label_1"].extent_mm == (4, 8, 12)


def test_a_label_that_occurs_nowhere_keeps_its_name_but_has_no_facts(cohort):
    facts = measure(cohort((np.ones(SHAPE), box(slice(0, 4))), names={1: "core", 2: "cyst"}))
    assert facts.label_names == {1: "core", 2: "cyst"} and set(facts.objects) == {"core"}


def test_ceiling_of_an_aligned_box_is_high_and_of_a_checkerboard_low(cohort):
    whole = box(slice(4, 16), slice(4, 16), slice(4, 16), shape=(24, 24, 24))
    board = np.indices((24, 24, 24)).sum(axis=0) % 2
    facts = [measure(cohort((np.ones((24, 24, 24)), a), affine=np.eye(4))) for a in (whole, board)]
    assert facts[0].objects["label_1"].ceiling[2] > 0.9
    assert facts[1].objects["label_1"].ceiling[2] < 0.7


def test_coarser_leaves_thick_axes_alone():
    assert coarser((1.0, 1.0, 5.0), 2) == (2.0, 2.0, 5.0)
    assert coarser((1.0, 1.5, 1.0), 1.5) == (1.5, 1.5, 1.5)


def test_intensities_are_those_of_labelled_voxels(cohort):
    label = box(slice(2, 8), slice(4, 9), slice(5, 9))
    image = np.where(label == 1, np.arange(label.size).reshape(SHAPE) % 7 + 100, 5)
    facts = measure(cohort((image, label)))
    inside = image[label == 1]
    found = facts.intensities[0]
    assert found.mean == pytest.approx(inside.mean()) and found.std == pytest.approx(inside.std())
    assert (found.p005, found.median, found.p995) == pytest.approx(tuple(np.percentile(inside, (0.5, 50, 99.5))))


def test_background_is_cropped_and_counted(cohort):
    image = box(slice(3, 9), slice(2, 12), slice(4, 10), value=7)
    facts = measure(cohort((image, box(slice(4, 6), slice(4, 6), slice(5, 7)))))
    assert facts.cases[0].cropped == (6, 10, 6) and facts.zero_background
    noisy = measure(cohort((np.random.default_rng(0).normal(size=SHAPE) + 9, box(slice(4, 6)))))
    assert noisy.cases[0].cropped == SHAPE and not noisy.zero_background


def test_left_is_left_whatever_the_orientation(cohort):
    label = box(slice(0, 6), slice(4, 9), slice(5, 9))  # low first index: left in RAS, right in LAS
    shares = [
        measure(cohort((np.ones(SHAPE), label), affine=a)).objects["label_1"].left_share
        for a in (AFFINE, np.diag([-1.0, 2, 3, 1]))
    ]
    assert shares == [(1.0,), (0.0,)]


def test_axes_are_those_of_ras(cohort):
    turned = np.array([[0.0, 0, 3, 0], [1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]])  # i → A, j → S, k → R
    facts = measure(cohort((np.ones(SHAPE), box(slice(0, 6), slice(0, 5), slice(0, 4))), affine=turned))
    assert facts.cases[0].shape == (16, 24, 20) and facts.cases[0].spacing_mm == (3, 1, 2)
    assert facts.objects["label_1"].extent_mm == (12, 6, 10)


def test_regions_are_measured_as_wholes(cohort):
    label = box(slice(0, 4), slice(0, 4), slice(0, 4)) + box(slice(4, 6), slice(0, 4), slice(0, 4), value=2)
    targets = Targets({"tumour": (1, 2), "core": (2,)}, exclusive=False)
    facts = measure(cohort((np.ones(SHAPE), label)), targets)
    assert facts.objects["tumour"].extent_mm == (6, 8, 12) and facts.objects["core"].extent_mm == (2, 8, 12)


def test_several_channels_in_one_file_are_read_once(tmp_path):
    from PIL import Image

    colours = np.zeros((30, 40, 3), np.uint8)
    colours[5:15, 5:25] = (200, 100, 50)
    mask = np.zeros((30, 40), np.uint8)
    mask[5:15, 5:25] = 1
    folder = tmp_path / "photos"
    for name, array in (("images", colours), ("masks", mask)):
        (folder / name).mkdir(parents=True)
        for index in range(2):
            Image.fromarray(array).save(folder / name / f"p{index}.png")
    cohort = Cohort.open(folder)
    facts = Fingerprint.measure(cohort, cohort.cases)
    assert facts.channels == cohort.channels and len(facts.channels) == 3
    assert [i.median for i in facts.intensities] == [200, 100, 50]
    assert facts.cases[0].shape == (40, 30)


def test_round_trip_and_damage(cohort, tmp_path):
    facts = measure(cohort((np.ones(SHAPE), box(slice(0, 4))), names={1: "core"}))
    path = tmp_path / "fingerprint.json"
    facts.write(path)
    assert Fingerprint.read(path) == facts
    text = path.read_text()
    path.write_text(text.replace('"schema_version": 1', '"schema_version": 9'))
    with pytest.raises(FormatError, match=r"schema version 9; this Striate reads up to 1"):
        Fingerprint.read(path)
    path.write_text(text.replace('"zero_background"', '"zero_backgruond"'))
    with pytest.raises(PlanError, match=r"unknown key 'zero_backgruond'. Did you mean 'zero_background'"):
        Fingerprint.read(path)


def test_it_is_the_same_when_measured_again(cohort):
    made = cohort((np.random.default_rng(1).normal(size=SHAPE), box(slice(0, 20))))
    assert measure(made) == measure(made)


def test_refusals(cohort, tmp_path):
    label = box(slice(0, 4))
    made = cohort((np.ones(SHAPE), label), (np.ones(SHAPE), label))
    with pytest.raises(DataError, match=r"2 cases, none with a label map; ground truth is needed"):
        Fingerprint.measure(made, [])
    with pytest.raises(LabelError, match="all label maps are empty"):
        measure(cohort((np.ones(SHAPE), np.zeros(SHAPE))))
    with pytest.raises(LabelError, match=r"no voxel of any region \(cyst = 4\+5\), only labels \[1\].*--regions"):
        measure(made, Targets({"cyst": (4, 5)}, exclusive=False))
    bare = Case("bare", "p", {"flair": made.cases[0].channels["flair"]})
    with pytest.raises(DataError, match="case bare: no label map"):
        Fingerprint.measure(made, [bare])
    small = tmp_path / "small.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((3, 3, 3), np.uint8), AFFINE), small)
    other = Case("other", "p", dict(made.cases[0].channels), small)
    with pytest.raises(DataError, match=r"case other: channel flair has shape .*striate check"):
        Fingerprint.measure(made, [other])
