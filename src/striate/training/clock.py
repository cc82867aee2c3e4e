"""Which part of a run's schedule is done: by counted steps, or by wall-clock time that is written down as it passes."""

from __future__ import annotations

import time
from collections.abc import Mapping


class Clock:
    """Tells, before each step, the fraction of the schedule that is done.

    By steps the fraction is step / steps. By time it is elapsed / seconds, and each value that was used is recorded by the
    loop (``metrics.csv``); steps that a resumed or replayed run does again follow their recorded fraction, so that they
    repeat bit for bit.

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

    def fraction(self, step: int) -> float:
        """Return the fraction done before `step` (counted from 0); 1 or more means that training is over."""
        if self.steps is not None:
            return step / self.steps
        if step in self._recorded:
            return self._recorded[step]
        if self._start is None:
            self._start = time.monotonic()
        return (self._base_s + time.monotonic() - self._start) / max(self.seconds or 0.0, 1e-9)
