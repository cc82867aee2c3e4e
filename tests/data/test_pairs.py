"""Matching predicted masks with true ones by case name."""

import json

import numpy as np
import pytest

from striate.core.errors import DataError, LayoutError
from striate.core.image import Image, LabelMap
from striate.data.pairs import pair_masks
from striate.io.write import write_image, write_label
from striate.workflows.evaluate import evaluate


def mask(path, value=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros((6, 5, 4), np.uint8)
    array[2:4, 2:4, 1:3] = value
    write_label(path, LabelMap(array, np.eye(4)))
    return path


def folder(path, names, ending=".nii.gz"):
    for name in names:
        mask(path / f"{name}{ending}")
    return path


def cohort(path, labelled, blind=()):
    """A CSV cohort with one subject per two cases."""
    lines = ["subject,flair,label"]
    for index, name in enumerate([*labelled, *blind]):
        image = path / "images" / f"{name}.nii.gz"
        image.parent.mkdir(parents=True, exist_ok=True)
        write_image(image, Image(np.ones((1, 6, 5, 4), np.float32), np.eye(4)))
        label = mask(path / "masks" / f"{name}.nii.gz").relative_to(path) if name in labelled else ""
        lines.append(f"{name},{image.relative_to(path)},{label}")
        assert index >= 0
    (path / "cohort.csv").write_text("\n".join(lines) + "\n")
    return path / "cohort.csv"


def names(pairs):
    return [(p.case, p.predicted.name, p.truth.name) for p in pairs.pairs]


def test_two_files_of_any_name(tmp_path):
    pairs = pair_masks(mask(tmp_path / "x.nii.gz"), mask(tmp_path / "y.nii.gz"))
    assert names(pairs) == [("y", "x.nii.gz", "y.nii.gz")]


def test_folders_by_name(tmp_path):
    pairs = pair_masks(folder(tmp_path / "p", "abd"), folder(tmp_path / "t", "abc"))
    assert [p.case for p in pairs.pairs] == ["a", "b"]
    assert len(pairs.notes) == 2
    assert "no predicted mask for 1 of 3 cases with truth, not evaluated: c." in pairs.notes[0]
    assert "belongs to no case of the truth, ignored: d." in pairs.notes[1]


def test_masks_predicted_from_single_files_are_those_of_the_cases_whose_images_they_are(tmp_path):
    """``striate predict RUN P1_flair.nii.gz`` writes P1_flair; P2 has one by its own name, P3 two, P4 a file as others."""
    rows = ["subject,flair,t1,label"]
    for number in range(1, 6):
        name, other = f"P{number}", "shared" if number > 3 else f"P{number}_t1"
        for image in (f"{name}_flair", other):
            write_image(tmp_path / f"{image}.nii.gz", Image(np.ones((1, 6, 5, 4), np.float32), np.eye(4)))
        rows.append(
            f"{name},{name}_flair.nii.gz,{other}.nii.gz,{mask(tmp_path / 'masks' / f'{name}.nii.gz').relative_to(tmp_path)}"
        )
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    given = ["P1_flair", "P2", "P2_flair", "P3_flair", "P3_t1", "shared"]
    pairs = pair_masks(folder(tmp_path / "p", given), tmp_path / "cohort.csv")
    assert [(p.case, p.predicted.name) for p in pairs.pairs] == [("P1", "P1_flair.nii.gz"), ("P2", "P2.nii.gz")]
    assert "4 predicted masks belong to no case of the truth, ignored: P2_flair, P3_flair, P3_t1" in pairs.notes[1]


def test_words_at_the_end_are_ignored(tmp_path):
    predicted = folder(tmp_path / "p", ["sub-01", "sub-02_pred"])
    truth = folder(tmp_path / "t", ["sub-01_label-lesion_mask", "sub-02_seg"])
    pairs = pair_masks(predicted, truth)
    assert [(p.case, p.predicted.name) for p in pairs.pairs] == [
        ("sub-01_label-lesion_mask", "sub-01.nii.gz"),
        ("sub-02_seg", "sub-02_pred.nii.gz"),
    ]


def test_other_endings_match(tmp_path):
    pairs = pair_masks(folder(tmp_path / "p", "a", ".nii"), folder(tmp_path / "t", "a"))
    assert names(pairs) == [("a", "a.nii", "a.nii.gz")]


def test_cohort_as_truth(tmp_path):
    truth = cohort(tmp_path / "with space", ["P1", "P2"], ["P3"])
    pairs = pair_masks(folder(tmp_path / "p", ["P1", "P2", "P3"]), truth)
    assert [(p.case, p.subject) for p in pairs.pairs] == [("P1", "P1"), ("P2", "P2")]
    assert pairs.notes == ("1 predicted mask belongs to a case without truth, not evaluated: P3.",)


def test_one_file_of_a_cohort(tmp_path):
    truth = cohort(tmp_path, ["P1", "P2"])
    pairs = pair_masks(mask(tmp_path / "p" / "P2.nii.gz"), truth)
    assert [p.case for p in pairs.pairs] == ["P2"]


def test_what_predict_wrote(tmp_path):
    """Only the masks of the findings count; probabilities beside them do not."""
    out = folder(tmp_path / "out", ["P1", "P1_probability_lesion", "P2"])
    document = {"kind": "striate-findings", "schema_version": 1, "cases": [{"case": "P1"}, {"case": "P2"}]}
    (out / "findings.json").write_text(json.dumps(document))
    pairs = pair_masks(out, folder(tmp_path / "t", ["P1", "P2"]))
    assert pairs.notes == ()
    assert [p.predicted.name for p in pairs.pairs] == ["P1.nii.gz", "P2.nii.gz"]
    (out / "P2.nii.gz").unlink()
    with pytest.raises(DataError, match=r"findings.json names P2.*striate predict"):
        pair_masks(out, tmp_path / "t")


def test_a_run_stands_for_its_validation(tmp_path):
    out = folder(tmp_path / "run" / "validation", ["P1"])
    document = {"kind": "striate-findings", "schema_version": 1, "cases": [{"case": "P1"}]}
    (out / "findings.json").write_text(json.dumps(document))
    assert len(pair_masks(tmp_path / "run", folder(tmp_path / "t", ["P1"])).pairs) == 1


@pytest.mark.parametrize("given", ["run", "run/validation", "run/validation/P1.nii.gz"])
def test_a_model_of_regions_is_measured_by_regions(tmp_path, given):
    """Its masks hold the smallest label of each region, so that labels 2 and 3 of the truth could never be found."""
    out = folder(tmp_path / "run" / "validation", ["P1"])
    (out / "findings.json").write_text(json.dumps({"kind": "striate-findings", "cases": [{"case": "P1"}]}))
    record = {"kind": "striate-record", "schema_version": 1, "facts": {"regions": {"tumour": [1, 2, 3]}}}
    (tmp_path / "run" / "record.json").write_text(json.dumps(record))
    truth = mask(tmp_path / "t" / "P1.nii.gz", 3)
    truth = truth if given.endswith(".gz") else truth.parent
    assert pair_masks(tmp_path / given, truth).regions == {"tumour": (1, 2, 3)}
    found = evaluate(tmp_path / given, truth)
    assert found.cases[0].labels["tumour"]["dice"] == 1
    assert "--regions tumour=1+2+3" in found.notes[0]
    assert list(evaluate(tmp_path / given, truth, regions=["all=3"]).summary) == ["all"]
    assert pair_masks(truth, tmp_path / given).regions is None


def test_no_case_in_common(tmp_path):
    with pytest.raises(DataError, match=r"cases a; none of them.*which has b.*rename"):
        pair_masks(folder(tmp_path / "p", "a"), folder(tmp_path / "t", "b"))


def test_nothing_there(tmp_path):
    truth = folder(tmp_path / "t", "a")
    with pytest.raises(DataError, match="no such file or folder"):
        pair_masks(tmp_path / "absent", truth)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LayoutError, match="empty"):
        pair_masks(tmp_path / "empty", truth)


def test_a_cohort_without_truth(tmp_path):
    with pytest.raises(DataError, match="no label map in any of 1 case; true masks are needed"):
        pair_masks(folder(tmp_path / "p", ["P1"]), cohort(tmp_path, [], ["P1"]))


def test_two_masks_of_one_case(tmp_path):
    predicted = folder(tmp_path / "p", "a")
    mask(predicted / "a.nii")
    with pytest.raises(LayoutError, match=r"case 'a' has a.nii, a.nii.gz"):
        pair_masks(predicted, folder(tmp_path / "t", "a"))
