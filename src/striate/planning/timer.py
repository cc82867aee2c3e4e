"""What a planner knows of this machine's speed: measured by whoever calls it (training), handed in as a function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from striate.planning.plan import NetworkChoice, Task, Training


@dataclass(frozen=True)
class StepTime:
    """Seconds of one training step in the faster precision.

    Attributes
    ----------
    step_s
        Seconds of one update in `precision`.
    precision
        ``bf16`` or ``fp32``, whichever was faster.
    measured
        Precision → seconds.
    """

    step_s: float
    precision: str
    measured: Mapping[str, float]


class Timer(Protocol):
    """Measures this machine.

    Attributes
    ----------
    fast
        True where a GPU does the work.
    """

    fast: bool

    def step(self, task: Task, choice: NetworkChoice, training: Training) -> StepTime:
        """Time one training step of a network on a batch."""
        ...

    def peak_flops(self, precision: str) -> float:
        """Return the floating-point operations per second of a large matrix product, measured."""
        ...
