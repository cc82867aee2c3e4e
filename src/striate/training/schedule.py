"""Which clock a run follows, kept in ``run.json`` so that going on later follows the same one.

Under a time budget the seconds for learning are decided once, when learning begins. Going on uses them again: fractions
that were recorded are repeated, and time goes on from the last of them. Extending a run begins a new schedule in which the
seconds already spent count.

Keys of `Run.schedule`: ``seconds`` for learning; ``first_step`` of the schedule and ``done_s``, the seconds spent before it
(both 0 unless the run was extended); ``ended_at``, the step at which the schedule was done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from striate.core.errors import UsageError
from striate.planning.plan import Training
from striate.training import checkpoint
from striate.training.clock import Clock
from striate.training.log import TrainingLog, recorded_fractions
from striate.training.run import CHECKPOINT, Run


def clock_of(run: Run, training: Training, seconds: Callable[[], float], *, write: bool) -> Clock:
    """Return the clock of a run.

    Parameters
    ----------
    run, training
        The run, and its plan's training.
    seconds
        Tells the seconds for learning; only asked when they were not decided before, and only under a time budget.
    write
        Whether this process writes what it decides into ``run.json``.
    """
    if training.budget_s is None:
        return Clock(training.steps, None)
    schedule = run.schedule
    if "seconds" not in schedule:
        schedule = {**schedule, "seconds": seconds()}
        if write:
            replace(run, schedule=schedule).write()
    first = schedule.get("first_step", 0)
    recorded = {step: f for step, f in recorded_fractions(run.folder).items() if step >= first}
    if "ended_at" in schedule:
        recorded[int(schedule["ended_at"])] = 1.0
    return Clock(None, schedule["seconds"], recorded, schedule.get("done_s", 0.0))


def ended(run: Run, steps: int) -> None:
    """Write down that the schedule is done after `steps` updates, so that going on does not train further."""
    now = Run.open(run.folder)
    replace(now, schedule={**now.schedule, "ended_at": steps}).write()


def restarted(run: Run, training: Training) -> Run:
    """Return the run with a new schedule (`training`'s) that begins at its checkpoint.

    Raises
    ------
    UsageError
        When fewer steps are asked for than were done.
    """
    path = run / CHECKPOINT
    step = checkpoint.step_of(path) if path.exists() else 0
    if training.steps is not None and training.steps < step:
        raise UsageError(
            f"steps {training.steps}: the run {run.folder} has done {step} already; at least {step} are needed."
        )
    log = TrainingLog(run.folder, step)
    log.close()
    return replace(run, schedule={"first_step": step, "done_s": log.elapsed_s} if step else {})
