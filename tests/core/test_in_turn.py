"""Several that change one file do it one after the other, whatever became of those before."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from striate.core import in_turn as module
from striate.core.in_turn import in_turn


def test_no_change_is_lost(tmp_path):
    path = tmp_path / "count"
    path.write_text("0")

    def add():
        for _ in range(5):
            with in_turn(path):
                count = int(path.read_text())
                time.sleep(0.001)
                path.write_text(str(count + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "20" and [p.name for p in tmp_path.iterdir()] == ["count"]


def test_the_lock_of_a_dead_process_is_waited_for_and_then_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    path, start = tmp_path / "count", time.monotonic()
    (tmp_path / ".count.lock").write_text("dead")
    with in_turn(path):
        assert (tmp_path / ".count.lock").read_text() != "dead"
    assert 0.1 < time.monotonic() - start < 5 and list(tmp_path.iterdir()) == []


def test_who_was_taken_for_dead_leaves_the_lock_of_the_next(tmp_path):
    lock = tmp_path / ".count.lock"
    with in_turn(tmp_path / "count"):
        lock.write_text("the next")
    assert lock.read_text() == "the next"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOENT])
def test_a_folder_that_takes_no_files_is_no_obstacle(tmp_path, monkeypatch, number):
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    waited = []

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(module.time, "sleep", waited.append)
    with in_turn(tmp_path / "count"):
        assert list(tmp_path.iterdir()) == []
    assert os.name == "nt" or not waited  # on Windows another may just be removing it


def test_of_two_that_take_another_for_dead_one_waits_for_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    lock, remove, quicker = tmp_path / ".count.lock", Path.unlink, []

    def unlink(path, missing_ok=False):
        remove(path, missing_ok)
        if not quicker:
            quicker.append(path)
            raise FileNotFoundError(path)

    lock.write_text("dead")
    monkeypatch.setattr(Path, "unlink", unlink)
    with in_turn(tmp_path / "count"):
        assert lock.is_file() and quicker == [lock]
    assert not lock.exists()
