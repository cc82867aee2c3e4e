"""`update`: a finished run and new data → a model that learned from both, and what it forgot of what it knew.

The network starts from the run's weights and learns at its rate; half of its patches are drawn from the subjects that taught
it before (`striate.data.patches`). How much of what it learned is taken is decided by measuring (`striate.measure.forgetting`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from striate.core.errors import DataError, ModelError, UsageError, expected
from striate.core.files import filling, refuse_unwritable
from striate.core.kinds import kinds
from striate.core.progress import Bar, Progress, Silent, hearing_warnings
from striate.core.record import Stopwatch
from striate.data.cohort import Cohort
from striate.measure.forgetting import FILE, TOLERANCE, Forgetting
from striate.model.model import PLAN, Model
from striate.model.weights import SNAPSHOTS
from striate.planning.fingerprint import Fingerprint
from striate.planning.plan import Plan
from striate.training import distributed
from striate.training.run import COHORT, EARLIER, Run, refuse_begun
from striate.workflows.checked import FILE as CHECK
from striate.workflows.checked import passed
from striate.workflows.disk import refuse_run, with_disk
from striate.workflows.finish import Finished
from striate.workflows.joint import Joint, join
from striate.workflows.options import DEFAULT_BUDGET, Options, checked, plain_options
from striate.workflows.refuse import refuse_large, with_options
from striate.workflows.train import go_on

NOT_COPIED = (".*", "openvino", "onnx", "int8", SNAPSHOTS)
"""What of the earlier model is made again, or is not needed to start from it."""


@dataclass(frozen=True)
class Updated:
    """What `update` ends with.

    Attributes
    ----------
    folder
        The new run.
    foreseen
        ``subjects`` that teach and judge, of either cohort, ``rehearsal``, ``learning_rate``, ``seconds`` (None: not known).
    finished
        As of `train`; None after a dry run.
    forgetting
        What was learned and forgotten, and what was taken; None after a dry run.
    """

    folder: Path
    foreseen: dict[str, Any] = field(default_factory=dict)
    finished: Finished | None = None
    forgetting: Forgetting | None = None


@kinds
def update(
    run: Path | str,
    cohort: Path | str,
    out: Path | str,
    *,
    budget: str | None = None,
    steps: int | None = None,
    memory: str | None = None,
    holdout: Sequence[str] | None = None,
    fold: str | None = None,
    seed: int | None = None,
    tolerance: float = TOLERANCE,
    earlier: Path | str | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Updated:
    """Let a model that draws masks learn from a further cohort, and measure what it forgets.

    Parameters
    ----------
    run
        The folder of a finished run of `train` or `update`; it is left as it is.
    cohort
        New cases with masks, of the run's channels and labels.
    out
        Folder of the new run; where the work is stopped, ``striate train --resume OUT`` goes on with it.
    budget, steps, memory, seed
        As for `train`.
    holdout, fold
        Who of the new subjects judges, as for `train`; those of the earlier cohort keep their sides.
    tolerance
        By how much mean Dice on held-out subjects of the earlier cohort may fall.
    earlier
        The cohort of the run, where it is not where it was.
    dry_run
        Only say who would teach and judge, and how long it takes.
    progress
        Who listens; by default nobody.

    Raises
    ------
    ModelError
        When `run` is no finished run.
    UsageError
        When the model draws no masks, or an option cannot be.
    DataError
        When the cohort does not fit the model, or nobody of it is left to learn from or to judge.
    Interrupted
        After SIGINT or SIGTERM; a checkpoint was written.
    """
    progress, watch, began, out = progress or Silent(), Stopwatch(), time.monotonic(), Path(out)
    options = Options(budget=budget, steps=steps, memory=memory, holdout=holdout, fold=fold, seed=seed)
    checked(options)
    if not 0 <= tolerance <= 1:
        raise UsageError(f"tolerance {tolerance:g}: the Dice that may be lost, from 0 to 1, is needed.")
    refuse_begun(out)
    refuse_unwritable(out)
    source, model = _source(Path(run))
    with hearing_warnings(progress):
        before, new = _before(source, earlier, progress), Cohort.open(Path(cohort))
        joint = join(source, model, before, new, options, progress)
        plan = _planned(model, options)
        told = {
            "subjects": joint.counts(), "rehearsal": bool(joint.counts()["earlier_train"]), "seconds": _seconds(plan),
            "learning_rate": plan.training.learning_rate,
        }  # fmt: skip
        if dry_run:
            return Updated(out, told)
        asked = {
            **plain_options(options),
            "tolerance": tolerance,
            "run": str(source.folder.resolve()),
            "new": str(Path(cohort).resolve()),
        }
        _begin(out, joint, plan, model, {**asked, "earlier": earlier and str(Path(earlier).resolve())}, progress)
        finished = go_on(Run.open(out), progress, watch, began)
    return Updated(out, told, finished, Forgetting.read(out / FILE))


def _source(folder: Path) -> tuple[Run, Model]:
    """Open the run that learns more."""
    if distributed.world_size() > 1:
        raise UsageError(
            f"update {folder}: it begins in one process; several can go on with it by striate train --resume."
        )
    run, model = Run.open(folder), Model.open(folder)
    if model.plan.task.kind != "segmentation":
        raise UsageError(
            f"update {folder}: the model does {model.plan.task.kind}; only models that draw masks can be updated."
        )
    if model.exported:
        raise ModelError(
            expected(folder, "its model was exported", "the weights are needed", "Give the run itself."), path=folder
        )
    return run, model


def _before(run: Run, earlier: Path | str | None, progress: Progress) -> Cohort | None:
    """Open the cohort of the run; None where it is not at hand."""
    if earlier is not None:
        return Cohort.open(Path(earlier))
    try:
        return Cohort.open(run.cohort)
    except (DataError, OSError):
        progress.warn(
            f"The cohort of the run, {run.cohort}, cannot be opened: nothing of it is rehearsed, and what is forgotten cannot be"
            " measured. Where it has moved, name it with --earlier."
        )
        return None


def _planned(model: Model, options: Options) -> Plan:
    """Return the model's plan for learning more."""
    training = model.plan.training.changed(encoder=None, frozen=False, snapshots=0)
    why = "an update: that of the earlier run; at a lower one what is rehearsed keeps the new from being learned"
    told = {
        key: reason for key, reason in model.plan.reasons.items() if key not in ("training.steps", "training.budget_s")
    }
    plan = model.plan.changed(
        training=training.model_dump(),
        reasons={**told, "training.learning_rate": why},
        expected=model.plan.expected.changed(steps=None, time_s=None).model_dump(),
    )
    length = Options(steps=options.get("steps"), seed=options.get("seed"))
    if not options.get("steps"):
        length["budget"] = options.get("budget") or DEFAULT_BUDGET
    return with_options(plan, model.folder / PLAN, length)


