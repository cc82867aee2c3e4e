"""What a killed process left of a folder goes with the next one of its name; what a living one fills is left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from striate.core.files import filling

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
FILL = """
import sys, time
from pathlib import Path
from striate.core.files import filling
with filling(Path(sys.argv[1])) as beside:
    (beside / "mask.txt").write_text("half")
    print("filling", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def fill(tmp_path):
    """Start processes that fill a folder and do not end; at the end they are killed."""
    started = []

    def start(out: Path) -> subprocess.Popen:
        started.append(subprocess.Popen([sys.executable, "-c", FILL, str(out)], stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "filling\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(30)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_goes_and_a_living_one_keeps_its_own(fill, tmp_path):
    out = tmp_path / "a[1]"  # no pattern of names
    killed = fill(out)
    killed.kill()
    killed.wait(30)
    (left,) = _names(tmp_path)
    fill(out)
    (lives,) = _names(tmp_path)
    assert left != lives  # the second one removed what the first had left
    (tmp_path / ".a[1].part.mine").mkdir()
    (tmp_path / ".other.part.01234567").mkdir()
    with filling(out) as beside:
        (beside / "mask.txt").write_text("whole")
    assert _names(tmp_path) == sorted([lives, ".a[1].part.mine", ".other.part.01234567", "a[1]"])
    assert (tmp_path / lives / "mask.txt").read_text() == "half" and (out / "mask.txt").read_text() == "whole"


def test_two_at_one_time_in_one_process(tmp_path):
    with filling(tmp_path / "out") as first, filling(tmp_path / "out") as second:
        assert first != second and first.is_dir() and second.is_dir()
        (first / "one").touch()


def test_one_that_is_swept_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    from striate.core import files

    made, lock = list[Path](), files.take

    def late(descriptor: int) -> bool | None:
        made[:] = tmp_path.iterdir()
        if len(calls) == 0:
            made[0].rmdir()
        calls.append(descriptor)
        return lock(descriptor)

    calls = list[int]()
    monkeypatch.setattr(files, "take", late)
    with filling(tmp_path / "out") as beside:
        (beside / "mask.txt").write_text("whole")
    assert len(calls) == 2 and _names(tmp_path) == ["out"]
