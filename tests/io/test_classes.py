"""A folder per class: what is one, and every folder that looks like it and is another."""

import pytest

from striate.core.errors import LayoutError
from striate.data.cohort import Cohort
from striate.io.layouts import recognise


def found(root):
    layout = recognise(root)
    assert layout.name == "classes"
    return {c.name: (c.subject, c.split, c.classes) for c in layout.cases}


def pictures(make, *names, **more):
    return make(*names, shape=(4, 6), **more)


def test_a_folder_per_class(make):
    root = pictures(make, "benign/b.png", "benign/a10.png", "benign/a2.jpg", "malignant/c.tif", "malignant/d.png")
    layout = recognise(root)
    assert layout.name == "classes" and [c.name for c in layout.cases] == ["a2", "a10", "b", "c", "d"]
    assert [c.classes for c in layout.cases] == [("benign",)] * 3 + [("malignant",)] * 2
    assert all(list(c.channels) == ["image"] and c.subject == c.name and c.split is None for c in layout.cases)
    assert layout.notes == [
        "a folder per class: benign (3), malignant (2)",
        "no subject (sub-01, patient7) in the names of 5 images (a2 and 4 more): each was taken as a subject of its own; where"
        " subjects have several images, a CSV with subject,image,class is needed",
    ]
    cohort = Cohort.open(root)
    assert cohort.class_names == ("benign", "malignant") and not cohort.multi_label and len(cohort.classified) == 5
    cohort.write_csv(root / "cohort.csv")
    assert Cohort.open(root).cases == cohort.cases and Cohort.open(root).layout == "csv"


def test_volumes_and_subjects_of_their_names(make):
    root = make("ad/sub-01_ses-1_T1w.nii.gz", "ad/sub-01_ses-2_T1w.nii.gz", "ad/odd.nii.gz", "cn/x_Patient7_1.nii.gz",
                "cn/sub-02.nii.gz", "cn/outpatient_9.nii.gz")  # fmt: skip
    assert {n: v[0] for n, v in found(root).items()} == {
        "sub-01_ses-1_T1w": "sub-01", "sub-01_ses-2_T1w": "sub-01", "odd": "odd", "x_Patient7_1": "Patient7",
        "sub-02": "sub-02", "outpatient_9": "outpatient_9",
    }  # fmt: skip
    assert "the subjects of 4 images were read from their names (sub-01_ses-1_T1w and 3 more)" in recognise(root).notes


@pytest.mark.parametrize("names", [("train", "validation", "test"), ("Training", "val", "testing")])
def test_folders_of_splits(make, names):
    root = pictures(make, *(f"{s}/{c}/{s}{c}{k}.png" for s in names for c in ("no", "yes") for k in (1, 2)))
    splits = [v[1] for v in found(root).values()]
    assert sorted(splits) == ["test"] * 4 + ["train"] * 4 + ["validation"] * 4


def test_names_that_return_get_class_and_split(make):
    root = pictures(make, *(f"{c}/{k}.png" for c in ("cat", "dog") for k in range(17)))
    assert set(found(root)) == {f"{c}_{k}" for c in ("cat", "dog") for k in range(17)}
    assert found(root)["cat_3"] == ("cat_3", None, ("cat",))
    root = pictures(
        make, *(f"{s}/{c}/{k}.png" for s in ("train", "test") for c in "ab" for k in range(17)), root="split"
    )
    assert found(root)["train_a_3"] == ("train_a_3", "train", ("a",)) and len(found(root)) == 68


def test_one_common_name_among_many_images_does_not_make_cases_of_classes(make):
    root = pictures(
        make, *(f"{c}/{c}{k}.png" for c in ("cat", "dog") for k in range(17)), "cat/image.png", "dog/image.png"
    )
    assert found(root)["cat_image"] == ("cat_image", None, ("cat",))


def test_masks_beside_the_images(make):
    root = pictures(
        make, "benign/b (1).png", "benign/b (1)_mask.png", "benign/b (2).png", "normal/n_lesion.png", "normal/m.png"
    )
    assert {c.name: c.label and c.label.name for c in recognise(root).cases} == {
        "b (1)": "b (1)_mask.png", "b (2)": None, "m": None, "n_lesion": None
    }  # fmt: skip
    pictures(make, "benign/b (1)_mask_1.png")
    with pytest.raises(LayoutError, match=r"image b \(1\): two masks, b \(1\)_mask\.png and b \(1\)_mask_1\.png"):
        recognise(root)


