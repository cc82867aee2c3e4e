"""What a comparison knows before it runs anything: that every network fits the cohort, and its size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from striate.comparing.asked import STARTS, Asked
from striate.comparing.fits import planned
from striate.comparing.row import size_of
from striate.comparing.trial import Trial
from striate.core.progress import Progress
from striate.data.cohort import Cohort
from striate.data.split import Split
from striate.model.model import Model
from striate.planning.cost import seen_patch
from striate.planning.fingerprint import Fingerprint
from striate.planning.image_facts import measure_images
from striate.planning.plan import Plan, Task
from striate.workflows.options import Options, budget_of, checked, split_of, targets_of
from striate.workflows.task import truth_for, whole_task


def fitting(asked: Asked, progress: Progress) -> tuple[dict[str, dict[str, Any]], dict[str, tuple[str, ...]]]:
    """Return the size of each network, and what each can start from.

    Raises
    ------
    UsageError
        When a network does not fit, with those that do; when a fold or a subject does not exist.
    DataError
        When the cohort has not the truth that the task needs, or nobody validates.
    ModelError
        When the encoder is no model.
    """
    import torch

    cohort = Cohort.open(Path(asked.cohort))
    first = Trial(
        asked.networks[0], "random", 1.0, asked.seed, asked.fold or (asked.folds and f"1/{asked.folds}") or None
    )
    options = checked(cast("Options", first.options(asked, None)))
    task = whole_task(cohort, asked.task, asked.regions)
    split = split_of(cohort, options, truth_for(task))
    refuse_unmeasured(cohort, split)
    facts, task = _facts(cohort, task, split, options, progress)
    memory = budget_of({"steps": 1, "memory": asked.memory}).memory_bytes
    plans = planned(facts, task, asked.networks, memory, fast=torch.cuda.is_available(), dims=asked.dims)
    sizes = {name: {"size": _seen(plan), **size_of(plan)} for name, plan in plans.items()}
    return sizes, _starts(asked, progress)


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
            expected(f"cohort {cohort.name}", f"{count} subject(s), none left to validate on",
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
