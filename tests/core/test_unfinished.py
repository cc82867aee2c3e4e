"""A folder filled piece by piece: what is done stays, one process at a time, nothing of others is touched."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import pytest

from striate.core import unfinished as module
from striate.core.errors import DataError
from striate.core.files import filling
from striate.core.unfinished import unfinished


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _piece(work, name):
    path = work.files / "maps" / f"{name}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(name)
    return work.keep(name, {"fact": name}, [path])


def _stopped(out):
    """Let one piece be done and another be begun."""
    with contextlib.suppress(RuntimeError), unfinished(out) as work:
        _piece(work, "a")
        (work.files / "half.txt").write_text("b")
        raise RuntimeError
    return work


def test_what_is_done_stays_and_becomes_the_folder(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(RuntimeError), unfinished(out) as work:
        raise RuntimeError
    assert _names(tmp_path) == []  # nothing was done
    _stopped(out)
    assert _names(tmp_path) == ["out.unfinished"]
    with unfinished(out) as work:
        assert work.names == ["a"] and work.get("b") is None
        known = work.get("a")
        assert known["fact"] == "a" and list(known["files"]) == ["maps/a.txt"]
        files = {**known["files"], **_piece(work, "b")}
        (work.files / "gone").mkdir()
        work.keep_only(files)
    assert _names(tmp_path) == ["out"] and _names(out) == ["maps"] and _names(out / "maps") == ["a.txt", "b.txt"]


@pytest.mark.parametrize("damage", ["changed file", "no file", "half a document", "another name"])
def test_a_piece_that_is_not_what_was_written_is_not_done(tmp_path, damage):
    work = _stopped(tmp_path / "out")
    file, document = work.files / "maps" / "a.txt", work.folder / "done" / "a.json"
    if damage == "changed file":
        file.write_text("A")
    elif damage == "no file":
        file.unlink()
    elif damage == "half a document":
        document.write_text(document.read_text()[:40])
    else:
        document.write_text(json.dumps({**json.loads(document.read_text()), "name": "A"}))
    assert work.get("a") is None


@pytest.mark.parametrize("at", ["mkdir", "lock"])
def test_an_interruption_at_the_start_leaves_nothing(tmp_path, monkeypatch, at):
    def stop(*given):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_ours" if at == "mkdir" else "take", stop)
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path / "out"):
        pass
    assert _names(tmp_path) == []


def test_what_is_not_ours_is_refused_and_left(tmp_path):
    (tmp_path / "out.unfinished").mkdir()
    (tmp_path / "out.unfinished" / "thesis.txt").touch()
    (tmp_path / "out.unfinished" / "lock").touch()
    with pytest.raises(DataError, match="it holds something else"), unfinished(tmp_path / "out"):
        pass
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(DataError, match="exists and is not empty"), unfinished(tmp_path / "full"):
        pass
    assert _names(tmp_path) == ["full", "out.unfinished"] and _names(tmp_path / "out.unfinished") == [
        "lock",
        "thesis.txt",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_files_of_somebody_in_a_folder_of_that_name_are_left(tmp_path):
    own = tmp_path / "out.unfinished" / "files" / "thesis.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(DataError, match="it holds something else"), unfinished(tmp_path / "out"):
        pass
    assert own.read_text() == "mine" and not (tmp_path / "out").exists()


def test_one_at_a_time(tmp_path):
    with unfinished(tmp_path / "out") as work:
        _piece(work, "a")
        with pytest.raises(DataError, match="another process fills it"), unfinished(tmp_path / "out"):
            pass
        assert work.get("a")
    assert _names(tmp_path) == ["out"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_one_that_has_just_begun_is_not_swept_by_another(tmp_path, monkeypatch):
    out, entered = tmp_path / "out", module._entered
    out.mkdir()

    def and_another_comes(work):
        place = entered(work)
        monkeypatch.setattr(module, "_entered", entered)
        with pytest.raises(DataError, match="another process fills it"), unfinished(out):
            pass
        return place

    monkeypatch.setattr(module, "_entered", and_another_comes)
    with unfinished(out) as work:
        _piece(work, "a")
    assert _names(tmp_path) == ["out"] and _names(out) == ["maps"]


def test_a_kill_between_the_last_two_steps_leaves_a_whole_folder(tmp_path):
    with unfinished(tmp_path / "out") as work:
        _piece(work, "a")
    (tmp_path / "out.unfinished" / "done").mkdir(parents=True)  # files became out, then the process was killed
    (tmp_path / "out.unfinished" / "done" / "a.json").write_text("{}")
    with pytest.raises(DataError, match="exists and is not empty"), unfinished(tmp_path / "out"):
        pass
    assert _names(tmp_path) == ["out"] and _names(tmp_path / "out") == ["maps"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("fill", [unfinished, filling])
@pytest.mark.parametrize("there", [True, False])
def test_what_a_link_leads_to_is_filled(tmp_path, fill, there):
    (tmp_path / "disk").mkdir()
    if there:
        (tmp_path / "disk" / "results").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "results")
    with fill(tmp_path / "out") as work:
        (getattr(work, "files", work) / "mask.txt").touch()
    assert (tmp_path / "out").is_symlink() and _names(tmp_path / "out") == ["mask.txt"]
    assert _names(tmp_path / "disk") == ["results"] and _names(tmp_path) == ["disk", "out"]


@pytest.mark.parametrize("fill", [unfinished, filling])
def test_the_current_folder_is_refused_before_anything_is_done(tmp_path, monkeypatch, fill):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(DataError, match=r"the current folder.*--out out"), fill(Path(".")):
        pytest.fail("it began")
    assert _names(tmp_path) == ["here"]


@pytest.mark.parametrize("fill", [unfinished, filling])
def test_a_mount_point_is_refused_before_anything_is_done(tmp_path, monkeypatch, fill):
    (tmp_path / "volume").mkdir()
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path).name == "volume")
    with pytest.raises(DataError, match=r"mounted there.*--out .*volume/out"), fill(tmp_path / "volume"):
        pytest.fail("it began")
    with fill(tmp_path / "volume" / "out"):
        pass
    assert _names(tmp_path / "volume") == ["out"]
