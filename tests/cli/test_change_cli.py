"""``striate change`` as a user meets it: arguments, one JSON document, sentences and exit codes."""

import json

import numpy as np
import pytest

from striate.cli.main import run
from striate.workflows.phantom import phantom

pytest.importorskip("SimpleITK")


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    return phantom(tmp_path_factory.mktemp("visits") / "c", subjects=1, visits=2, spacing_mm=(6, 6, 6), seed=5).parent


@pytest.fixture
def masks(visits, tmp_path):
    """The arguments that compare the true masks, with a transform that moves nothing."""
    np.savetxt(tmp_path / "still.txt", np.eye(4))
    given = [visits / "masks" / f"P001_{t}_lesion.nii.gz" for t in (1, 2)]
    images = [visits / "images" / f"P001_{t}_flair.nii.gz" for t in (1, 2)]
    return [
        "change",
        "--masks",
        *map(str, given),
        "--images",
        *map(str, images),
        "--transform",
        str(tmp_path / "still.txt"),
    ]


def test_json_is_one_document_with_changes_and_triage(masks, tmp_path, capsys):
    assert run([*masks, "--out", str(tmp_path / "out"), "--json"]) == 0
    shown, heard = capsys.readouterr()
    document = json.loads(shown)
    assert document["changes"][0]["labels"]["lesion"]["lesions"] and document["triage"][0]["rank"] == 1
    assert document["out"] == str(tmp_path / "out") and "Traceback" not in heard
    assert (tmp_path / "out" / "report.html").exists()


def test_people_read_a_table_the_noise_and_the_order(masks, tmp_path, capsys):
    assert run([*masks, "--out", str(tmp_path / "out"), "--subject", "P001"]) == 0
    shown, heard = capsys.readouterr()
    assert shown == "" and "enlarged" in heard and "noise: estimated from the voxels" in heard and "1. P001 (" in heard


def test_a_dry_run_lists_pairs_and_writes_nothing(masks, tmp_path, capsys):
    assert run([*masks, "--dry-run", "--json", "--subject", "P001"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "pairs": [{"subject": "P001", "before": "P001_1_flair", "after": "P001_2_flair"}]
    }
    assert [p.name for p in tmp_path.iterdir()] == ["still.txt"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "no --out was given"),
        (["--out", "o"], 2, "no model; a model, then two scans or a cohort are needed"),
        (["m", "--out", "o"], 2, "m alone; a model, then two scans"),
        (["m", "a", "b", "c", "--out", "o"], 2, "3 scans; as many files for the earlier"),
        (["--masks", "a", "b", "--out", "o"], 2, "--masks was given alone"),
        (["m", "--masks", "a", "b", "--images", "a", "b", "--out", "o"], 2, "m and --masks were given"),
        (["--masks", "a", "b", "--images", "a", "b", "--out", "o"], 3, "there is no such file"),
        (["m", "a", "b", "--out", "o"], 4, "m"),
    ],
)
def test_what_cannot_be_meant_gets_a_sentence(arguments, code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["change", *arguments]) == code
    heard = capsys.readouterr().err
    assert heard.startswith("striate: ") and message in heard and not list(tmp_path.iterdir())
