"""Jobs side by side: the same results in the same order, within cores and memory, and nothing left after a failure."""

from __future__ import annotations

import contextlib
import threading

import pytest

from striate.core import in_threads as module
from striate.core.in_threads import SHARE, in_threads


@pytest.fixture(autouse=True)
def machine(monkeypatch) -> None:
    """Four cores and 1000 bytes."""
    monkeypatch.setattr(module, "cores", lambda: 4)
    monkeypatch.setattr(module, "memory_available_bytes", lambda: 1000)


def at_one_time(count: int, bytes_each: int, expected: int) -> int:
    """Return how many of `count` jobs were at work at one time; each waits until `expected` are."""
    now, most, lock, together = [0], [0], threading.Lock(), threading.Barrier(expected)

    def job(item: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        together.wait(60)
        with lock:
            now[0] -= 1
        return item * item

    assert list(in_threads(job, range(count), bytes_each)) == [n * n for n in range(count)]
    return most[0]


def test_as_many_as_there_are_cores_and_no_more():
    assert at_one_time(12, 1, 4) == 4


def test_no_more_than_fit_into_the_memory():
    assert at_one_time(6, int(SHARE * 1000) // 2, 2) == 2
    assert at_one_time(3, 10**9, 1) == 1


def test_one_at_a_time_where_the_memory_is_not_known():
    assert at_one_time(3, 0, 1) == 1


def test_what_fails_elsewhere_leaves_no_thread_once_it_is_closed():
    before, done = threading.active_count(), []

    def consume() -> None:
        with contextlib.closing(in_threads(done.append, range(50), 1)) as results:
            next(results)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert threading.active_count() == before and len(done) < 50


def test_no_item_is_no_result():
    assert list(in_threads(str, [], 1)) == []


def test_a_failure_comes_in_its_turn_and_leaves_no_thread():
    before = threading.active_count()

    def job(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    results = in_threads(job, range(50), 1)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert threading.active_count() == before


def test_what_is_not_asked_for_is_not_worked_on():
    done = []
    results = in_threads(done.append, range(100), 1)
    next(results)
    results.close()
    assert len(done) <= 10
