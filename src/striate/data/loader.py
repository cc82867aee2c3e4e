"""`Loader`: batches step after step, drawn ahead by helper processes where that works."""

from __future__ import annotations

import contextlib
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

from striate.data.patches import Batch
from striate.data.worker import Worker, WorkerLost

DEPTH = 3
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


@dataclass(slots=True)
class _Hand:
    """A worker, the slots that it fills, and the (step, slot) that it was asked for."""

    worker: Worker
    slots: list[tuple[Tensor, Tensor]]
    pending: deque[tuple[int, int]] = field(default_factory=deque)
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
        Helper processes, one core each; 0 draws in this process, which is also done while workers start. Where a
        worker cannot start or is killed, a warning is given and batches are drawn in this process. What a worker
        raises is raised here, with its whole traceback.
    rank
        Number of the process in distributed training.

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
    ) -> None:
        self.wait_s = 0.0
        self._store, self._sampling, self._rank = store, sampling, rank
        self._start, self._stop = start_step, stop_step
        self._team: list[_Hand] = []
        self._files: list[Path] = []
        if workers > 0:
            self._hire(workers)

    def _hire(self, count: int) -> None:
        try:
            for index in range(count):
                path = _shared_file(self._store, self._sampling)
                self._files.append(path)
                slots = _map(path, self._store, self._sampling)
                job = _DrawJob(self._store, self._sampling, self._rank, path)
                self._team.append(_Hand(Worker(job), slots))
                self._team[index].worker.submit(None)
                for turn in range(DEPTH):
                    self._ask(self._team[index], self._start + index + turn * count)
        except (WorkerLost, OSError) as lost:
            self._dismiss(lost)

    def _ask(self, hand: _Hand, step: int) -> None:
        if self._stop is None or step < self._stop:
            slot = hand.asked % DEPTH
            hand.worker.submit((step, slot))
            hand.asked += 1
            hand.pending.append((step, slot))

    def _dismiss(self, reason: Exception) -> None:
        warnings.warn(f"{reason}; batches are drawn in the main process instead.", RuntimeWarning, stacklevel=3)
        self.close()

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        step = self._start
        while self._stop is None or step < self._stop:
            begun = time.perf_counter()
            batch = self._take(step)
            self.wait_s += time.perf_counter() - begun
            yield step, batch
            step += 1
        self.close()

    def _take(self, step: int) -> Batch:
        if self._team:
            hand = self._team[(step - self._start) % len(self._team)]
            try:
                batch = self._receive(hand, step)
            except WorkerLost as lost:
                self._dismiss(lost)
            except BaseException:
                self.close()
                raise
            else:
                if batch is not None:
                    return batch
        return self._sampling.draw(self._store, step, self._rank)

    def _receive(self, hand: _Hand, step: int) -> Batch | None:
        """Return a worker's batch of `step`; None while the worker is still starting."""
        if not hand.opened:
            if not hand.worker.ready():
                return None
            hand.worker.result()
            hand.opened = True
        while True:
            drawn, slot = hand.pending.popleft()
            names = hand.worker.result()
            images, classes = hand.slots[slot]
            batch = Batch(images.clone(), classes.clone(), names) if drawn == step else None
            last = hand.pending[-1][0] if hand.pending else drawn
            self._ask(hand, max(last + len(self._team), step))  # what was drawn here meanwhile is skipped
            if batch is not None:
                return batch

    def close(self) -> None:
        """End the helper processes; iterating on draws in this process."""
        for hand in self._team:
            hand.worker.close()
        for path in self._files:
            with contextlib.suppress(OSError):
                path.unlink()
        for left in (self._team, self._files):
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


def _shared_file(store: Store, sampling: Sampling) -> Path:
    """Reserve a file for the slots, in shared memory where it has room for it, else beside the store."""
    images, classes = sampling.shapes(store)
    size = DEPTH * (int(np.prod(images)) * 4 + -(-int(np.prod(classes)) // 64) * 64)
    roomy = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > 2 * size
    handle, name = tempfile.mkstemp(
        prefix=f".striate-batches-{os.getpid()}-", dir=SHARED_MEMORY if roomy else store.folder
    )
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, size)
        else:
            os.ftruncate(handle, size)
    finally:
        os.close(handle)
    return Path(name)
