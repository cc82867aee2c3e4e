"""What cannot be written, and what a parser complains of, is told in one sentence with the design's exit code."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from striate.cli.main import run
from striate.core.errors import DataError, DiskFullError
from striate.core.files import explain_writing, filling, writing
from striate.core.image import Image
from striate.io.write import write_image


@pytest.fixture
def cohort(tmp_path):
    folder = tmp_path / "cohort"
    for name in ("P1", "P2"):
        array = np.random.default_rng(len(name)).normal(100, 9, (1, 12, 12, 12)).astype(np.float32)
        write_image(folder / "images" / f"{name}.nii.gz", Image(array, np.eye(4)))
    return folder


@pytest.mark.parametrize("out", ["cohort", "file/check.json", "x" * 300])
def test_an_out_that_cannot_be_is_a_sentence(out, cohort, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert run(["check", str(cohort), "--out", str(tmp_path / out)]) == 3
    told = capsys.readouterr().err.splitlines()[-1]
    assert "it cannot be written (" in told and told.endswith("Choose another --out.")
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cohort", "file"]


def test_a_folder_below_a_file_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(DataError, match=r"file/new: it cannot be written \(file exists\)"),
        filling(tmp_path / "file" / "new"),
    ):
        pass


def test_a_full_disk_is_known_from_errors_of_other_packages(tmp_path):
    class SafetensorError(Exception):
        pass

    def save():
        with writing(tmp_path / "weights.safetensors") as beside:
            beside.write_bytes(b"half")
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(DiskFullError, match="the disk is full"):
        save()
    assert not list(tmp_path.iterdir())
    other = SafetensorError("header too large")
    assert explain_writing(other, tmp_path) is other


def test_a_parsers_complaint_is_json_too(capsys):
    assert run(["check", "--bogus", "--json"]) == 2
    seen = capsys.readouterr()
    assert json.loads(seen.out)["error"]["exit_code"] == 2
    assert "No such option: --bogus" in seen.err and "See --help." in seen.err


def test_any_other_error_of_the_system_is_a_sentence(cohort, capsys, monkeypatch):
    def fail(*_args, **_options):
        raise OSError(5, os.strerror(5), "/somewhere")

    monkeypatch.setattr("striate.workflows.check.run_checks", fail)
    assert run(["check", str(cohort)]) == 3
    assert "Input/output error: '/somewhere'" in capsys.readouterr().err
    with pytest.raises(OSError, match="Input/output"):
        run(["check", str(cohort), "--debug"])


def test_without_any_label_training_and_planning_are_refused_as_data(cohort, tmp_path, capsys):
    for verb in (["plan", str(cohort)], ["train", str(cohort), "--out", str(tmp_path / "run")]):
        assert run([*verb, "--steps", "2"]) == 3
        assert "none with a label map" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
