"""Several that change one file do it one after the other, whatever became of those before."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time

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


def test_a_process_that_died_in_the_middle_stops_nobody(tmp_path, monkeypatch):
    program = (
        "import os, sys; from pathlib import Path; from striate.core.in_turn import in_turn\n"
        "with in_turn(Path(sys.argv[1])):\n    os._exit(7)"
    )
    path = tmp_path / "count"
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == 7
    assert [p.name for p in tmp_path.iterdir()] == [".count.lock"]
    waited = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    with in_turn(path):
        assert (tmp_path / ".count.lock").is_file()
    assert waited == [] and list(tmp_path.iterdir()) == []


def test_the_lock_of_one_that_lives_is_never_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    path, lock = tmp_path / "count", tmp_path / ".count.lock"
    with in_turn(path):
        made = lock.stat()
        for _ in range(2):
            with in_turn(path):  # too impatient; goes on by itself
                assert os.path.samestat(lock.stat(), made)
            assert os.path.samestat(lock.stat(), made)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_its_owner_removed_while_it_was_waited_for_is_no_lock(tmp_path, monkeypatch):
    path, lock, take, seen = tmp_path / "count", tmp_path / ".count.lock", module.take, []

    def late(held):
        if not seen:  # its owner removes it, and another makes the next, between opening and locking
            lock.unlink()
            lock.touch()
        seen.append(take(held))
        return seen[-1]

    monkeypatch.setattr(module, "take", late)
    with in_turn(path):
        assert seen == [True, True] and lock.is_file()
    assert not lock.exists()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOENT])
def test_a_folder_that_takes_no_files_is_no_obstacle(tmp_path, monkeypatch, number):
    waited = []

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as readonly:
        readonly.setattr(module.os, "open", refuse)
        readonly.setattr(module.time, "sleep", waited.append)
        with in_turn(tmp_path / "count"):
            pass
    assert waited == [] and list(tmp_path.iterdir()) == []


def test_where_there_are_no_locks_each_goes_on_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "take", lambda held: None)
    with in_turn(tmp_path / "count"), in_turn(tmp_path / "count"):
        assert list(tmp_path.iterdir()) == []
