"""How a budget is shared: every run gets the same."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from striate.comparing.trial import Trial
from striate.core.counted import counted
from striate.core.errors import TimeLimitError, expected
from striate.core.machine import seconds_of, show_seconds
from striate.planning.make import LEAST_BUDGET_S

LEAST_RUN_S = LEAST_BUDGET_S + 10.0
"""Seconds below which a run learns nothing: the least of `train`, and reading the data before and the report after."""
DEFAULT_BUDGET = "30m"


def share(budget: str, runs: int) -> float:
    """Return the seconds of each run.

    Raises
    ------
    TimeLimitError
        When that is too little; the message says what to change.
    """
    whole = seconds_of(budget)
    each = whole / runs
    if each < LEAST_RUN_S:
        enough = show_seconds(math.ceil(runs * LEAST_RUN_S))
        most = int(whole // LEAST_RUN_S)
        fewer = f" or fewer networks, fractions, seeds or folds (at most {counted(most, 'run')} fit)" if most else ""
        raise TimeLimitError(
            expected("budget", f"{show_seconds(whole)} for {counted(runs, 'run')} is {show_seconds(each)} each",
                     f"at least {show_seconds(LEAST_RUN_S)} each are needed to learn anything",
                     f"Give a budget of at least {enough}{fewer}.")
        )  # fmt: skip
    return each


def told(runs: Sequence[Trial], run_s: float | None) -> str:
    """Return, in words, how many runs there are, how long each takes, and when the last one ends."""
    parts: dict[str, set[object]] = {
        "networks": {(t.network, t.start) for t in runs},
        "fractions": {t.fraction for t in runs},
        "seeds": {t.seed for t in runs},
        "folds": {t.fold for t in runs},
    }
    product = " × ".join(f"{len(v)} {n if len(v) > 1 else n[:-1]}" for n, v in parts.items())
    count = f"{counted(len(runs), 'run')} ({product})"
    if run_s is None:
        return f"{count}."
    whole = run_s * len(runs)
    end = time.strftime("%H:%M", time.localtime(time.time() + whole))
    return f"{count}, {show_seconds(run_s)} each, {show_seconds(whole)} in all: begun now, they end at about {end}."
