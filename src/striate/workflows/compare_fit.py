"""What a comparison knows before it runs anything: that every network fits the cohort, and its size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from striate.comparing.asked import STARTS, Asked
from striate.comparing.fits import planned
from striate.comparing.row import size_of
from striate.comparing.trial import Trial, trials
from striate.core.counted import counted
from striate.core.progress import Progress
from striate.data.cohort import Cohort
from striate.data.split import Split, Truth
from striate.model.model import Model
from striate.planning.cost import seen_patch
from striate.planning.fingerprint import Fingerprint
from striate.planning.image_facts import measure_images
from striate.planning.plan import Plan, Task
from striate.planning.rules.whole_images import small_images
from striate.workflows.encoder import refuse_taught
from striate.workflows.options import Options, budget_of, checked, split_of, targets_of
from striate.workflows.task import truth_for, whole_task


def fitting(asked: Asked, progress: Progress) -> tuple[dict[str, dict[str, Any]], dict[str, tuple[str, ...]]]:
    """Return the size of each network, and what each can start from.

    Raises
    ------
    UsageError
        When a network does not fit, with those that do; when a fold or a subject does not exist.
    DataError
        When the cohort has not the truth that the task needs, nobody validates, or the encoder learned from validation
        subjects.
    ModelError
        When the encoder is no model.
    """
    from striate.training.gpu import device

    cohort = Cohort.open(Path(asked.cohort))
    first = Trial(
        asked.networks[0], "random", 1.0, asked.seed, asked.fold or (asked.folds and f"1/{asked.folds}") or None
    )
    options = checked(cast("Options", first.options(asked, None)))
    task = whole_task(cohort, asked.task, asked.regions, asked.dims)
    split = split_of(cohort, options, truth_for(task))
    refuse_unmeasured(cohort, split)
    facts, task = _facts(cohort, task, split, options, progress)
    memory = budget_of({"steps": 1, "memory": asked.memory}).memory_bytes
    fast = device().type == "cuda"
    plans = planned(facts, task, asked.networks, memory, fast=fast, dims=asked.dims)
    for small in filter(None, (small_images(facts, plan, fast=fast) for plan in plans.values())):
        progress.note(small)
    sizes = {name: {"size": _seen(plan), **size_of(plan)} for name, plan in plans.items()}
    starts = _starts(asked, progress)
    if asked.encoder is not None and set(starts) & set(asked.networks):
        _refuse_taught(asked, cohort, truth_for(task), progress)
    return sizes, starts


def _refuse_taught(asked: Asked, cohort: Cohort, truth: Truth, progress: Progress) -> None:
    """Refuse an encoder that learned from a validation subject of any repetition or fold."""
    parts = trials(asked.model_copy(update={"networks": asked.networks[:1], "fractions": (1.0,)}), {})
    splits = [split_of(cohort, cast("Options", t.options(asked, None)), truth) for t in parts]
    names = dict.fromkeys(name for split in splits for name in split.validation)
    refuse_taught(str(asked.encoder), [cohort.case(name) for name in names], progress)


def refuse_unmeasured(cohort: Cohort, split: Split) -> None:
    """Refuse a split in which nobody validates.

    Raises
    ------
    DataError
        With the number of subjects.
    """
    from striate.core.errors import DataError, expected

    if not split.validation:
        count = len({c.subject for c in cohort.cases})
        raise DataError(
            expected(f"cohort {cohort.name}", f"{counted(count, 'subject')}, none left to validate on",
                     "at least two are needed to compare networks")
        )  # fmt: skip


def _facts(
    cohort: Cohort, task: Task | None, split: Split, options: Options, progress: Progress
) -> tuple[Fingerprint, Task]:
    """Measure the training cases."""
    cases = [cohort.case(name) for name in split.train]
    if task is not None:
        return measure_images(cohort, cases, progress), task
    targets = targets_of(cohort, options)
    facts = Fingerprint.measure(cohort, cases, targets, progress)
    regions = None if targets is None else dict(targets.sets)
    return facts, Task(channels=facts.channels, label_names=facts.label_names, regions=regions)


def _seen(plan: Plan) -> list[int]:
    return list(seen_patch(plan.training.patch, plan.network.spatial_dims))


def _starts(asked: Asked, progress: Progress) -> dict[str, tuple[str, ...]]:
    """Return the starts of each network: with an encoder, those of its own architecture have all."""
    if asked.encoder is None:
        return {}
    encoder = Model.open(asked.encoder).plan.network.name
    others = [name for name in asked.networks if name != encoder]
    if others:
        progress.note(f"The encoder is a {encoder}; {', '.join(others)} start from random weights only.")
    return {encoder: STARTS}
