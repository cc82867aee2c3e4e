"""`Laps`: where the seconds of a training step go, part by part."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

PARTS = ("data_wait", "host_to_device", "forward", "backward", "optimiser", "rest")
"""Parts of a step, in order. ``rest`` is what has no name: the attack of a hardened network, averaging the weights, writing
down, the clock."""


class Laps:
    """A watch that gives every second since `begin` to one part of a step.

    On a GPU nothing waits for the watch: the step itself waits twice, to see that the loss and then the gradient are finite,
    and there times are read: ``forward`` ends with the first wait, ``backward`` with the second. The last kernels of an
    update run on while its row is written and the next batch comes; what is left of them then counts to the next step's
    forward, as does what is left of the batch's way to the GPU.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start a step now; what was before it counts to no step."""
        self._began = self._last = time.perf_counter()
        self._spent = dict.fromkeys(PARTS, 0.0)

    def done(self, part: str) -> None:
        """Give what passed since the last call to one of `PARTS`."""
        now = time.perf_counter()
        self._spent[part] += now - self._last
        self._last = now

    def end(self) -> dict[str, float]:
        """Return the seconds of the step, by `columns`, and begin the next one."""
        self.done("rest")
        spent, whole = self._spent, self._last - self._began
        self._began, self._spent = self._last, dict.fromkeys(PARTS, 0.0)
        return dict(zip(columns(), (*spent.values(), whole), strict=True))


def columns() -> tuple[str, ...]:
    """Return the columns of ``metrics.csv`` that hold the parts, and ``step_s``, their sum."""
    return (*(f"{part}_s" for part in PARTS), "step_s")


def total(rows: Iterable[Mapping[str, str]]) -> dict[str, float]:
    """Return part → seconds over all rows of ``metrics.csv``; rows of runs that did not write a part down lack it."""
    sums = dict.fromkeys(PARTS, 0.0)
    for row in rows:
        for part in PARTS:
            sums[part] += float(row.get(f"{part}_s") or 0.0)
    return sums


def waiting_share(rows: Iterable[Mapping[str, str]]) -> float:
    """Return the share of the time of the updates (Σ ``step_s``) in which the network waited for data (Σ ``data_wait_s``)."""
    waited_s = whole_s = 0.0
    for row in rows:
        waited_s, whole_s = waited_s + float(row["data_wait_s"]), whole_s + float(row["step_s"])
    return waited_s / whole_s if whole_s else 0.0