def test_what_lies_beside_is_told(make):
    root = pictures(make, "a/1.png", "a/2.png", "b/3.png", "b/4.png")
    (root / "empty").mkdir()
    (root / "a" / "notes.txt").write_text("x")
    (root / "README.md").write_text("x")
    (root / "a" / ".DS_Store").write_text("x")
    notes = " / ".join(recognise(root).notes)
    assert "a: files that are no images were left out (notes.txt)" in notes
    assert "folders without images in them were left out: empty" in notes and "README" not in notes
    root = pictures(make, "train/a/1.png", "train/a/2.png", "train/b/3.png", "extra/4.png", root="split")
    assert "were left out: extra" in " / ".join(recognise(root).notes)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([f"benign/{k}.png" for k in range(17)], r"one folder with images \(benign\); at least two classes are needed"),
        (["train/a/1.png", "train/a/2.png", "test/a/3.png"], r"one folder with images \(a\)"),
        ([f"{c}/{c}{k}.png" for c in "ab" for k in range(9)] + ["z.png"], r"z\.png: an image beside the folders of the classes"),
        (["train/a/1.png", "train/a/2.png", "train/b/3.png", "train/z.png"], r"train/z\.png: an image beside the folders"),
        (["a/1.png", "a/2.png", "b/3.png", "a/deep/4.png"], r"a/deep: a folder of images within the folder of a class"),
        (["none/1.png", "none/2.png", "some/3.png"], r"none: a class named 'none'; .* Rename the folder"),
        (["a;b/1.png", "a;b/2.png", "c/3.png"], r"a;b: class name 'a;b'"),
        (["a/1.png", "a/1.jpg", "b/2.png"], r"1\.jpg and 1\.png; one file named 1 is needed"),
        (["train/Ab/1.png", "train/Ab/2.png", "test/ab/3.png", "test/c/4.png"], r"classes ab and Ab; names that differ by more"),
        (["a/x_flair.png", "a/x_t1.png", "b/y_flair.png"], r"a: x_flair and x_t1 look like two channels of x; .*CSV settles it"),
        (["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"], r"folders cat, dog with the same names in each \(1, 2\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood(make, names, words):
    root = pictures(make, *names)
    with pytest.raises(LayoutError, match=words):
        recognise(root)


def test_one_class_beside_empty_folders_is_told_with_them(make):
    root = pictures(make, *(f"benign/{k}.png" for k in range(17)))
    (root / "malignant").mkdir()
    with pytest.raises(LayoutError, match=r"one folder with images \(benign\); malignant without an image in it"):
        recognise(root)


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        ("plain", ["images/a.png", "images/b.png", "masks/a.png", "masks/b.png"]),
        ("plain", ["images/a.png", "images/b.png", "labels/a.png", "labels/b.png", "other/c.png", "other/d.png"]),
        ("plain", ["P1/flair.png", "P1/t1.png", "P1/mask.png", "P2/flair.png", "P2/t1.png", "P2/mask.png"]),
        ("plain", ["anna/flair.png", "anna/t1.png", "bob/flair.png", "bob/t1.png"]),
        ("plain", ["anna/anna_flair.png", "anna/anna_seg.png", "bob/bob_flair.png", "bob/bob_seg.png"]),
        ("plain", ["anna/before.png", "anna/after.png", "bob/before.png", "bob/after.png"]),
        ("plain", ["anna/echo1.png", "anna/echo2.png", "bob/echo1.png", "bob/echo2.png"]),
        ("plain", ["x/x_0000.png", "x/x_0001.png", "y/y_0000.png", "y/y_0001.png"]),
        ("plain", ["anna/s7.png", "bob/s9.png", "carla/s1.png"]),
        ("plain", ["anna/before.png", "anna/after.png"]),
        ("plain", ["P1/1.png", "P1/2.png", "P2/1.png", "P2/2.png"]),
        ("plain", ["a.png", "b.png", "a_mask.png", "b_mask.png", "old/a.png", "old/b.png", "older/c.png"]),
        ("plain", ["a.png", "b.png", "old/c.png", "old/d.png", "older/e.png"]),
        ("nnunet", ["imagesTr/a_0000.png", "labelsTr/a.png", "imagesTs/b_0000.png"]),
        ("bids", ["sub-1/anat/sub-1_T1w.nii.gz", "sub-2/anat/sub-2_T1w.nii.gz"]),
    ],
)  # fmt: skip
def test_folders_of_other_layouts_stay_theirs(make, layout, names):
    assert recognise(pictures(make, *names)).name == layout


def test_a_csv_in_the_folder_settles_it(make):
    root = pictures(make, "a/1.png", "a/2.png", "b/3.png")
    (root / "cohort.csv").write_text("subject,image,class\nP1,a/1.png,a\nP1b,b/3.png,b\n")
    assert recognise(root).name == "csv" and len(recognise(root).cases) == 2


@pytest.mark.parametrize(
    "names",
    [
        ["P1/001.png", "P1/002.png", "P2/001.png"],  # slices of subjects
        ["anna/flair.png", "anna/t1.png", "bob/flair.png"],  # a channel is missing
        ["anna/echo1.png", "anna/echo2.png", "bob/echo1.png"],
        ["imagesTr/a.png", "imagesTr/b.png", "labelsTr/c.png"],  # nnU-Net without its numbers
        ["train/images/a.png", "train/images/b.png", "train/masks/a.png", "test/images/c.png"],
        ["train/P1/flair.png", "train/P1/t1.png", "train/P2/flair.png"],
        ["train/a.png", "train/b.png", "test/c.png"],  # splits, no classes
        ["lesion/a.png", "lesion/b.png", "scans_raw/a.png", "scans_raw/b.png", "scans_raw/c.png"],  # masks
    ],
)
def test_folders_that_are_no_classes_are_not_taken_for_them(make, names):
    root = pictures(make, *names)
    with pytest.raises(LayoutError, match=r"CSV"):
        recognise(root)


def test_channels_as_folders_are_not_classes_but_modalities_may_be(make):
    root = pictures(make, *(f"{c}/P{k}_scan.png" for c in ("flair", "t1") for k in range(20)))
    assert recognise(root).name == "plain"
    root = pictures(make, *(f"{c}/{c}{k}_scan.png" for c in ("ct", "mr") for k in range(20)), root="modalities")
    assert {c.classes for c in recognise(root).cases} == {("ct",), ("mr",)}


def test_the_hint_of_an_unknown_folder_names_the_layout(make):
    root = make("deep/er/a.nii.gz")
    with pytest.raises(LayoutError, match=r"a folder per class, or a CSV is needed"):
        recognise(root)
