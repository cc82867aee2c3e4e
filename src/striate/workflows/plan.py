"""`plan`: a cohort and a budget → its fingerprint, and every decision with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from striate.core.kinds import kinds
from striate.core.progress import Progress, Silent, hearing_warnings
from striate.data.cohort import Cohort
from striate.data.split import Split
from striate.planning.fingerprint import Fingerprint
from striate.planning.image_facts import measure_images
from striate.planning.make import make_plan
from striate.planning.make_whole import make_whole_plan
from striate.planning.plan import Plan, Task
from striate.planning.rules.whole_images import small_images
from striate.workflows.disk import with_disk
from striate.workflows.encoder import from_encoder
from striate.workflows.harden import hardened, with_contrast
from striate.workflows.options import Options, budget_of, checked, split_of, targets_of, wishes_of
from striate.workflows.task import truth_for, whole_task


@kinds
def plan(
    cohort: Path | str | Cohort,
    *,
    out: Path | str | None = None,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> tuple[Fingerprint, Plan]:
    """Measure a cohort and decide how to train on it.

    Parameters
    ----------
    cohort
        Folder or CSV of a cohort, or an open one.
    out
        Where to write ``plan.yaml``.
    progress
        Who listens; by default nobody.
    options
        See `Options`.

    Raises
    ------
    DataError, UsageError, TimeLimitError, MemoryLimitError
        See the message: what came, what was needed, what to do.
    """
    checked(options)
    progress = progress or Silent()
    opened = cohort if isinstance(cohort, Cohort) else Cohort.open(Path(cohort))
    task = whole_task(opened, options.get("task"), options.get("regions"), options.get("dims"))
    for note in opened.notes:
        progress.note(note)
    with hearing_warnings(progress):
        facts, made = plan_training(opened, task, split_of(opened, options, truth_for(task)), options, progress)
    if out is not None:
        made.write(Path(out))
    return facts, made


def plan_training(
    cohort: Cohort, task: Task | None, split: Split, options: Options, progress: Progress, spent_s: float = 0.0
) -> tuple[Fingerprint, Plan]:
    """Measure the training cases only, and decide.

    Parameters
    ----------
    cohort, split
        Whose cases.
    task
        On whole images, or None for masks.
    options
        What the user asked for.
    progress
        Who listens.
    spent_s
        Seconds of the time budget that have gone already.
    """
    from striate.training.timing import MachineTimer

    if task is not None:
        facts = measure_images(cohort, [cohort.case(name) for name in split.train], progress)
        progress.note("Timing a few real training steps on this machine …")
        made = make_whole_plan(facts, task, budget_of(options, spent_s), MachineTimer(), wishes_of(options))
        note_small(facts, made, progress)
        made = hardened(from_encoder(made, options), options.get("adversarial"))
        return facts, with_disk(made, cohort, split, facts)
    targets = targets_of(cohort, options)
    facts = Fingerprint.measure(cohort, [cohort.case(name) for name in split.train], targets, progress)
    regions = None if targets is None else dict(targets.sets)
    masks = Task(channels=facts.channels, label_names=facts.label_names, regions=regions)
    progress.note("Timing a few real training steps on this machine …")
    made = make_plan(facts, masks, budget_of(options, spent_s), MachineTimer(), wishes_of(options))
    made = hardened(from_encoder(made, options), options.get("adversarial"))
    return facts, with_disk(with_contrast(made, [cohort.case(name) for name in split.train]), cohort, split, facts)


def note_small(facts: Fingerprint, plan: Plan, progress: Progress) -> None:
    """Tell where whole images are smaller than the least that the planned network takes."""
    from striate.training.timing import MachineTimer

    if small := small_images(facts, plan, fast=MachineTimer().fast):
        progress.note(small)
