"""What a plan is refused for before any work is done: other data, options that it already decides, too little memory."""

from __future__ import annotations

from pathlib import Path

from striate.core.counted import counted
from striate.core.errors import DataError, MemoryLimitError, PlanError, UsageError, expected
from striate.core.machine import bytes_of, seconds_of, show_bytes
from striate.data.cohort import Cohort
from striate.io.read import read_header
from striate.planning.cost import network_cost, training_bytes, window_cost
from striate.planning.plan import Plan
from striate.workflows.encoder import from_encoder
from striate.workflows.harden import hardened
from striate.workflows.options import Options

PLANNED = ("task", "regions", "network", "dims")
"""Options that a given plan has decided already."""


def with_options(plan: Plan, path: Path, options: Options) -> Plan:
    """Return the plan with the length and the seed that were asked for.

    Raises
    ------
    UsageError
        When an option says what only the plan may say.
    """
    for key in PLANNED:
        if options.get(key):
            raise UsageError(f"{key} {options.get(key)}: the plan {path} has decided that; change it there.")
    training, steps, budget, seed = plan.training, options.get("steps"), options.get("budget"), options.get("seed")
    if steps:
        training = training.changed(steps=steps, budget_s=None)
    if budget:
        training = training.changed(steps=None, budget_s=seconds_of(budget))
    if seed is not None:
        training = training.changed(seed=seed)
    return hardened(from_encoder(plan.changed(training=training.model_dump()), options), options.get("adversarial"))


def refuse_other_data(plan: Plan, path: Path, cohort: Cohort) -> None:
    """Refuse a plan for other channels or another number of axes than the cohort has; headers alone are read.

    Capitals do not count: cohorts name channels without, an imported model has the names that nnU-Net was given.

    Raises
    ------
    DataError
        With the plan's and the cohort's.
    PlanError
        When it is of the second stage of a cascade.
    """
    if plan.preparation.previous_labels:
        raise PlanError(
            expected(path, "the plan of a cascade's second stage, whose network also sees a mask of the first",
                     "a plan for images alone is needed", f"Make one: striate plan {cohort.root} --out plan.yaml"), path=path,
        )  # fmt: skip
    planned = len(plan.preparation.spacing_mm)
    dims = len(read_header(next(iter(cohort.cases[0].channels.values()))).grid.shape)
    named, found = ([name.casefold() for name in names] for names in (plan.task.channels, cohort.channels))
    if named != found or planned != dims:
        raise DataError(
            expected(path, f"a plan for {planned}D images with channels {', '.join(plan.task.channels)}",
                     f"one for the cohort's {dims}D images with channels {', '.join(cohort.channels)} is needed",
                     f"Make one: striate plan {cohort.root} --out plan.yaml"), path=path,
        )  # fmt: skip


def refuse_large(plan: Plan, path: Path, memory: str | None) -> None:
    """Refuse a plan that cannot be trained here: an impossible network or loss, or more memory than there is.

    Parameters
    ----------
    plan, path
        The plan, and the file to change.
    memory
        What training may use, for instance ``6G``; None: what is free on the device that trains.

    Raises
    ------
    PlanError
        When network, options, patch or loss cannot be, the loss does not fit the task, or the GPU lacks bf16.
    MemoryLimitError
        With what is needed, what there is, and the line to change.
    """
    from striate.training import losses
    from striate.training.gpu import device, gpu_name, memory_free_bytes, native_bf16

    training = plan.training
    if training.precision == "bf16" and device().type == "cuda" and not native_bf16():
        raise PlanError(
            expected(path, f"training.precision bf16, for which {gpu_name()} has no instructions",
                     "a precision that the GPU computes in is needed", f"In {path.name} set it to fp32."), path=path,
        )  # fmt: skip
    try:
        losses.create(training.loss, plan.task.outputs)
        cost = network_cost(plan.task, plan.network, training.patch, training.length)
        window_cost(plan)
    except UsageError as error:
        raise PlanError(f"{path}: {error}", path=path) from error
    needed = training_bytes(cost, training.batch, training.precision)
    there = bytes_of(memory) if memory else memory_free_bytes()
    if needed > there:
        patch = "×".join(str(n) for n in training.patch)
        smaller = "lower training.batch" if training.batch > 1 else "make training.patch and inference.patch smaller"
        now = counted(training.batch, plan.task.sample, plan.task.samples)
        raise MemoryLimitError(
            expected(path, f"training needs about {show_bytes(needed)}", f"{show_bytes(there)} may be used",
                     f"In {path.name} {smaller} (now {now} of {patch} voxels)."), path=path,
        )  # fmt: skip