def _seconds(plan: Plan) -> float | None:
    """Return how long it will take; of a number of updates the learning alone."""
    step_s, training = plan.expected.step_s, plan.training
    return training.budget_s or (None if step_s is None else round(step_s * (training.steps or 0), 1))


class _Bars(Silent):
    """Hands on bars; what the checks warn of is told when learning begins."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def bar(self, title: str, total: float | None) -> Bar:
        """Hand it on."""
        return self._progress.bar(title, total)


def _begin(out: Path, joint: Joint, plan: Plan, model: Model, asked: dict[str, Any], progress: Progress) -> None:
    """Make the folder of the run, whole or not at all, up to where learning begins."""
    with filling(out) as folder:
        table, split = folder / COHORT / f"{joint.cohort.name}.csv", joint.split
        joint.cohort.write_csv(table)
        cohort = Cohort.open(table)
        known = replace(cohort, root=Path(asked["new"]))  # what a refusal names; the table is gone then
        passed(known, folder / CHECK, _Bars(progress)).write(folder / CHECK)
        facts = Fingerprint.measure(cohort, [cohort.case(n) for n in split.train], plan.targets, progress)
        plan = with_disk(plan, cohort, split, facts)
        refuse_large(plan, out / PLAN, asked["memory"])
        refuse_run(plan, cohort, split, facts, out)
        shutil.copytree(model.folder, folder / EARLIER, ignore=shutil.ignore_patterns(*NOT_COPIED))
        split.write(folder / "split.json")
        facts.write(folder / "fingerprint.json")
        plan.write(folder / PLAN)
        Run(folder, table.resolve(), asked).write()
