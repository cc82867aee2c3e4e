"""striate evaluate: files, folders and cohorts in; tables on stderr, one JSON document on stdout, files with --out."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import striate
from striate.cli.main import run
from striate.cli.train import alarms_per_scan
from striate.core.image import LabelMap
from striate.io.write import write_label

DATA = Path(os.environ.get("STRIATE_TEST_DATA", "../shared/data"))
MEASURES = ("dice", "iou", "hd95_mm", "assd_mm", "volume_error_ml", "lesion_f1", "lesion_precision", "lesion_recall")


def mask(path, boxes, shape=(20, 18, 12), affine=None):
    """Write a label map with one box per value: {value: (start, stop)}."""
    array = np.zeros(shape, np.uint8)
    for value, (start, stop) in boxes.items():
        array[tuple(slice(start, stop) for _ in shape)] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    write_label(path, LabelMap(array, np.diag([1.0, 1.0, 2.0, 1.0]) if affine is None else affine))
    return str(path)


def as_json(capsys, *arguments, code=0):
    assert run(["evaluate", *map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def folders(tmp_path):
    """Three cases; the second prediction is empty, the third has a label that no truth has."""
    for name, predicted, truth in (
        ("P1", {1: (2, 6), 2: (7, 9)}, {1: (3, 7), 2: (7, 9)}),
        ("P2", {}, {1: (3, 7)}),
        ("P3", {1: (3, 7), 5: (8, 9)}, {1: (3, 7)}),
    ):
        mask(tmp_path / "predicted" / f"{name}.nii.gz", predicted)
        mask(tmp_path / "true" / f"{name}.nii.gz", truth)
    return tmp_path / "predicted", tmp_path / "true"


def test_the_issue_s_json(folders, capsys):
    found = as_json(capsys, *folders)
    assert set(found) == {"summary", "cases", "detection"}
    assert [case["case"] for case in found["cases"]] == ["P1", "P2", "P3"]
    assert set(found["summary"]) == {"label_1", "label_2"}
    for label in found["summary"].values():
        assert tuple(label) == MEASURES
        assert all(set(row) == {"mean", "median", "low", "high", "n"} for row in label.values())
    first = found["cases"][0]["label_1"]
    assert first["dice"] == pytest.approx(2 * 27 / 128)
    assert found["cases"][1]["label_1"]["hd95_mm"] is None
    assert found["summary"]["label_1"]["hd95_mm"]["n"] == 2
    assert found["summary"]["label_2"]["dice"]["mean"] == 1.0  # P2, P3: absent on both sides


def test_regions_in_one_option(folders, capsys):
    found = as_json(capsys, *folders, "--regions", "all=1+2+5", "small=2")
    assert list(found["summary"]) == ["all", "small"]
    again = as_json(capsys, "--regions", "all=1+2+5", "small=2", *folders)
    assert again == found
    assert striate.evaluate(*folders, regions=["all=1+2+5", "small=2"]).to_dict() == found


def test_tables_and_warnings_for_people(folders, capsys):
    assert run(["evaluate", *map(str, folders)]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "label values 5 occur in no truth" in shown.err
    assert "3 cases" in shown.err and "P2" in shown.err and "HD95 mm" in shown.err
    assert "3 subjects" in shown.err


def test_one_pair_of_files(folders, capsys):
    predicted, truth = (folder / "P3.nii.gz" for folder in folders)
    found = as_json(capsys, predicted, truth)
    assert found["summary"]["label_1"]["dice"] == {"mean": 1.0, "median": 1.0, "low": None, "high": None, "n": 1}


def test_all_masks_empty(tmp_path, capsys):
    found = as_json(capsys, mask(tmp_path / "a.nii.gz", {}), mask(tmp_path / "b.nii.gz", {}))
    assert found["summary"]["label_1"]["dice"]["mean"] == 1.0
    assert found["summary"]["label_1"]["hd95_mm"]["n"] == 0
    found = as_json(capsys, mask(tmp_path / "a.nii.gz", {3: (2, 4)}), mask(tmp_path / "b.nii.gz", {}))
    assert found["summary"]["label_3"]["dice"]["mean"] == 0.0


def test_two_dimensions(tmp_path, capsys):
    a, b = (mask(tmp_path / f"{n}.png", {1: (2, stop)}, (16, 12)) for n, stop in (("a", 6), ("b", 7)))
    found = as_json(capsys, a, b)["summary"]["label_1"]
    assert found["dice"]["mean"] == pytest.approx(2 * 16 / (16 + 25))
    # 16 true boundary pixels: 7 at 0 mm, 8 at 1 mm, the corner at √2 mm; the percentile lies a quarter of the way to it
    assert found["hd95_mm"]["mean"] == pytest.approx(1 + 0.25 * (2**0.5 - 1))


def test_out_files(folders, tmp_path, capsys):
    for name in ("e.json", "e.csv"):
        found = as_json(capsys, *folders, "--out", tmp_path / name)
    document = json.loads((tmp_path / "e.json").read_text())
    assert document["kind"] == "striate-evaluation"
    assert {k: document[k] for k in ("summary", "cases", "detection")} == found
    assert "label values 5" in document["notes"][0]
    assert len((tmp_path / "e.csv").read_text().splitlines()) == 1 + 3 * 2


def test_lesion_options(tmp_path, capsys):
    predicted = mask(tmp_path / "p.nii.gz", {1: (2, 4)})  # 8 of 64 voxels: 12.5 %
    truth = mask(tmp_path / "t.nii.gz", {1: (2, 6)})
    assert as_json(capsys, predicted, truth)["summary"]["label_1"]["lesion_recall"]["mean"] == 1.0
    strict = as_json(capsys, predicted, truth, "--min-overlap", "0.2")
    assert strict["summary"]["label_1"]["lesion_recall"]["mean"] == 0.0
    large = as_json(capsys, predicted, truth, "--min-lesion-ml", "0.1")  # predicted 0.016 mL, true 0.128 mL
    assert large["cases"][0]["label_1"]["lesion_precision"] is None


@pytest.mark.parametrize(
    ("other", "code", "text"),
    [
        ("absent.nii.gz", 3, "no such file or folder"),
        ("moved.nii.gz", 3, "origin"),
        ("small.nii.gz", 3, "predicted shape"),
        ("text.nii.gz", 3, "text.nii.gz"),
        ("text.txt", 3, "text.txt"),
        ("empty", 3, "empty"),
    ],
)
def test_bad_input_gets_a_sentence(tmp_path, capsys, other, code, text):
    truth = mask(tmp_path / "truth.nii.gz", {1: (2, 5)})
    moved = np.eye(4)
    moved[0, 3] = 40
    mask(tmp_path / "moved.nii.gz", {1: (2, 5)}, affine=moved)
    mask(tmp_path / "small.nii.gz", {1: (2, 5)}, (20, 18, 11))
    (tmp_path / "text.nii.gz").write_text("hello")
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    found = as_json(capsys, tmp_path / other, truth, "--out", tmp_path / "out.json", code=code)
    assert text in found["error"]["message"]
    assert found["error"]["exit_code"] == code
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    "options", [["--regions", "a=1+x"], ["--regions", "a"], ["--min-overlap", "2"], ["--nonsense"]]
)
def test_wrong_usage(folders, options, capsys):
    assert run(["evaluate", *map(str, folders), *options]) == 2
    assert capsys.readouterr().err.startswith("striate: ")


@pytest.mark.skipif(not (DATA / "Dataset015_BraTS").is_dir(), reason="the shared test data are not here")
def test_brats_layout_against_itself(tmp_path, capsys):
    """The cohort names its labels; a folder with two of its four cases is compared with it."""
    root = DATA / "Dataset015_BraTS"
    out = tmp_path / "out"
    out.mkdir()
    for name in ("brats0003", "brats0004"):
        (out / f"{name}.nii.gz").symlink_to((root / "labelsTr" / f"{name}.nii.gz").resolve())
    found = as_json(capsys, out, root)
    assert [case["case"] for case in found["cases"]] == ["brats0003", "brats0004"]
    assert set(found["summary"]) <= {"necrosis", "edema", "nonenhancing", "enhancing"}
    assert all(row["dice"]["mean"] == 1.0 and row["assd_mm"]["mean"] == 0.0 for row in found["summary"].values())
    named = as_json(capsys, out, root, "--regions", "tumour=1+2+3+4", "core=necrosis+3+enhancing")
    assert list(named["summary"]) == ["tumour", "core"]


def ranked(folder, affine=None):
    """Twelve subjects, in each a lesion that is found and a false alarm; the probabilities tell them apart but in two."""
    from dataclasses import replace

    from striate.core.targets import Targets
    from striate.measure.findings import Findings

    found = []
    for n in range(12):
        predicted, truth = np.zeros((2, 14, 12, 10), np.uint8)
        truth[1:3, 1:3, 1:3] = predicted[1:3, 1:3, 1:3] = predicted[8:10, 8:10, 6:8] = 1  # of one size
        label = LabelMap(predicted, np.eye(4) if affine is None else affine)
        mask_of = folder / "predicted" / f"s{n}.nii.gz"
        mask_of.parent.mkdir(parents=True, exist_ok=True)
        write_label(mask_of, label)
        (folder / "true").mkdir(exist_ok=True)
        write_label(folder / "true" / f"s{n}.nii.gz", LabelMap(truth, label.affine))
        (case,) = Findings.of(f"s{n}", label, Targets.of_labels({1: "lesion"})).cases
        chances = [0.9, 0.2] if n > 1 else [0.4, 0.8]
        found.append(replace(case, labels={"lesion": case.labels["lesion"].with_probabilities(chances)}))
    Findings(tuple(found)).write(folder / "predicted")
    return folder / "predicted", folder / "true"


def test_froc_from_probabilities_of_lesions(tmp_path, capsys):
    from striate.io.read import read_label

    predicted, truth = ranked(tmp_path)
    found = as_json(capsys, predicted, truth, "--out", tmp_path / "values.csv")["detection"]["label_1"]
    at = {row["false_positives_per_scan"]: row["value"] for row in found["at"]}
    assert at[0.125] == pytest.approx(10 / 12)  # the two doubtful ones lie below two false alarms of twelve scans
    assert at[0.25] == at[8] == 1
    assert found["mean_sensitivity"]["value"] == pytest.approx((10 / 12 + 6) / 7)
    assert (found["found"], found["lesions"], found["false_positives_per_scan"], found["why"]) == (12, 12, 1.0, None)
    assert "label_1,at,0.125,0.8333333333333334" in (tmp_path / "values.froc.csv").read_text()
    for path in truth.iterdir():  # the same truth, stored with other axes: lesions of one size keep their order
        old = read_label(path)
        flip = np.diag([-1.0, -1.0, 1.0, 1.0])
        flip[:2, 3] = [old.array.shape[0] - 1, old.array.shape[1] - 1]
        write_label(path, LabelMap(np.ascontiguousarray(old.array[::-1, ::-1]), old.affine @ flip))
    assert as_json(capsys, predicted, truth)["detection"]["label_1"] == found
    assert run(["evaluate", str(predicted), str(truth)]) == 0
    shown = capsys.readouterr().err
    assert "0.833" in shown and "LUNA16" in shown and "find 12 of 12 lesions with 1 false positive per scan" in shown


def test_rates_of_false_positives_are_plain_numbers():
    told = [alarms_per_scan(rate) for rate in (0, 0.125, 1, 1.5, 999.4, 1121)]
    assert told == [f"{n} per scan" for n in (
        "0 false positives", "0.125 false positives", "1 false positive", "1.5 false positives", "999 false positives",
        "1121 false positives",
    )]  # fmt: skip


def test_one_operating_point_is_said(folders, capsys):
    found = as_json(capsys, *folders)["detection"]["label_1"]
    assert (found["curve"], found["mean_sensitivity"]) == ([], None)
    assert found["why"] == "No findings lie beside the mask of case P1, so its lesions have no probability."
    assert run(["evaluate", *map(str, folders)]) == 0
    assert "One operating point only: No findings lie beside" in " ".join(capsys.readouterr().err.split())


def test_probabilities_that_were_fitted_to_these_cases(tmp_path, capsys):
    predicted, truth = ranked(tmp_path / "run")
    predicted.rename(tmp_path / "run" / "validation")
    (tmp_path / "run" / "model").mkdir()
    (tmp_path / "run" / "model" / "trust.json").write_text("{}")
    assert run(["evaluate", str(tmp_path / "run" / "validation"), str(truth)]) == 0
    assert "were fitted to these cases" in " ".join(capsys.readouterr().err.split())
