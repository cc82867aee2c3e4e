"""Whether explanations fit into the time that was given: asked before a case is read, while it is predicted, and after."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from striate.core.errors import TimeLimitError, expected
from striate.core.machine import show_seconds
from striate.explaining.effort import LADDER, SHARE, Pace

LOOKS = 2
"""Passes that are timed; the first is slower than all others."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The time that was given, and what the least effort takes of it.

    Attributes
    ----------
    methods
        Names of those that are asked for.
    budget_s
        Time for all cases; None: no limit.
    start
        When it began, by the monotonic clock.
    cases
        How many are to be explained.
    pass_s
        Time of a pass forwards through the network on one window.
    """

    methods: tuple[str, ...]
    budget_s: float | None = None
    start: float = 0.0
    cases: int = 1
    pass_s: float = 0.0

    @classmethod
    def of(
        cls, network: nn.Module, size: Sequence[int], methods: Sequence[str], budget_s: float | None, start: float, cases: int
    ) -> Allowance:  # fmt: skip
        """Time `network` on a window of `size` (C, *patch) where there is a budget.

        Raises
        ------
        TimeLimitError
            When the methods with their checks take more for one window of each case, whatever is found in it.
        """
        if budget_s is None:
            return cls(tuple(methods), cases=cases)
        window, took_s = torch.zeros(1, *size), list[float]()
        network.eval()
        with torch.no_grad():
            for _ in range(LOOKS):
                before = time.monotonic()
                network(window)
                took_s.append(time.monotonic() - before)
        found = cls(tuple(methods), budget_s, start, cases, min(took_s))
        found.refuse()
        return found

    def refuse(self, windows: int = 1, ahead_s: float = 0.0) -> None:
        """Refuse to go on where the time left cannot suffice for explaining `windows` of each case `ahead_s` from now.

        Raises
        ------
        TimeLimitError
            With the time that is needed at least.
        """
        if self.budget_s is None:
            return
        left_s = self.budget_s - (time.monotonic() - self.start) - ahead_s
        pace = Pace(self.pass_s, self.pass_s)
        needed_s = self.cases * windows * pace.seconds(LADDER[0], self.methods) / SHARE
        if needed_s > left_s:
            enough = show_seconds(self.budget_s + needed_s - left_s)
            raise TimeLimitError(
                expected("--budget", show_seconds(self.budget_s), f"about {enough} or more are needed for"
                         f" {', '.join(self.methods)} with their checks", "Give more time, or fewer --method or --label.")
            )  # fmt: skip

    def telling(self) -> Callable[[int, int], None]:
        """Return what is told of the windows predicted, done and in all, and refuses as soon as they will take too long."""
        first: tuple[float, int] | None = None

        def tell(done: int, total: int) -> None:
            nonlocal first
            now = time.monotonic()
            since, before = first = first or (now, done)  # small windows come several at once
            self.refuse(ahead_s=(now - since) / max(1, done - before) * (total - done))

        return tell


UNLIMITED = Allowance(())
