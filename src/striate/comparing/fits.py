"""Whether networks fit a cohort: each is planned without timing anything, before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from striate import networks
from striate.core.errors import StriateError, UsageError
from striate.planning.fingerprint import Fingerprint
from striate.planning.make import Budget, Wishes, make_plan
from striate.planning.make_whole import make_whole_plan
from striate.planning.plan import NetworkChoice, Plan, Task, Training
from striate.planning.timer import StepTime


@dataclass
class _NoTimer:
    """Answers at once; times are not asked here."""

    fast: bool

    def step(self, task: Task, choice: NetworkChoice, training: Training) -> StepTime:
        """Return one second."""
        return StepTime(1.0, "fp32", {"fp32": 1.0})

    def peak_flops(self, precision: str) -> float:
        """Return 1."""
        return 1.0


def planned(
    facts: Fingerprint, task: Task, names: Sequence[str], memory_bytes: int, *, fast: bool, dims: int | None = None
) -> dict[str, Plan]:
    """Return the plan of each network; nothing of it is timed.

    Parameters
    ----------
    facts, task
        Of the cohort.
    names
        The networks.
    memory_bytes
        What training may use.
    fast
        Whether a GPU does the work.
    dims
        2 where masks are drawn slice by slice.

    Raises
    ------
    UsageError
        When a network does not fit, with why, and which would.
    """
    plans: dict[str, Plan] = {}
    bad: dict[str, StriateError] = {}
    for name in names:
        found = _plan(facts, task, name, memory_bytes, fast, dims)
        if isinstance(found, Plan):
            plans[name] = found
        else:
            bad[name] = found
    if bad:
        others = [n for n in networks.names(task.kind) if n not in bad and n not in plans]
        able = [*plans, *(n for n in others if isinstance(_plan(facts, task, n, memory_bytes, fast, dims), Plan))]
        reasons = "".join(f"\n  {name}: {error}" for name, error in bad.items())
        fit = ", ".join(sorted(able)) or "none"
        raise UsageError(f"networks {', '.join(bad)} do not fit cohort {facts.cohort}. These do: {fit}.{reasons}")
    return plans


def _plan(
    facts: Fingerprint, task: Task, name: str, memory_bytes: int, fast: bool, dims: int | None
) -> Plan | StriateError:
    kind = networks.load(name)
    if kind.task != task.kind:
        return UsageError(f"it does {kind.task}, {task.kind} is asked for.")
    make = make_plan if task.kind == "segmentation" else make_whole_plan
    wishes = Wishes(name, dims if task.kind == "segmentation" else None)
    try:
        return make(facts, task, Budget(None, 1, memory_bytes), _NoTimer(fast), wishes)
    except StriateError as error:
        return error
