"""Odd places and names: devices, bytes that are not UTF-8, an stdout that is full or closed, versions that are no number."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from striate.cli.main import run
from striate.core.errors import DataError, DiskFullError, FormatError
from striate.core.files import explain_writing, read_json, write_json, write_text
from striate.data.store import sample_foreground
from striate.io.read import read_image


def striate(*arguments, stdout=subprocess.PIPE):
    command = [sys.executable, "-m", "striate.cli.main", *arguments]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=600, check=False)


def test_a_device_or_a_pipe_is_never_replaced_by_a_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match="pipe: a device or a pipe, which is never replaced"):
        write_text(pipe, "x")
    assert pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]


def test_numpys_words_for_a_full_disk():
    told = explain_writing(OSError("96096 requested and 67520 written"), Path("cache"))
    assert isinstance(told, DiskFullError) and "the disk is full" in str(told)


def test_a_name_that_is_not_utf8_comes_back_from_json(tmp_path):
    name = os.fsdecode(b"P1\xff.nii.gz")
    write_json(tmp_path / "a.json", {"path": tmp_path / name})
    assert Path(read_json(tmp_path / "a.json")["path"]) == tmp_path / name


@pytest.mark.parametrize("version", ["x", None, 1.5, -1, [1], 2])
def test_a_version_that_is_not_known_is_a_sentence(tmp_path, version):
    (tmp_path / "a.json").write_text(json.dumps({"kind": "k", "schema_version": version}))
    with pytest.raises(FormatError, match="this Striate reads up to 1"):
        read_json(tmp_path / "a.json", "k", 1)


@pytest.fixture
def cohort(tmp_path):
    folder = tmp_path / os.fsdecode(b"c\xff")
    (folder / "images").mkdir(parents=True)
    array = np.random.default_rng(0).normal(100, 9, (12, 12, 12)).astype(np.float32)
    nib.save(nib.Nifti1Image(array, np.eye(4)), folder / "images" / "P1.nii.gz")
    return folder


def test_stdout_that_is_full_is_told_without_a_traceback(cohort):
    with Path("/dev/full").open("w") as full:
        done = striate("check", cohort, "--json", stdout=full)
    assert done.returncode == 5 and "the disk is full" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_has_gone_is_no_error(cohort):
    read, write = os.pipe()
    os.close(read)
    done = striate("check", cohort, "--json", stdout=write)
    os.close(write)
    assert done.returncode == 0 and done.stderr == ""


def test_a_closed_stdout_is_a_sentence(cohort):
    command = 'exec "$0" -m striate.cli.main check "$1" --json >&-'
    done = subprocess.run(["sh", "-c", command, sys.executable, cohort], capture_output=True, text=True, check=False)
    assert done.returncode == 3 and done.stderr == "striate: [Errno 9] Bad file descriptor: 'stdout'\n"


def test_a_folder_whose_name_is_not_utf8_is_checked(cohort):
    done = striate("check", cohort, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["cohort"] == cohort.name


def test_a_slope_beyond_float_warns_of_nothing(tmp_path, recwarn):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((4, 5, 6))
    header["scl_slope"], header["scl_inter"], header["vox_offset"] = 1e38, 0, 352
    voxels = np.full((4, 5, 6), 100, np.float32)
    (tmp_path / "a.nii").write_bytes(header.binaryblock.ljust(352, b"\0") + voxels.tobytes())
    assert not np.isfinite(read_image(tmp_path / "a.nii").array).any()
    assert not [w for w in recwarn if w.category is RuntimeWarning]


def test_ctrl_c_is_told_in_words_and_in_json(cohort, capsys, monkeypatch):
    def stop(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("striate.workflows.check.run_checks", stop)
    assert run(["check", str(cohort), "--json"]) == 130
    seen = capsys.readouterr()
    assert seen.err.endswith("striate: interrupted\n") and json.loads(seen.out)["error"]["code"] == "interrupted"


def test_foreground_of_a_case_whose_name_is_not_utf8():
    assert len(sample_foreground(np.ones((2, 2, 2), np.uint8), os.fsdecode(b"P\xff"))[1]) == 8
