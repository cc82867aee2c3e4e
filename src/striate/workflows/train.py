"""`train`: cohort → check, plan, learn, model, validation, report, in a run folder that can always go on.

Every stage writes its result before the next begins and is skipped when its result is there: going on after a kill is
running the same function again.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from striate.core.counted import counted
from striate.core.errors import DataError, DiskFullError, Interrupted, StriateError, UsageError, expected
from striate.core.files import refuse_unwritable
from striate.core.kinds import kinds
from striate.core.machine import seconds_of, show_seconds
from striate.core.progress import Progress, Silent, hearing_warnings
from striate.core.record import Stopwatch
from striate.data.checks.run import CheckResult
from striate.data.cohort import Cohort
from striate.data.split import Split
from striate.model.model import Model
from striate.planning.fingerprint import Fingerprint
from striate.planning.image_facts import measure_images
from striate.planning.plan import Plan, Task
from striate.training import distributed, schedule
from striate.training.run import CHECKPOINT, EARLIER, Run, alone, resuming
from striate.training.start import begin_from
from striate.workflows.checked import FILE as CHECK
from striate.workflows.checked import passed, result_for
from striate.workflows.disk import refuse_run
from striate.workflows.encoder import refuse_taught
from striate.workflows.finish import REPORT_S, Finished, finish
from striate.workflows.forgetting import settled
from striate.workflows.harden import with_contrast
from striate.workflows.material import build, open_material
from striate.workflows.options import DEFAULT_BUDGET, Options, checked, plain_options, split_of, targets_of
from striate.workflows.plan import note_small, plan_training
from striate.workflows.refuse import refuse_large, refuse_other_data, with_options
from striate.workflows.task import truth_for, whole_task

LEAST_LEARNING_S = 5.0
"""Seconds of learning that every run gets, whatever its budget."""


@kinds
def train(
    cohort: Path | str | None = None,
    *,
    out: Path | str | None = None,
    plan: Path | str | None = None,
    resume: Path | str | None = None,
    check: Path | str | None = None,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> Finished:
    """Train on a cohort, or go on with a run.

    Parameters
    ----------
    cohort
        Folder or CSV of a cohort; not given with `resume`.
    out
        The run folder; ``runs/COHORT`` (with a number where that exists) by default.
    plan
        A ``plan.yaml`` to follow; otherwise one is made within the budget.
    resume
        The folder of a run to go on with. With `steps` or `budget` a finished run is extended.
    check
        The ``check.json`` of these very files (`striate.check(cohort, out=…)`): they are not read for it again.
    progress
        Who listens; by default nobody.
    options
        See `Options`.

    Raises
    ------
    DataError, UsageError, ModelError, ResourceError
        See the message: what came, what was needed, what to do.
    Interrupted
        After SIGINT or SIGTERM; a checkpoint was written.
    """
    progress, watch, began = progress or Silent(), Stopwatch(), time.monotonic()
    checked(options)
    with distributed.processes(), contextlib.ExitStack() as held:
        folder = Path(resume) if resume is not None else _expected_folder(cohort, out)
        if distributed.rank() != 0:
            progress = Silent()
        held.enter_context(hearing_warnings(progress))
        if distributed.rank() == 0:
            refuse_unwritable(folder)
            if resume is not None and folder.is_dir():
                held.enter_context(alone(folder))
            known = _known(cohort, check, resume)
            run = _open_run(cohort, folder, out, plan, resume, options)
            if resume is None:
                held.enter_context(alone(folder))
            with _resumable(folder), _whole(folder, new=resume is None):
                if known is not None:
                    known.write(run / CHECK)
                _ready(run, progress, began)
        distributed.wait_for_all()
        with _resumable(folder):
            return _learn(Run.open(folder), progress, watch, began)


def go_on(run: Run, progress: Progress, watch: Stopwatch, began: float) -> Finished:
    """Follow a run that another verb has begun, in this process alone; its time counts from `began`.

    Raises
    ------
    StriateError
        As `train`.
    """
    with alone(run.folder), _resumable(run.folder):
        _ready(run, progress, began)
        return _learn(run, progress, watch, began)


def _ready(run: Run, progress: Progress, began: float) -> None:
    """Do what is done once, before any process learns."""
    _prepare(run, progress, began)
    made = Plan.read(run / "plan.yaml")
    refuse_large(made, run / "plan.yaml", run.options.get("memory"))
    _build(run, progress)  # refuses a full disk
    if (run / EARLIER).is_dir() and not (run / CHECKPOINT).exists():
        begin_from(Model.open(run / EARLIER).network(), made, run / CHECKPOINT)


@contextlib.contextmanager
def _whole(folder: Path, *, new: bool) -> Iterator[None]:
    """Leave no folder of a new run behind whose data or options are refused."""
    try:
        yield
    except Interrupted:
        raise
    except StriateError:
        if new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


@contextlib.contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Tell who stops the work, or whose disk is full, how to go on with it."""
    try:
        yield
    except (KeyboardInterrupt, Interrupted) as error:
        if "--resume" in str(error):
            raise
        raise Interrupted(f"stopped; go on with: {resuming(folder)}") from error
    except DiskFullError as error:
        if not (folder / "run.json").exists():
            raise
        raise DiskFullError(f"{error} Once there is room, go on with: {resuming(folder)}", path=error.path) from error


