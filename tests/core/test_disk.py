"""Room on a disk: asked of what is there of the path, and a sentence where it is too little."""

from __future__ import annotations

import shutil

import pytest

from striate.core import disk
from striate.core.disk import disk_free_bytes, refuse_full
from striate.core.errors import DiskFullError


def test_it_is_that_of_the_file_system_on_which_the_folder_will_lie(tmp_path, monkeypatch):
    asked, usage = [], shutil.disk_usage
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda place: asked.append(place) or usage(place))
    there = tmp_path / "elsewhere"
    there.mkdir()
    (tmp_path / "link").symlink_to(there / "later")
    assert disk_free_bytes(tmp_path / "a" / "b" / "c") > 0 and disk_free_bytes(tmp_path / "link" / "out") > 0
    assert asked == [tmp_path.resolve(), there.resolve()]


@pytest.mark.parametrize("unknown", [OSError("not connected"), (0, 0, 0)])
def test_a_file_system_that_does_not_tell_refuses_nothing(tmp_path, monkeypatch, unknown):
    def usage(place):
        if isinstance(unknown, OSError):
            raise unknown
        return shutil._ntuple_diskusage(*unknown)

    monkeypatch.setattr(disk.shutil, "disk_usage", usage)
    assert refuse_full(tmp_path, 1 << 60, "all", "Wait.") == {"needed_bytes": 1 << 60, "free_bytes": None}


def test_of_a_drive_that_is_not_there_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.Path, "exists", lambda path: False)
    assert disk_free_bytes(tmp_path / "out") is None


def test_too_little_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "disk_free_bytes", lambda folder: 2_000_000)
    assert refuse_full(tmp_path, 2_000_000, "all", "Wait.")["free_bytes"] == 2_000_000
    says = r"out: what is written of 3 cases may take up to 5 MB there; 2 MB are free on that disk, so .*\. Free some\."
    with pytest.raises(DiskFullError, match=says) as caught:
        refuse_full(tmp_path / "out", 5_000_000, "what is written of 3 cases", "Free some.")
    assert caught.value.exit_code == 5
