"""nnU-Net, Decathlon and BIDS folders, recognised without renaming."""

# ruff: noqa: E501  (tables of cases, one to a line)

import json

import numpy as np
import pytest

from striate.core.errors import LayoutError
from striate.io.layouts import recognise
from striate.io.read import read_channels

NNUNET = {
    "channel_names": {"0": "FLAIR", "1": "T1 Gd"},
    "labels": {"background": 0, "edema": 1, "core": [2, 3], "necrosis": 2},
    "file_ending": ".nii.gz",
}


def nnunet(make, *cases, channels=2, document=NNUNET):
    root = make(
        *(f"imagesTr/{c}_{k:04d}.nii.gz" for c in cases for k in range(channels)),
        *(f"labelsTr/{c}.nii.gz" for c in cases),
    )
    if document:
        (root / "dataset.json").write_text(json.dumps(document))
    return root


def test_nnunet(make):
    root = nnunet(make, "a_10", "a_2")
    make("imagesTs/b_0000.nii.gz", "imagesTs/b_0001.nii.gz", "brainmasksTr/a_2.nii.gz")
    layout = recognise(root)
    assert layout.name == "nnunet" and layout.modality == "mr"
    assert [(c.name, c.subject, c.split) for c in layout.cases] == [
        ("a_2", "a_2", None),
        ("a_10", "a_10", None),
        ("b", "b", "test"),
    ]
    assert (
        list(layout.cases[0].channels) == ["flair", "t1-gd"]
        and layout.cases[0].channels["t1-gd"].name == "a_2_0001.nii.gz"
    )
    assert layout.cases[0].label == root / "labelsTr" / "a_2.nii.gz" and layout.cases[2].label is None
    assert layout.label_names == {1: "edema", 2: "necrosis"}
    assert "brainmasksTr" in " ".join(layout.notes) and "core = 2+3" in " ".join(layout.notes)


def test_nnunet_without_dataset_json_and_by_its_file(make):
    root = nnunet(make, "a", document=None)
    assert list(recognise(root).cases[0].channels) == ["channel0", "channel1"]
    (root / "dataset.json").write_text(json.dumps(NNUNET))
    assert list(recognise(root / "dataset.json").cases[0].channels) == ["flair", "t1-gd"]


def test_nnunet_ct_and_rgb_pictures(make):
    root = nnunet(
        make, "a", channels=1, document={"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}}
    )
    assert recognise(root).modality == "ct"
    root = make("imagesTr/a_0000.png", root="rgb", shape=(4, 6, 3))
    make("labelsTr/a.png", root="rgb", shape=(6, 4))
    (root / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "road": 1}})
    )
    case = recognise(root).cases[0]
    assert (
        list(case.channels) == ["r", "g", "b"]
        and [i.array.shape for i in read_channels(case).values()] == [(1, 6, 4)] * 3
    )


@pytest.mark.parametrize(
    ("remove", "words"),
    [
        (
            "labelsTr/a.nii.gz",
            r"case a: no label map named a in .*labelsTr; each image here needs one.*move the images to imagesTs",
        ),
        ("imagesTr/a_0001.nii.gz", r"case a: no a_0001 in .*imagesTr; all cases need the channels 0000, 0001"),
    ],
)
def test_nnunet_with_something_missing(make, remove, words):
    root = nnunet(make, "a", "b")
    (root / remove).unlink()
    with pytest.raises(LayoutError, match=words):
        recognise(root)


def test_nnunet_misnamed_and_doubled_files(make):
    root = nnunet(make, "a", "b")
    (root / "labelsTr" / "a.nii.gz").rename(root / "labelsTr" / "A1.nii.gz")
    with pytest.raises(LayoutError, match=r"no label map named a .*Known: A1, b"):
        recognise(root)
    make("imagesTr/readme.nii.gz")
    with pytest.raises(LayoutError, match=r"named readme; nnU-Net's form CASE_0000"):
        recognise(root)
    (root / "imagesTr" / "readme.nii.gz").rename(root / "imagesTr" / "a_0000.nii")
    with pytest.raises(LayoutError, match=r"a_0000\.nii and a_0000\.nii\.gz; one file named a_0000 is needed"):
        recognise(root)


def test_nnunet_with_broken_dataset_json(make):
    root = nnunet(make, "a")
    (root / "dataset.json").write_text("{not json")
    with pytest.raises(Exception, match=r"dataset\.json: not readable as JSON") as caught:
        recognise(root)
    assert caught.value.exit_code == 3


