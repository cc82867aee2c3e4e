"""`Loader`: batches step after step, drawn ahead by helper processes where that works."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from striate.core.machine import memory_available_bytes
from striate.data.patches import Batch
from striate.data.worker import Worker, WorkerLost

DEPTH = 3
"""Batches that a worker draws ahead."""
WAITING, LOOK_S = 0.03, 5.0
"""Where the consumer waited for more than this share of so many seconds, more workers are hired."""
MOST, WORKER_BYTES = 12, 350_000_000
"""Workers at most, and the memory that each takes beside its batches (measured: 0.25 to 0.3 GB)."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108


class Store(Protocol):
    """Prepared data in a folder (`PatchStore`, `SampleStore`)."""

    folder: Path


class Sampling(Protocol):
    """How batches are drawn from a store: `patches.Sampling`, `draw_samples.SampleSampling`."""

    def shapes(self, store: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of a batch's images and truth."""
        ...

    def draw(self, store: Any, step: int, rank: int = 0, out: tuple[Tensor, Tensor] | None = None) -> Batch:
        """Draw the batch of `step`, a pure function of the seed, `rank` and `step`."""
        ...


@dataclass(slots=True)
class _DrawJob:
    """Draws batches into the slots of a shared file."""

    store: Store
    sampling: Sampling
    rank: int
    path: Path
    _slots: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def __call__(self, item: tuple[int, int] | None) -> tuple[str, ...]:
        """Draw the batch of (step, slot); None only opens the file."""
        if not self._slots:
            torch.set_num_threads(1)
            self._slots = _map(self.path, self.store, self.sampling)
            with contextlib.suppress(OSError):  # both sides hold it now; nothing is left behind whatever happens
                self.path.unlink()
        if item is None:
            return ()
        step, slot = item
        return self.sampling.draw(self.store, step, self.rank, out=self._slots[slot]).cases


def _map(path: Path, store: Store, sampling: Sampling) -> list[tuple[Tensor, Tensor]]:
    """Map the file as `DEPTH` slots of images and classes."""
    images, classes = sampling.shapes(store)
    size, small = int(np.prod(images)) * 4, int(np.prod(classes))
    small_padded = -(-small // 64) * 64
    data = np.memmap(path, dtype=np.uint8, mode="r+", shape=(DEPTH, size + small_padded))
    slots = []
    for row in data:
        image = torch.from_numpy(np.asarray(row[:size]).view(np.float32).reshape(images))
        slots.append((image, torch.from_numpy(np.asarray(row[size : size + small]).reshape(classes))))
    return slots


@dataclass(slots=True, eq=False)
class _Hand:
    """A worker, the slots that it fills, and the slots that it was asked to fill, in order."""

    worker: Worker
    slots: list[tuple[Tensor, Tensor]]
    pending: deque[int] = field(default_factory=deque)
    asked: int = 0
    opened: bool = False


class Loader:
    """Iterates (step, Batch), from `start_step` on, in order; the same bits for any number of workers.

    Parameters
    ----------
    store, sampling
        What is drawn, and how.
    start_step
        First step.
    stop_step
        Step before which it ends; None: never (close it).
    workers
        Helper processes at first, one core each; 0 draws in this process, which is also done while they start. Where a
        worker cannot start or is killed, a warning is given and the others go on, or this process where none is left.
        What a worker raises is raised here, with its whole traceback.
    rank
        Number of the process in distributed training.
    most
        Where the consumer waits for more than `WAITING` of its time, the workers that are missing are hired, until there are
        so many, or `MOST`, or no memory is left. No effect where `workers` is 0.

    Attributes
    ----------
    wait_s
        Seconds that the consumer has waited for batches so far.
    """

    def __init__(
        self,
        store: Store,
        sampling: Sampling,
        *,
        start_step: int = 0,
        stop_step: int | None = None,
        workers: int = 1,
        rank: int = 0,
        most: int = 0,
    ) -> None:
        self.wait_s = 0.0
        self._store, self._sampling, self._rank = store, sampling, rank
        self._start, self._stop, self._next = start_step, stop_step, start_step
        self._team: list[_Hand] = []
        self._owner: dict[int, _Hand] = {}
        self._files: list[Path] = []
        self._most = min(most, MOST) if workers else 0
        self._look = time.perf_counter(), 0.0
        self._hire(workers)

    @property
    def workers(self) -> int:
        """Helper processes that there are now."""
        return len(self._team)

    def _hire(self, count: int) -> None:
        """Start so many more workers; each is asked for batches once it is there."""
        try:
            for _ in range(count):
                path = _shared_file(self._store, self._sampling)
                self._files.append(path)
                slots = _map(path, self._store, self._sampling)
                worker = Worker(_DrawJob(self._store, self._sampling, self._rank, path))
                worker.submit(None)
                self._team.append(_Hand(worker, slots))
        except (WorkerLost, OSError) as lost:
            self._go_on_with_fewer(lost)

    def _go_on_with_fewer(self, reason: Exception, lost: _Hand | None = None) -> None:
        self._most = 0  # there is no room for more
        if lost is not None:
            lost.worker.close()
            self._team.remove(lost)
            self._owner = {step: hand for step, hand in self._owner.items() if hand is not lost}
        others = "other worker processes go on" if self._team else "batches are drawn in the main process instead"
        warnings.warn(f"{reason}; {others}.", RuntimeWarning, stacklevel=3)

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        step = self._start
        while self._stop is None or step < self._stop:
            begun = time.perf_counter()
            batch = self._take(step)
            self._grow(begun)
            self.wait_s += time.perf_counter() - begun
            yield step, batch
            step += 1
        self.close()

    def _take(self, step: int) -> Batch:
        try:
            for hand in [hand for hand in self._team if not hand.opened]:
                self._open(hand, step)
            owner = self._owner.pop(step, None)
            batch = None if owner is None else self._receive(owner)
        except BaseException:
            self.close()
            raise
        return self._sampling.draw(self._store, step, self._rank) if batch is None else batch

    def _open(self, hand: _Hand, step: int) -> None:
        """Ask a worker for its first batches, from `step` on, if it has started."""
        try:
            if hand.worker.ready():
                hand.worker.result()
                hand.opened = True
                self._next = max(self._next, step)  # what was drawn here meanwhile is skipped
                for _ in range(DEPTH):
                    self._ask(hand)
        except WorkerLost as lost:
            self._go_on_with_fewer(lost, hand)

    def _ask(self, hand: _Hand) -> None:
        """Let a worker draw the first batch that no other was asked for."""
        if self._stop is None or self._next < self._stop:
            slot = hand.asked % DEPTH
            hand.worker.submit((self._next, slot))
            hand.asked += 1
            hand.pending.append(slot)
            self._owner[self._next] = hand
            self._next += 1

    def _receive(self, hand: _Hand) -> Batch | None:
        """Return the batch that a worker was asked for first; None where the worker is lost."""
        try:
            names = hand.worker.result()
            images, truth = hand.slots[hand.pending.popleft()]
            batch = Batch(_kept(images), _kept(truth), names)
            self._ask(hand)
        except WorkerLost as lost:
            self._go_on_with_fewer(lost, hand)
            return None
        return batch

    def _grow(self, now: float) -> None:
        """Hire the workers that are missing, judged by the share of waiting since the last look."""
        if any(hand.asked <= 2 * DEPTH for hand in self._team):  # its first batches are waited for longer
            self._look = now, self.wait_s
        since, waited = self._look
        if now - since < LOOK_S:
            return
        share, count = (self.wait_s - waited) / (now - since), len(self._team)
        self._look = now, self.wait_s
        if share > WAITING and count < self._most:
            enough = math.ceil(count / max(1 - share, 0.01))  # if they draw as fast as those that are there
            bytes_each = WORKER_BYTES + _slots_bytes(self._store, self._sampling)
            fitting = int(memory_available_bytes() // (2 * bytes_each))
            self._hire(min(enough - count, self._most - count, fitting))

    def close(self) -> None:
        """End the helper processes; iterating on draws in this process."""
        for hand in self._team:
            hand.worker.close()
        for path in self._files:
            with contextlib.suppress(OSError):
                path.unlink()
        for left in (self._team, self._files, self._owner):
            left.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


def _kept(drawn: Tensor) -> Tensor:
    """Return a copy of a slot; in pinned memory where a CUDA GPU is, which then reads it while the processor goes on."""
    if torch.cuda.is_available():
        with contextlib.suppress(RuntimeError):  # no more memory may be pinned
            return torch.empty(drawn.shape, dtype=drawn.dtype, pin_memory=True).copy_(drawn)
    return drawn.clone()


def _slots_bytes(store: Store, sampling: Sampling) -> int:
    """Return the size of the batches that a worker draws ahead."""
    images, classes = sampling.shapes(store)
    return DEPTH * (int(np.prod(images)) * 4 + -(-int(np.prod(classes)) // 64) * 64)


def _shared_file(store: Store, sampling: Sampling) -> Path:
    """Reserve a file for the slots, in shared memory where it has room for it, else beside the store."""
    size = _slots_bytes(store, sampling)
    roomy = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > 2 * size
    handle, name = tempfile.mkstemp(
        prefix=f".striate-batches-{os.getpid()}-", dir=SHARED_MEMORY if roomy else store.folder
    )
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, size)
        else:
            os.ftruncate(handle, size)
    except BaseException:
        Path(name).unlink()
        raise
    finally:
        os.close(handle)
    return Path(name)