def _known(cohort: Path | str | None, check: Path | str | None, resume: Path | str | None) -> CheckResult | None:
    """Return the result of a check that was given, read and compared with the files before a run is begun."""
    if check is not None and resume is not None:
        raise UsageError(
            f"check {check}: resume {resume} was given too; the run knows its own. Leave one of them away."
        )
    return None if check is None or cohort is None else result_for(Cohort.open(Path(cohort)), Path(check))


def _open_run(
    cohort: Path | str | None,
    folder: Path,
    out: Path | str | None,
    plan: Path | str | None,
    resume: Path | str | None,
    options: Options,
) -> Run:
    if resume is not None:
        if cohort is not None or plan is not None or out is not None:
            raise UsageError(f"resume {resume}: give no cohort, plan or out with it; the run knows them.")
        run = Run.open(folder)
        run.sweep()
        return _extended(run, options)
    if cohort is None:
        raise UsageError("no cohort: give a folder or CSV to train on, or --resume RUN.")
    opened = Cohort.open(Path(cohort))
    made = None if plan is None else with_options(Plan.read(Path(plan)), Path(plan), options)
    task = _task(opened, made, options)
    split_of(opened, options, truth_for(task))
    if made is not None and plan is not None:
        refuse_other_data(made, Path(plan), opened)
        refuse_large(made, Path(plan), options.get("memory"))
    elif task is None:
        targets_of(opened, options)
    asked = {**plain_options(options), "plan": str(Path(plan).resolve()) if plan else None}
    return Run.start(folder, Path(cohort), asked)


def _task(cohort: Cohort, made: Plan | None, options: Options) -> Task | None:
    """Return the task on whole images, as a given plan or the options say; None for masks."""
    if made is not None:
        return made.task if made.task.kind != "segmentation" else None
    return whole_task(cohort, options.get("task"), options.get("regions"), options.get("dims"))


def _expected_folder(cohort: Path | str | None, out: Path | str | None) -> Path:
    """Return where a new run lies; the default is the first of runs/COHORT, runs/COHORT-2 … that does not exist."""
    if out is not None:
        return Path(out)
    base = Path("runs") / (Path(str(cohort)).resolve().stem or "cohort")
    if distributed.world_size() > 1:
        raise UsageError(f"out is not given: several processes need to know the folder, for instance --out {base}.")
    number = 2
    found = base
    while found.exists():
        found, number = base.with_name(f"{base.name}-{number}"), number + 1
    return found


def _extended(run: Run, options: Options) -> Run:
    """Change the length of a run's schedule where it was asked for."""
    given = {k: v for k, v in options.items() if v}
    strange = sorted(set(given) - {"steps", "budget"})
    if strange:
        raise UsageError(f"resume {run.folder}: '{strange[0]}' cannot change in a run; only steps and budget can.")
    if not given:
        return run
    if (run / "plan.yaml").exists():
        made = with_options(Plan.read(run / "plan.yaml"), run / "plan.yaml", options)
        run = schedule.restarted(run, made.training)
        made.write(run / "plan.yaml")
    run = replace(run, options={**run.options, "steps": None, "budget": None, **given})
    run.write()
    return run


