"""Plain folders: masks by their names, channels by what is left of the name."""

import pytest

from striate.core.errors import LayoutError
from striate.io.layouts import recognise
from striate.io.layouts.naming import channel_of, mask_owner, subject_of, without_channel


def found(root):
    layout = recognise(root)
    assert layout.name == "plain"
    return {c.name: (tuple(c.channels), c.label.name if c.label else None) for c in layout.cases}


@pytest.mark.parametrize(
    ("name", "owner"),
    [("P1_seg", "P1"), ("P1", None), ("P1-seg", "P1"), ("P1_Lesion_Mask", "P1"), ("P1_label-lesion_mask", "P1"), ("mask", ""),
     ("brain1_label", "brain1"), ("P1_flair_seg", "P1_flair"), ("segment", None), ("P1_seg2", "P1"), ("masked_P1", None)],
)  # fmt: skip
def test_whose_mask(name, owner):
    assert mask_owner(name) == owner


def test_other_names():
    assert (
        without_channel("P1_flair") == "P1"
        and without_channel("P1_0000") == "P1"
        and without_channel("P1_left") == "P1_left"
    )
    assert (
        channel_of("P1_T1 Gd", "P1") == "t1-gd"
        and channel_of("P1", "P1") == "image"
        and channel_of("P1_0002", "P1") == "channel2"
    )
    assert subject_of("sub-01_ses-2") == "sub-01" and subject_of("P1") == "P1"


@pytest.mark.parametrize("folders", [("images", "masks"), ("Images", "Labels"), ("imgs", "segmentations")])
def test_two_folders(make, folders):
    images, masks = folders
    root = make(f"{images}/a.nii.gz", f"{images}/b.nii.gz", f"{masks}/a.nii.gz", f"{masks}/b.nii.gz")
    assert found(root) == {"a": (("image",), "a.nii.gz"), "b": (("image",), "b.nii.gz")}


def test_two_folders_with_suffixes_and_other_endings(make):
    root = make("images/a.jpg", "images/b.jpg", shape=(4, 6))
    make("masks/a_mask.png", "masks/b_mask.png", shape=(4, 6))
    assert found(root) == {"a": (("image",), "a_mask.png"), "b": (("image",), "b_mask.png")}


def test_two_folders_with_channels_and_numbers(make):
    root = make(
        "images/P1_flair.nii.gz",
        "images/P1_t1.nii.gz",
        "images/P10_flair.nii.gz",
        "images/P10_t1.nii.gz",
        "masks/P1.nii.gz",
        "masks/P10.nii.gz",
    )
    assert found(root) == {"P1": (("flair", "t1"), "P1.nii.gz"), "P10": (("flair", "t1"), "P10.nii.gz")}
    root = make("images/P1_0000.nii.gz", "images/P1_0001.nii.gz", "labels/P1.nii.gz", root="numbered")
    assert found(root) == {"P1": (("channel0", "channel1"), "P1.nii.gz")}


@pytest.mark.parametrize("word", ["seg", "mask", "label", "gt", "lesion_mask", "label-lesion_mask"])
@pytest.mark.parametrize("mark", ["_", "-"])
def test_masks_beside_images(make, word, mark):
    root = make(f"P1{mark}flair.nii.gz", f"P1{mark}t1.nii.gz", f"P1{mark}{word}.nii.gz")
    assert found(root) == {"P1": (("flair", "t1"), f"P1{mark}{word}.nii.gz")}


def test_a_mask_named_after_its_image(make):
    assert found(make("P1_flair.nii.gz", "P1_flair_seg.nii.gz")) == {"P1": (("flair",), "P1_flair_seg.nii.gz")}
    assert found(make("a_left.nii.gz", "a_left_seg.nii.gz", root="b")) == {"a_left": (("image",), "a_left_seg.nii.gz")}
    assert found(make("a_lesion.png", "a_lesion_mask.png", root="c", shape=(4, 4))) == {
        "a_lesion": (("image",), "a_lesion_mask.png")
    }


def test_a_folder_per_case(make):
    root = make(*(f"BraTS_{k}/BraTS_{k}_{s}.nii.gz" for k in (1, 2) for s in ("flair", "t1ce", "seg")))
    assert found(root) == {f"BraTS_{k}": (("flair", "t1ce"), f"BraTS_{k}_seg.nii.gz") for k in (1, 2)}
    root = make("P1/FLAIR.nii.gz", "P1/mask.nii.gz", "P2/FLAIR.nii.gz", "P2/mask.nii.gz", root="short")
    assert found(root) == dict.fromkeys(("P1", "P2"), (("image",), "mask.nii.gz"))


