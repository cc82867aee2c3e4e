"""The loader: same bits for any number of workers; lost workers are replaced, failing ones are heard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from striate.core.errors import DataError, FormatError
from striate.data import loader as loader_module
from striate.data.augment import Augmentation
from striate.data.loader import Loader
from striate.data.patches import Sampling, draw_batch
from striate.data.store import PatchStore, sample_foreground
from striate.data.worker import Worker, WorkerLost

SHM = Path("/dev/shm")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PatchStore:
    folder = tmp_path_factory.mktemp("loader")
    rng = np.random.default_rng(2)
    entries = {}
    for case in range(3):
        classes = (rng.random((30, 28, 26)) > 0.97).astype(np.uint8)
        np.save(folder / f"{case}.images.npy", rng.normal(size=(2, 30, 28, 26)).astype(np.float16))
        np.save(folder / f"{case}.classes.npy", classes)
        foreground = sample_foreground(classes, str(case))
        np.save(folder / f"{case}.foreground.npy", np.concatenate(list(foreground.values())))
        entries[f"case{case}"] = {
            "files": str(case), "shape": [30, 28, 26], "spacing_mm": [1.0] * 3, "notes": [],
            "foreground": {str(k): len(v) for k, v in foreground.items()},
        }  # fmt: skip
    return PatchStore(folder, {"cases": entries, "inputs": {}, "keep_zero": [False, False], "key": ""})


@pytest.fixture(scope="module")
def sampling(store) -> Sampling:
    return Sampling(store.cases, (17, 19, 15), 2, augmentation=Augmentation(affine=0.8, gamma=0.8, blur=0.8, noise=0.8))


def same(one, two) -> bool:
    return torch.equal(one.images, two.images) and torch.equal(one.truth, two.truth) and one.cases == two.cases


def wait_for_workers(loader: Loader) -> None:
    for hand in loader._team:
        while not hand.worker.ready():
            time.sleep(0.05)


def leftovers(pid: int | None = None) -> list[Path]:
    """Files of the process `pid` (this one by default); other tests run beside this one."""
    return list(SHM.glob(f".striate-batches-{pid or os.getpid()}-*")) if SHM.is_dir() else []


@pytest.mark.parametrize("workers", [0, 2])
def test_any_number_of_workers_gives_the_same_bits(store, sampling, workers):
    before = leftovers()
    with Loader(store, sampling, start_step=3, stop_step=14, workers=workers) as loader:
        wait_for_workers(loader)
        drawn = dict(loader)
    assert list(drawn) == list(range(3, 14))
    assert all(same(batch, draw_batch(store, sampling, step)) for step, batch in drawn.items())
    assert loader.wait_s > 0
    assert leftovers() == before


@pytest.mark.parametrize("own", [2, 5])
def test_steps_are_drawn_here_while_workers_start(store, sampling, monkeypatch, own):
    """However many steps pass before the workers are there, the sequence is the same."""
    asked: list[int] = []
    with Loader(store, sampling, stop_step=16, workers=1) as loader:
        wait_for_workers(loader)
        truth = Worker.ready
        monkeypatch.setattr(Worker, "ready", lambda worker: asked.append(1) or (len(asked) > own and truth(worker)))
        drawn = list(loader)
    assert [step for step, _ in drawn] == list(range(16))
    assert all(same(batch, draw_batch(store, sampling, step)) for step, batch in drawn)
    assert len(asked) == own + 1


@pytest.mark.parametrize("gpu", [True, False])
def test_where_a_gpu_is_batches_come_in_pinned_memory(store, sampling, monkeypatch, gpu):
    pinned, empty = [], torch.empty
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    with Loader(store, sampling, stop_step=4, workers=1) as loader:
        wait_for_workers(loader)
        with monkeypatch.context() as during:
            during.setattr(
                torch,
                "empty",
                lambda *shape, pin_memory=False, **more: pinned.append(pin_memory) or empty(*shape, **more),
            )
            drawn = list(loader)
    assert all(same(batch, draw_batch(store, sampling, step)) for step, batch in drawn)
    assert pinned.count(True) == (2 * len(drawn) if gpu else 0)


@dataclass(frozen=True)
class Slow:
    """Draws as `sampling` does, and takes its time."""

    sampling: Sampling
    takes_s: float = 0.05

    def shapes(self, store):
        return self.sampling.shapes(store)

    def draw(self, store, step, rank=0, out=None):
        time.sleep(self.takes_s)
        return self.sampling.draw(store, step, rank, out)


def test_where_the_consumer_waits_more_workers_draw_the_same_batches(store, sampling, monkeypatch):
    monkeypatch.setattr(loader_module, "LOOK_S", 0.3)
    monkeypatch.setattr(loader_module, "memory_available_bytes", lambda: 10**12)
    drawn, until = {}, time.monotonic() + 600
    with Loader(store, Slow(sampling), workers=1, most=3) as loader:
        for step, batch in loader:
            drawn[step] = batch
            if time.monotonic() > until or (loader.workers == 3 and all(hand.opened for hand in loader._team)):
                break
        pids = {hand.worker.pid for hand in loader._team}
        assert len(pids) == 3 and all(_alive(pid) for pid in pids)
    assert list(drawn) == list(range(len(drawn)))
    assert all(same(batch, draw_batch(store, sampling, step)) for step, batch in drawn.items())


def looked(loader: Loader, monkeypatch, share: float) -> int:
    """Return how many workers `loader` has after a look at seconds of which `share` were waited."""
    hired = []
    monkeypatch.setattr(loader, "_hire", hired.append)
    for hand in loader._team:
        hand.asked = 100
    since, waited = loader._look
    loader.wait_s = waited + share * 2 * loader_module.LOOK_S
    loader._grow(since + 2 * loader_module.LOOK_S)
    return loader.workers + sum(hired)


@pytest.mark.parametrize(
    ("share", "most", "workers"),
    [(0.02, 9, 1), (0.05, 9, 2), (0.6, 9, 3), (0.99, 9, 9), (1.0, 99, 12), (0.6, 2, 2), (0.6, 1, 1), (0.6, 0, 1)],
)
def test_as_many_are_hired_as_the_share_of_waiting_asks_for(store, sampling, monkeypatch, share, most, workers):
    monkeypatch.setattr(loader_module, "memory_available_bytes", lambda: 10**12)
    with Loader(store, sampling, workers=1, most=most) as loader:
        assert looked(loader, monkeypatch, share) == workers


def test_nothing_is_judged_before_the_first_batches_and_the_seconds_of_a_look(store, sampling, monkeypatch):
    with Loader(store, sampling, workers=1, most=9) as loader:
        monkeypatch.setattr(loader, "_hire", lambda count: pytest.fail("hired"))
        now = loader._look[0] + 100
        loader.wait_s = 90.0
        loader._grow(now)  # its worker has hardly begun
        loader._team[0].asked = 100
        loader.wait_s += 1.0
        loader._grow(now + 0.9 * loader_module.LOOK_S)


def test_memory_is_counted_with_the_batches_that_workers_hold(store, sampling, monkeypatch):
    each = loader_module.WORKER_BYTES + loader_module._slots_bytes(store, sampling)
    for workers in (1, 2, 3):
        monkeypatch.setattr(loader_module, "memory_available_bytes", lambda n=workers: 2 * each * (n - 1) + each)
        with Loader(store, sampling, workers=1, most=9) as loader:
            assert looked(loader, monkeypatch, 0.99) == workers


def test_none_is_hired_where_none_is_wanted(store, sampling, monkeypatch):
    with Loader(store, sampling, workers=0, most=3) as loader:
        assert looked(loader, monkeypatch, 1.0) == 0


def test_a_worker_that_cannot_be_hired_leaves_the_others_and_no_file(store, sampling, monkeypatch):
    def full(handle, offset, length):
        raise OSError(28, "No space left on device")

    before = leftovers()
    with Loader(store, sampling, workers=1, stop_step=30) as loader:
        wait_for_workers(loader)
        next(iter(loader))
        monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.warns(RuntimeWarning, match=r"No space left on device; other worker processes go on\."):
            loader._hire(2)
        assert loader.workers == 1 and loader._most == 0
    assert leftovers() == before


def test_of_several_workers_the_others_go_on(store, sampling, monkeypatch):
    with Loader(store, sampling, stop_step=40, workers=3) as loader:
        wait_for_workers(loader)
        steps = iter(loader)
        drawn = [next(steps)]
        os.kill(loader._team[1].worker.pid, signal.SIGKILL)
        with pytest.warns(RuntimeWarning, match=r"ended unasked .*; other worker processes go on\."):
            drawn.extend(steps)
    assert [step for step, _ in drawn] == list(range(40))
    assert all(same(batch, draw_batch(store, sampling, step)) for step, batch in drawn)


def test_a_killed_worker_is_replaced_by_this_process(store, sampling):
    with Loader(store, sampling, stop_step=9, workers=2) as loader:
        steps = iter(loader)
        drawn = [next(steps) for _ in range(2)]
        for hand in loader._team:
            os.kill(hand.worker.pid, signal.SIGKILL)
        while any(_alive(hand.worker.pid) for hand in loader._team):  # a busy machine takes its time
            time.sleep(0.01)
        with pytest.warns(
            RuntimeWarning, match=r"ended unasked \(signal 9, perhaps for want of memory\); batches are drawn"
        ):
            drawn.extend(steps)
    assert [step for step, _ in drawn] == list(range(9))
    assert all(same(batch, draw_batch(store, sampling, step)) for step, batch in drawn)


def test_a_worker_that_cannot_start_is_replaced_by_this_process(store, sampling, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.warns(RuntimeWarning, match="a worker could not start"):
        loader = Loader(store, sampling, stop_step=2, workers=1)
    assert [step for step, _ in loader] == [0, 1]
    assert leftovers() == []


def test_a_worker_s_error_arrives_whole(store, sampling, tmp_path):
    broken = PatchStore(tmp_path, {**store._index, "cases": {**store._index["cases"]}})
    loader = Loader(broken, sampling, workers=1)
    wait_for_workers(loader)
    with pytest.raises(FormatError, match="broken file of the patch store") as caught:
        next(iter(loader))
    assert caught.value.case in store.cases
    text = str(caught.value.__cause__)
    assert "in a worker process" in text and "draw_batch" in text and "No such file" in text
    assert loader._team == []


def test_without_room_in_shared_memory_the_store_s_disk_is_used(store, sampling, monkeypatch):
    monkeypatch.setattr(loader_module, "SHARED_MEMORY", Path("/nonexistent"))
    with Loader(store, sampling, stop_step=3, workers=1) as loader:
        wait_for_workers(loader)
        assert all(same(batch, draw_batch(store, sampling, step)) for step, batch in loader)
    assert not list(store.folder.glob(".striate-batches-*"))


def test_it_works_without_a_main_guard_and_dies_with_its_caller(store, sampling, tmp_path):
    """An unguarded script starts workers; when it is killed, they end too and leave nothing in shared memory."""
    import pickle

    (tmp_path / "sampling.pickle").write_bytes(pickle.dumps((store, sampling)))
    script = tmp_path / "script.py"
    script.write_text(
        "import pickle, sys, time\nfrom pathlib import Path\nfrom striate.data.loader import Loader\n"
        "store, sampling = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "loader = Loader(store, sampling, workers=1)\nsteps = iter(loader)\nnext(steps); next(steps)\n"
        "print(loader._team[0].worker.pid, flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, script, tmp_path / "sampling.pickle"], stdout=subprocess.PIPE, text=True
    )
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    for _ in range(6000):  # a busy machine takes its time
        if not _alive(worker):
            break
        time.sleep(0.1)
    assert not _alive(worker)
    assert leftovers(process.pid) == []


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_closing_early_is_quiet(store, sampling):
    loader = Loader(store, sampling, workers=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loader.close()
        loader.close()
        assert same(next(iter(loader))[1], draw_batch(store, sampling, 0))


@dataclass
class Doubler:
    """Twice the item; says something on the way; fails as asked."""

    calls: list[int] = field(default_factory=list)

    def __call__(self, item: object) -> object:
        print("to stdout")
        if item == "value":
            raise ValueError("no such value")
        if item == "ours":
            raise DataError("case P1: broken", case="P1")
        if item == "odd":
            raise Odd(1, 2)
        return item * 2


class Odd(Exception):
    """Does not survive pickling."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def test_worker_protocol(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import test_loader as importable

    worker = Worker(importable.Doubler())
    try:
        for item in (1, "ab", "value", "ours", "odd", [3]):
            worker.submit(item)
        assert worker.result() == 2 and worker.result() == "abab"
        with pytest.raises(ValueError, match="no such value"):
            worker.result()
        with pytest.raises(DataError, match="case P1: broken") as caught:
            worker.result()
        assert caught.value.case == "P1"
        with pytest.raises(RuntimeError, match="1 and 2"):
            worker.result()
        assert worker.result() == [3, 3]
    finally:
        worker.close()
    with pytest.raises(WorkerLost, match="ended unasked"):
        worker.submit(1)
