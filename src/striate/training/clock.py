"""Which part of a run's schedule is done: by counted steps, or by wall-clock time that is written down as it passes."""

from __future__ import annotations

import time
from collections.abc import Mapping

MOST_BEFORE = 0.5
"""Under a time budget, share of the time that counts as spent before the first step: some is left to learn in."""


class Clock:
    """Tells, before each step, the fraction of the schedule that is done.

    By steps the fraction is step / steps. By time it is elapsed / seconds, counted from `start` (or else from the first
    question), and each value that was used is recorded by the loop (``metrics.csv``); steps that a resumed or replayed run
    does again follow their recorded fraction, so that they repeat bit for bit.

    Parameters
    ----------
    steps
        Number of steps, or None to follow `seconds`.
    seconds
        Wall-clock seconds that training may take, or None to follow `steps`.
    recorded
        Step → fraction, from an earlier part of the run.
    done_s
        Seconds that were spent before the first recorded step (of a run that is extended).
    """

    def __init__(
        self,
        steps: int | None,
        seconds: float | None,
        recorded: Mapping[int, float] | None = None,
        done_s: float = 0.0,
    ) -> None:
        self.steps, self.seconds = steps, seconds
        self._recorded = dict(recorded or {})
        self._base_s = max(self._recorded.values()) * (seconds or 0.0) if self._recorded else done_s
        self._start: float | None = None
        self._asked = False

    def start(self) -> None:
        """Let time pass from now on, before the first step; only of a run that has recorded nothing (see the class)."""
        if not self._recorded:
            self._start = time.monotonic()

    def fraction(self, step: int) -> float:
        """Return the fraction done before `step` (counted from 0); 1 or more means that training is over."""
        if self.steps is not None:
            return step / self.steps
        if step in self._recorded:
            return self._recorded[step]
        now, seconds = time.monotonic(), self.seconds or 0.0
        if self._start is None:
            self._start = now
        if not self._asked:
            self._start, self._asked = max(self._start, now - MOST_BEFORE * seconds), True
        return (self._base_s + now - self._start) / max(seconds, 1e-9)