def test_one_case_with_bare_names(make):
    assert found(make("flair.nii.gz", "t1.nii.gz", "mask.nii.gz")) == {"data": (("flair", "t1"), "mask.nii.gz")}


def test_images_without_masks(make):
    assert found(make("scan one.nii.gz", "scan two.nii.gz")) == {
        "scan one": (("image",), None),
        "scan two": (("image",), None),
    }
    root = make("P1_0000.nii.gz", "P1_0001.nii.gz", "P2_0000.nii.gz", "P2_0001.nii.gz", root="numbered")
    assert found(root) == dict.fromkeys(("P1", "P2"), (("channel0", "channel1"), None))
    root = make("P1_flair.nii.gz", "P1_t1.nii.gz", root="named")
    assert found(root) == {"P1": (("flair", "t1"), None)}


def test_some_masks_are_missing(make):
    root = make("images/a.nii.gz", "images/b.nii.gz", "masks/a.nii.gz")
    assert found(root) == {"a": (("image",), "a.nii.gz"), "b": (("image",), None)}
    assert recognise(root).notes == ["1 of 2 cases has no mask: b"]


def test_label_names_and_subjects_of_visits(make):
    root = make(
        "images/sub-1_ses-1.nii.gz", "images/sub-1_ses-2.nii.gz", "masks/sub-1_ses-1.nii.gz", "masks/sub-1_ses-2.nii.gz"
    )
    (root / "labels.json").write_text('{"2": "cyst", "0": "background", "1": "tumour"}')
    layout = recognise(root)
    assert layout.label_names == {1: "tumour", 2: "cyst"} and {c.subject for c in layout.cases} == {"sub-1"}
    (root / "labels.json").write_text('{"one": "tumour"}')
    with pytest.raises(LayoutError, match=r"labels\.json: the entry 'one': 'tumour'; label value and name are needed"):
        recognise(root)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("images/a.nii.gz", "masks/b.nii.gz"), r"case b: a mask \(b\.nii\.gz\) and no image; image and mask need the same name"),
        (("a_seg.nii.gz", "b_seg.nii.gz"), r"2 masks \(a_seg\.nii\.gz, b_seg\.nii\.gz\) and no images"),
        (("a.nii.gz", "a_seg.nii.gz", "a_mask.nii.gz"), r"case a: two masks, a_mask\.nii\.gz and a_seg\.nii\.gz; .*rater_2"),
        (("P1_flair.nii.gz", "P1_seg.nii.gz", "P2_flair.nii.gz", "P2_t1.nii.gz", "P2_seg.nii.gz"),
         r"case P1 has the images flair, case P2 has flair, t1; the same channels .* P1,P1_flair\.nii\.gz,P1_seg\.nii\.gz"),
        (("P1/mask.nii.gz", "P2/mask.nii.gz"), r"a mask \(mask\) and no image"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood(make, names, words):
    with pytest.raises(LayoutError, match=words):
        recognise(make(*names))


def test_several_visits_in_a_folder_are_not_taken_for_channels(make):
    for subject in ("S1", "S2"):
        root = make(f"{subject}/study1_FLAIR.nii.gz", shape=(3, 4, 5))
        make(f"{subject}/study2_FLAIR.nii.gz", shape=(3, 4, 6))
        make(f"{subject}/gt.nii.gz", shape=(3, 4, 6))
    with pytest.raises(
        LayoutError, match=r"files of S1 on different grids .*study1_flair 3 × 4 × 5.*CSV settles it"
    ) as caught:
        recognise(root)
    assert (
        "⏎ S1,study1_flair,S1/study1_FLAIR.nii.gz,MASK_ON_THE_SAME_GRID ⏎ S1,study2_flair,S1/study2_FLAIR.nii.gz,S1/gt.nii.gz"
        in str(caught.value)
    )


def test_a_mask_on_another_grid_is_left_to_check(make):
    root = make("images/a.nii.gz", shape=(3, 4, 5))
    make("masks/a.nii.gz", shape=(3, 4, 6))
    assert list(found(root)) == ["a"]
