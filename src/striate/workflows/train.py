"""`train`: cohort → check, plan, learn, model, validation, report, in a run folder that can always go on.

Every stage writes its result before the next begins and is skipped when its result is there: going on after a kill is
running the same function again.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Unpack

from striate.core.errors import DataError, UsageError, expected
from striate.core.machine import show_seconds
from striate.core.progress import Progress, Silent
from striate.core.record import Stopwatch
from striate.data.checks.run import CheckResult, run_checks
from striate.data.cohort import Cohort
from striate.data.patches import Sampling
from striate.data.split import Split
from striate.data.store import PatchStore
from striate.planning.fingerprint import Fingerprint
from striate.planning.plan import Plan
from striate.training import distributed
from striate.training.run import Run
from striate.workflows.finish import Finished, finish, reserve_s
from striate.workflows.options import Options, checked, plain_options, split_of, targets_of
from striate.workflows.plan import plan_training


def train(
    cohort: Path | str | None = None,
    *,
    out: Path | str | None = None,
    plan: Path | str | None = None,
    resume: Path | str | None = None,
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
    with distributed.processes():
        if distributed.rank() == 0:
            run = _open_run(cohort, out, plan, resume, options)
            _prepare(run, progress, began)
            _build(run, progress)
            folder = run.folder
        else:
            progress, folder = Silent(), _expected_folder(cohort, out, resume)
        distributed.wait_for_all()
        return _learn(Run.open(folder), progress, watch, began)


def _open_run(
    cohort: Path | str | None,
    out: Path | str | None,
    plan: Path | str | None,
    resume: Path | str | None,
    options: Options,
) -> Run:
    if resume is not None:
        if cohort is not None or plan is not None or out is not None:
            raise UsageError(f"resume {resume}: give no cohort, plan or out with it; the run knows them.")
        return _extended(Run.open(Path(resume)), options)
    if cohort is None:
        raise UsageError("no cohort: give a folder or CSV to train on, or --resume RUN.")
    asked = {**plain_options(options), "plan": str(Path(plan).resolve()) if plan else None}
    if plan is not None:
        Plan.read(Path(plan))
    Cohort.open(Path(cohort))
    return Run.start(_expected_folder(cohort, out, None), Path(cohort), asked)


def _expected_folder(cohort: Path | str | None, out: Path | str | None, resume: Path | str | None) -> Path:
    """Return where the run lies; the default is the first of runs/COHORT, runs/COHORT-2 … that does not exist."""
    if resume is not None or out is not None:
        return Path(str(resume or out))
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
    given = {k: v for k, v in options.items() if v is not None and not (k == "seed" and v == 0)}
    strange = sorted(set(given) - {"steps", "budget"})
    if strange:
        raise UsageError(f"resume {run.folder}: '{strange[0]}' cannot change in a run; only steps and budget can.")
    if given and (run / "plan.yaml").exists():
        from striate.core.machine import seconds_of

        old = Plan.read(run / "plan.yaml")
        steps = options.get("steps")
        budget_s = None if steps else seconds_of(str(options["budget"]))
        old.changed(training=old.training.changed(steps=steps, budget_s=budget_s).model_dump()).write(run / "plan.yaml")
    run = Run(run.folder, run.cohort, {**run.options, **given})
    run.write()
    return run


def _prepare(run: Run, progress: Progress, began: float) -> None:
    """Check, split and plan, each once."""
    options = Options(**{k: v for k, v in run.options.items() if k != "plan"})  # type: ignore[typeddict-item]
    cohort = Cohort.open(run.cohort)
    for note in cohort.notes:
        progress.note(note)
    if not (run / "check.json").exists():
        run_checks(cohort, progress).write(run / "check.json")
    _refuse_errors(CheckResult.read(run / "check.json"), progress)
    if not (run / "split.json").exists():
        split_of(cohort, options).write(run / "split.json")
    split = Split.read(run / "split.json")
    if not (run / "plan.yaml").exists():
        if run.options.get("plan"):
            made = Plan.read(Path(str(run.options["plan"])))
            targets = targets_of(cohort, options) or made.targets
            cases = [cohort.case(name) for name in split.train]
            facts = Fingerprint.measure(cohort, cases, targets, progress)
            _refuse_other_data(made, facts.channels, facts.spatial_dims)
        else:
            facts, made = plan_training(cohort, split, options, progress, time.monotonic() - began)
            if made.training.budget_s is not None:
                made = made.changed(training=made.training.changed(budget_s=_whole_budget(options)).model_dump())
        facts.write(run / "fingerprint.json")
        made.write(run / "plan.yaml")


def _whole_budget(options: Options) -> float:
    from striate.core.machine import seconds_of
    from striate.workflows.options import DEFAULT_BUDGET

    return seconds_of(options.get("budget") or DEFAULT_BUDGET)


def _refuse_errors(result: CheckResult, progress: Progress) -> None:
    """Show warnings; stop at errors: a model that learns from broken data is worse than none."""
    for problem in result.problems:
        if problem.severity == "warning":
            progress.warn(problem.sentence)
    errors = [p.sentence for p in result.problems if p.severity == "error"]
    if errors:
        shown = "".join(f"\n  {sentence}" for sentence in errors[:10])
        more = f"\n  and {len(errors) - 10} more" if len(errors) > 10 else ""
        raise DataError(f"{result.cohort}: {len(errors)} errors must be mended before training:{shown}{more}")


def _refuse_other_data(made: Plan, channels: tuple[str, ...], dims: int) -> None:
    if made.task.channels != channels or len(made.preparation.spacing_mm) != dims:
        raise DataError(
            expected("plan", f"it is for {dims_of(made)}D images with channels {', '.join(made.task.channels)}",
                     f"the cohort has {dims}D images with channels {', '.join(channels)}",
                     "Make a plan for this cohort: striate plan COHORT --out plan.yaml")
        )  # fmt: skip


def dims_of(made: Plan) -> int:
    """Return the number of axes of the plan's images."""
    return len(made.preparation.spacing_mm)


def _build(run: Run, progress: Progress) -> PatchStore:
    cohort, split, made = Cohort.open(run.cohort), Split.read(run / "split.json"), Plan.read(run / "plan.yaml")
    cases = [cohort.case(name) for name in (*split.train, *split.validation)]
    return PatchStore.build(cases, made.preparation, made.targets, run / "cache", progress)


def _learn(run: Run, progress: Progress, watch: Stopwatch, began: float) -> Finished:
    """Learn, then turn what was learned into a model, predictions, measures and a report."""
    from striate.data.loader import Loader
    from striate.inference.validate import validator
    from striate.training.clock import Clock
    from striate.training.log import recorded_fractions
    from striate.training.loop import learn

    made, split, store = Plan.read(run / "plan.yaml"), Split.read(run / "split.json"), PatchStore.open(run / "cache")
    training = made.training
    sampling = Sampling(
        split.train, training.patch, training.batch, training.foreground, training.seed, training.augmentation
    )
    recorded = recorded_fractions(run.folder)
    seconds = None
    if training.budget_s is not None:
        seconds = max(
            5.0,
            training.budget_s - (0.0 if recorded else time.monotonic() - began) - reserve_s(run, made, split, store),
        )
        progress.note(f"Learning for {show_seconds(seconds)} of the {show_seconds(training.budget_s)}.")
    learned = learn(
        made,
        lambda step: Loader(store, sampling, start_step=step, workers=training.workers, rank=distributed.rank()),
        Clock(training.steps, seconds, recorded),
        run.folder,
        validate=validator(made, store, split.validation),
        progress=progress,
    )
    return finish(run, made, split, learned, progress, watch)
