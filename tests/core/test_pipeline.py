"""`pipelined`: the same results in the same order as one after the other, three items at most, and no thread left behind."""

from __future__ import annotations

import contextlib
import threading

import pytest

from striate.core.errors import DataError, MemoryLimitError
from striate.core.pipeline import pipelined, sparing


class Work:
    """Steps that write down what they do; a step in `fails` raises."""

    def __init__(self, fails=(), kind=ValueError):
        self.kind, self.fails, self.told, self.held, self.most = kind, set(fails), [], set(), 0
        self._lock = threading.Lock()

    def _step(self, step, item):
        with self._lock:
            self.told.append((step, item, threading.current_thread().name))
            if step == "read":
                self.held.add(item)
                self.most = max(self.most, len(self.held))
            if step == "write":
                self.held.discard(item)
        if (step, item) in self.fails:
            raise self.kind(f"{step} {item}")

    def read(self, item):
        self._step("read", item)
        return f"r{item}"

    def look(self, ready):
        self._step("look", int(ready[1:]))
        return f"l{ready}"

    def compute(self, item, ready):
        self._step("compute", item)
        return f"c{ready}"

    def write(self, item, made, seen):
        self._step("write", item)
        return (item, made, seen)

    def steps(self):
        return self.read, self.look, self.compute, self.write


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("together", [True, False])
def test_results_come_in_the_order_of_the_items(count, together):
    work = Work()
    found = list(pipelined(range(count), *work.steps(), together=together))
    assert found == [(i, f"cr{i}", f"lr{i}") for i in range(count)]
    for step in ("read", "look", "compute", "write"):
        assert [item for name, item, _ in work.told if name == step] == list(range(count))
    assert work.most <= (3 if together else 1)


def test_the_caller_computes_and_others_read_and_write():
    work = Work()
    list(pipelined(range(3), *work.steps()))
    own = threading.current_thread().name
    assert {step for step, _, name in work.told if name == own} == {"compute"}
    alone = Work()
    list(pipelined(range(3), *alone.steps(), together=False))
    assert {name for _, _, name in alone.told} == {own}


def test_neighbours_are_worked_on_while_one_is_computed():
    met = list[str]()

    def compute(item, ready):
        if item == 1:  # the next one is read, and the one before is written, only while this waits
            assert reading.wait(120) and writing.wait(120)
            met.append("both")
        return item

    reading, writing = threading.Event(), threading.Event()
    read, write = lambda i: reading.set() if i == 2 else None, lambda i, m, s: writing.set() if i == 0 else None
    list(pipelined(range(3), read, lambda r: None, compute, write))
    assert met == ["both"]


@pytest.mark.parametrize("step", ["read", "look", "compute", "write"])
@pytest.mark.parametrize("together", [True, False])
def test_an_error_comes_in_its_turn_and_leaves_no_thread(step, together):
    before, found = threading.active_count(), []
    with pytest.raises(ValueError, match=f"^{step} 2$"):
        found.extend(item for item, *_ in pipelined(range(6), *Work({(step, 2)}).steps(), together=together))
    assert found == [0, 1]
    assert threading.active_count() == before


def test_of_two_errors_the_first_item_s_is_told():
    for later in (("read", 2), ("compute", 2)):
        with pytest.raises(ValueError, match=r"^write 1$"):
            list(pipelined(range(4), *Work({("write", 1), later}).steps()))


@pytest.mark.parametrize("together", [True, False])
def test_an_interruption_leaves_no_thread(together):
    before, work = threading.active_count(), Work()

    def compute(item, ready):
        if item == 2:
            raise KeyboardInterrupt
        return item

    with pytest.raises(KeyboardInterrupt):
        list(pipelined(range(6), work.read, work.look, compute, work.write, together=together))
    assert threading.active_count() == before
    assert not any(item > 3 for _, item, _ in work.told)
    assert [item for step, item, _ in work.told if step == "write"] == [0, 1]  # what was computed is not lost


@pytest.mark.parametrize("step", ["read", "look", "compute", "write"])
@pytest.mark.parametrize("together", [True, False])
def test_an_item_whose_data_are_bad_costs_no_other(step, together):
    work = Work({(step, 2)}, DataError)
    found = list(pipelined(range(4), *map(sparing, work.steps()), together=together))
    assert isinstance(found[2], DataError) and str(found[2]) == f"{step} 2"
    assert [item for item, *_ in (*found[:2], found[3])] == [0, 1, 3]
    with pytest.raises(ValueError, match=r"^compute 1$"):  # a mistake stops all
        list(pipelined(range(4), *map(sparing, Work({("compute", 1)}).steps()), together=together))


@pytest.mark.parametrize("together", [True, False])
def test_an_item_that_is_too_large_costs_no_other_but_memory_that_ran_out_for_all_does(together):
    def named(text):
        return MemoryLimitError(text, case="2")

    for kind, seen in ((named, MemoryLimitError), (MemoryError, MemoryError)):
        found = list(pipelined(range(4), *map(sparing, Work({("read", 2)}, kind).steps()), together=together))
        assert isinstance(found[2], seen) and [item for item, *_ in (*found[:2], found[3])] == [0, 1, 3]
    with pytest.raises(MemoryLimitError, match=r"^compute 1$"):
        list(pipelined(range(4), *map(sparing, Work({("compute", 1)}, MemoryLimitError).steps()), together=together))


def test_closing_early_leaves_no_thread():
    before = threading.active_count()
    with contextlib.closing(pipelined(range(6), *Work().steps())) as results:
        next(results)
    assert threading.active_count() == before