def test_decathlon_channels_are_the_last_axis(make):
    root = make("imagesTr/BRATS_001.nii.gz", "imagesTs/BRATS_002.nii.gz", shape=(3, 4, 5, 2))
    make("labelsTr/BRATS_001.nii.gz")
    document = {"modality": {"0": "FLAIR", "1": "T1w"}, "labels": {"0": "background", "1": "edema"},
                "training": [{"image": "./imagesTr/BRATS_001.nii.gz", "label": "./labelsTr/BRATS_001.nii.gz"}],
                "test": ["./imagesTs/BRATS_002.nii.gz"]}  # fmt: skip
    (root / "dataset.json").write_text(json.dumps(document))
    layout = recognise(root)
    assert layout.name == "decathlon" and layout.label_names == {1: "edema"} and layout.modality == "mr"
    assert [(c.name, c.split) for c in layout.cases] == [("BRATS_001", None), ("BRATS_002", "test")]
    images = read_channels(layout.cases[0])
    assert list(images) == ["flair", "t1w"] and images["t1w"].array.shape == (1, 3, 4, 5)
    document["training"][0]["label"] = "labelsTr/gone.nii.gz"
    (root / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(LayoutError, match=r"dataset\.json: .*gone\.nii\.gz: there is no such file"):
        recognise(root)


def test_bids_with_sessions_runs_people_and_raters(make):
    root = make(
        "sub-01/ses-a/anat/sub-01_ses-a_FLAIR.nii.gz", "sub-01/ses-a/anat/sub-01_ses-a_run-1_T1w.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_FLAIR.nii.gz", "sub-01/ses-b/anat/sub-01_ses-b_T1w.nii.gz",
        "sub-02/anat/sub-02_FLAIR.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz", "sub-02/anat/sub-02_T2w.nii.gz",
        "derivatives/rater1/sub-02/anat/sub-02_label-lesion_mask.nii.gz", "derivatives/rater2/sub-02/anat/sub-02_label-lesion_mask.nii.gz",
        "derivatives/bet/sub-02/anat/sub-02_label-brain_mask.nii.gz",
        "derivatives/rater1/sub-01/ses-a/anat/sub-01_ses-a_label-lesion_mask.nii.gz",
    )  # fmt: skip
    (root / "participants.tsv").write_text("participant_id\tage\tsex\tsite\nsub-01\t41\tF\tn/a\nsub-02\tNaN\tM\t\n")
    layout = recognise(root)
    assert layout.name == "bids" and layout.label_names == {1: "lesion"}
    assert [(c.name, c.subject) for c in layout.cases] == [
        ("sub-01_ses-a", "sub-01"),
        ("sub-01_ses-b", "sub-01"),
        ("sub-02", "sub-02"),
    ]
    assert all(list(c.channels) == ["flair", "t1w"] for c in layout.cases)
    assert layout.cases[0].metadata == {"age": "41", "sex": "F", "time": "a"} and layout.cases[2].metadata == {
        "sex": "M"
    }
    assert layout.columns == ["age", "sex", "site"]
    assert layout.cases[2].label.parts[-4] == "rater1" and list(layout.cases[2].raters) == ["rater2"]
    assert (
        layout.cases[1].label is None
        and "t2w" in " ".join(layout.notes)
        and "1 of 3 cases has no mask" in " ".join(layout.notes)
    )


def test_bids_segmentation_with_its_table(make):
    root = make("sub-1/anat/sub-1_T1w.nii.gz", "derivatives/seg/sub-1/anat/sub-1_dseg.nii.gz")
    (root / "derivatives" / "seg" / "dseg.tsv").write_text(
        "index\tname\n0\tBackground\n2\tLeft Hippocampus\n1\tRight Hippocampus\n"
    )
    assert recognise(root).label_names == {2: "left-hippocampus", 1: "right-hippocampus"}


def test_bids_with_masks_of_several_labels_is_not_guessed(make):
    root = make(
        "sub-1/anat/sub-1_T1w.nii.gz",
        *(f"derivatives/seg/sub-1/anat/sub-1_label-{n}_mask.nii.gz" for n in ("GM", "WM")),
    )
    with pytest.raises(LayoutError, match=r"case sub-1: masks of several labels \(GM, WM\).*CSV: subject,flair,label"):
        recognise(root)


def test_bids_without_a_common_channel(make):
    root = make("sub-1/anat/sub-1_T1w.nii.gz", "sub-2/anat/sub-2_T2w.nii.gz")
    with pytest.raises(LayoutError, match=r"no channel that all 2 sessions have \(sub-1 t1w; sub-2 t2w\)"):
        recognise(root)


def test_one_image_or_another_file_is_no_cohort(make, tmp_path):
    root = make("a.nii.gz")
    with pytest.raises(LayoutError, match=r"a\.nii\.gz: one image; .* Give its folder"):
        recognise(root / "a.nii.gz")
    (tmp_path / "notes.docx").write_bytes(b"x")
    with pytest.raises(LayoutError, match=r"a file with ending '\.docx'; .*A CSV starts with: subject,flair,label"):
        recognise(tmp_path / "notes.docx")


def test_a_folder_that_holds_the_cohort_says_where_it_is(make):
    root = make("Dataset/deep/images/P1.nii.gz", "Dataset/deep/masks/P1.nii.gz")
    with pytest.raises(LayoutError, match=r"a folder with Dataset/; .*"):
        recognise(root)
    with pytest.raises(LayoutError, match=r"a folder with deep/; .* Did you mean .*deep\?"):
        recognise(root / "Dataset")


def test_a_broken_picture_does_not_hide_the_cohort(make):
    root = make("images/a.png", "images/b.png", "images/c.png", shape=(4, 6, 3))
    make("masks/a.png", "masks/b.png", "masks/c.png", shape=(6, 4))
    for name in ("a", "c"):
        (root / "images" / f"{name}.png").write_text("hello")
    assert [list(case.channels) for case in recognise(root).cases] == [["red", "green", "blue"]] * 3


def test_colour_pictures_get_three_channels(make):
    root = make("images/a.png", shape=(4, 6, 3))
    make("masks/a.png", shape=(6, 4))
    case = recognise(root).cases[0]
    assert list(case.channels) == ["red", "green", "blue"]
    assert np.array_equal(next(iter(read_channels(case).values())).array, np.ones((1, 6, 4)))