def _prepare(run: Run, progress: Progress, began: float) -> None:
    """Check, split and plan, each once."""
    options = Options(**{k: v for k, v in run.options.items() if k != "plan"})  # type: ignore[typeddict-item]
    cohort = Cohort.open(run.cohort)
    for note in cohort.notes:
        progress.note(note)
    passed(cohort, run / CHECK, progress).write(run / CHECK)
    path = Path(str(run.options["plan"])) if run.options.get("plan") else None
    given: Plan | None
    if made_already := (run / "plan.yaml").exists():
        given = Plan.read(run / "plan.yaml")  # what was given is in it; its file need not be there any more
    else:
        given = None if path is None else with_options(Plan.read(path), path, options)
    task = _task(cohort, given, options)
    if not (run / "split.json").exists():
        split_of(cohort, options, truth_for(task)).write(run / "split.json")
    split = Split.read(run / "split.json")
    _refuse_missing(run, split, cohort)
    if not made_already:
        encoder = options.get("encoder") if given is None else given.training.encoder
        if encoder:
            refuse_taught(encoder, [cohort.case(name) for name in split.validation], progress)
        if given is not None and path is not None:
            refuse_other_data(given, path, cohort)
            made, cases = given, [cohort.case(name) for name in split.train]
            if task is None:
                facts = Fingerprint.measure(cohort, cases, made.targets, progress)
                made = with_contrast(made, cases)
            else:
                facts = measure_images(cohort, cases, progress)
                note_small(facts, made, progress)
        else:
            facts, made = plan_training(cohort, task, split, options, progress, time.monotonic() - began)
            if made.training.budget_s is not None:
                whole_s = seconds_of(options.get("budget") or DEFAULT_BUDGET)
                made = made.changed(training=made.training.changed(budget_s=whole_s).model_dump())
        facts.write(run / "fingerprint.json")
        made.write(run / "plan.yaml")


def _refuse_missing(run: Run, split: Split, cohort: Cohort) -> None:
    """Stop where the cohort has lost cases since the run began."""
    known = {case.name for case in cohort.cases}
    lost = [name for name in (*split.train, *split.validation) if name not in known]
    if lost:
        count = counted(len(split.train) + len(split.validation), "case")
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise DataError(
            expected(f"cohort {cohort.name}", f"case {lost[0]}{more} is not in it any more",
                     f"the run {run.folder} began with {count} and needs all of them",
                     "Bring back what is missing, or begin another run.")
        )  # fmt: skip


def _build(run: Run, progress: Progress) -> None:
    cohort, split, made = Cohort.open(run.cohort), Split.read(run / "split.json"), Plan.read(run / "plan.yaml")
    if not (run / "cache").exists():
        refuse_run(made, cohort, split, Fingerprint.read(run / "fingerprint.json"), run.folder)
    build(run, made, split, cohort, progress)


def _learn(run: Run, progress: Progress, watch: Stopwatch, began: float) -> Finished:
    """Learn, then turn what was learned into a model, predictions, measures and a report."""
    from striate.training.loop import learn

    made, split = Plan.read(run / "plan.yaml"), Split.read(run / "split.json")
    material, training = open_material(run, made, split), made.training

    def seconds() -> float:
        spent_s = 0.0 if "done_s" in run.schedule else time.monotonic() - began
        after_s = REPORT_S + (material.reserve_s() if split.validation else 0.0)
        left = max(LEAST_LEARNING_S, (training.budget_s or 0.0) - spent_s - after_s)
        if left == LEAST_LEARNING_S:
            gone, after = show_seconds(spent_s), show_seconds(after_s)
            progress.warn(
                f"the budget of {show_seconds(training.budget_s or 0.0)} is too short: {gone} are gone, and {after} are needed"
                f" after learning. Learning for {show_seconds(left)} all the same: the run takes longer."
            )
        progress.note(f"Learning for {show_seconds(left)} of the {show_seconds(training.budget_s or 0.0)}.")
        return left

    writes = distributed.rank() == 0
    learned = learn(
        made,
        material.loader,
        schedule.clock_of(run, training, seconds, write=writes),
        run.folder,
        validate=material.validator(),
        progress=progress,
        organise=material.organise,
    )
    if writes:
        schedule.ended(run, learned.steps)
    learned = settled(run, made, split, learned, progress)
    return finish(run, made, split, material, learned, progress, watch)
