"""The folders of real data, where they are at hand."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from striate.core.errors import LayoutError
from striate.data.cohort import Cohort
from striate.io.read import read_channels, read_image, read_label

DATA = Path(os.environ.get("STRIATE_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


def folder(name):
    path = DATA / name
    if not path.is_dir():
        pytest.skip(f"real data {name} are not here (set STRIATE_TEST_DATA)")
    return path


def test_brats_as_nnunet():
    cohort = Cohort.open(folder("Dataset015_BraTS"))
    assert cohort.layout == "nnunet" and cohort.channels == ("flair", "t1c") and len(cohort.labelled) == 4
    assert cohort.label_names == {1: "necrosis", 2: "edema", 3: "nonenhancing", 4: "enhancing"}
    case = cohort.case("brats0004")
    label = read_label(case.label)
    assert label.array.dtype == np.uint8 and set(label.values()) <= {1, 2, 3, 4}
    theirs = nib.load(case.label)
    assert np.array_equal(label.array, np.asarray(theirs.dataobj)) and np.allclose(label.affine, theirs.affine)
    assert all(i.grid.matches(label.grid) for i in read_channels(case).values())


def test_ms_as_bids():
    cohort = Cohort.open(folder("ms-bids"))
    assert (cohort.layout, cohort.label_names) == ("bids", {1: "lesion"})
    assert cohort.channels == ("ce-gadolinium_t1w", "flair", "t1w", "t2w") and cohort.subjects == ("sub-26",)
    assert read_label(cohort.cases[0].label).values() == (1,)


def test_tumours_as_plain_nrrd():
    cohort = Cohort.open(folder("tumours-pyradiomics"))
    assert cohort.layout == "plain" and cohort.channels == ("image",) and len(cohort.labelled) == 4
    case = cohort.case("lung1")
    image, label = read_image(case.channels["image"]), read_label(case.label)
    theirs = sitk.ReadImage(str(case.channels["image"]))
    assert np.array_equal(image.array[0], sitk.GetArrayFromImage(theirs).T) and image.grid.matches(label.grid)
    corner = theirs.TransformIndexToPhysicalPoint((3, 5, 7))
    assert np.allclose((image.affine @ [3, 5, 7, 1])[:3], np.array(corner) * [-1, -1, 1])


def test_longitudinal_data_are_not_guessed():
    with pytest.raises(
        LayoutError, match=r"sub-01 on different grids .* subject,time,image,label ⏎ sub-01,study1_flair,sub-01/study1"
    ):
        Cohort.open(folder("ms-longitudinal"))


def test_masks_alone_are_no_cohort():
    with pytest.raises(LayoutError, match=r"28 masks .* and no images"):
        Cohort.open(folder("ms-lesion-masks-mni"))
