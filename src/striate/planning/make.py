"""From fingerprint, task and budget to a plan: the rules in order, each decision with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from striate import networks
from striate.core.errors import MemoryLimitError, TimeLimitError, UsageError, expected
from striate.core.machine import show_bytes, show_seconds
from striate.data.augment import Augmentation
from striate.data.prepare import Preparation
from striate.planning.cost import (
    SampleCount,
    flops_by_time,
    network_cost,
    samples_of,
    seen_patch,
    training_bytes,
    training_operations,
)
from striate.planning.fingerprint import Fingerprint
from striate.planning.plan import Expected, Inference, Plan, Task, Training
from striate.planning.rules.mirror import mirror_axes
from striate.planning.rules.network import (
    LEAST_VOXELS,
    SMALL_VOXELS,
    UNET_VOXELS,
    Candidate,
    candidate,
    candidates,
    choose,
    image_voxels,
    subjects,
)
from striate.planning.rules.normalisation import normalisation
from striate.planning.rules.spacing import target_spacing
from striate.planning.rules.usual import USUAL
from striate.planning.timer import StepTime, Timer

WANTED_STEPS = 1500
"""Under a time budget the patch is made small enough for this many updates; with a quarter of them little was learned."""

LEARNING_SHARE = 0.85
"""Share of the time budget that is left for learning after preparation, validation and the report (`train` measures)."""

STEADY_GAIN = 1.5
"""Where the length is given in steps, bf16 is taken where a matrix product is this much faster in it."""

BATCH, PROBE_VOXELS = 2, 64**3
LEAST_BUDGET_S = 20.0


@dataclass(frozen=True)
class Budget:
    """What a run may take.

    Attributes
    ----------
    time_s
        Wall-clock seconds of the whole run, or None where `steps` decides.
    steps
        Number of updates, or None where `time_s` decides.
    memory_bytes
        Memory that training may use.
    """

    time_s: float | None
    steps: int | None
    memory_bytes: int


@dataclass(frozen=True)
class Wishes:
    """What the user fixed beforehand: network, dimensions, seed."""

    network: str | None = None
    spatial_dims: int | None = None
    seed: int = 0


def make_plan(facts: Fingerprint, task: Task, budget: Budget, timer: Timer, wishes: Wishes = Wishes()) -> Plan:
    """Decide everything.

    Raises
    ------
    TimeLimitError
        When the time budget is too short for anything.
    UsageError
        When a network that is not known, or 3D for 2D images, is wished for.
    MemoryLimitError
        When not even the smallest candidate fits into the memory.
    """
    refuse_short(budget)
    reasons: dict[str, str] = dict(USUAL)
    spacing, scheme, mirror = target_spacing(facts), normalisation(facts), mirror_axes(facts)
    dims = wishes.spatial_dims or facts.spatial_dims
    if dims > facts.spatial_dims:
        raise UsageError(f"dims {dims}: the images of {facts.cohort} are {facts.spatial_dims}D; leave dims away.")
    best, choice_reason, time = _computed(facts, task, budget, timer, spacing.value, wishes.network, dims)
    reasons["network.name"] = choice_reason
    reasons["preparation.spacing_mm"] = spacing.reason + (
        f", made {best.factor:g}× coarser: {choice_reason}" if best.factor > 1 else ""
    )
    reasons["preparation.normalisation"] = scheme.reason
    reasons["training.patch"] = best.patch_reason
    reasons["training.augmentation.mirror_axes"] = mirror.reason
    if budget.time_s is None:
        time, reasons["training.precision"] = steady_precision(time, timer)
    training = _training(budget, best, time, mirror.value, wishes.seed)
    ratio = {k: f"{v:.3g} s" for k, v in time.measured.items()}
    reasons.setdefault("training.precision", "measured per step: " + ", ".join(f"{k} {v}" for k, v in ratio.items()))
    plan = Plan(
        task=task,
        preparation=Preparation(spacing_mm=best.spacing_mm, normalisation=scheme.value[0], intensities=scheme.value[1]),
        network=best.choice,
        training=training,
        inference=Inference(patch=best.patch, overlap=0.5, mirror_axes=training.augmentation.mirror_axes),
        reasons=reasons,
    )
    return plan.changed(expected=expectation(plan, facts, time, timer).model_dump())


def refuse_short(budget: Budget) -> None:
    """Refuse a time in which nothing can be learned.

    Raises
    ------
    TimeLimitError
        With the least that is needed.
    """
    if budget.time_s is not None and budget.time_s < LEAST_BUDGET_S:
        raise TimeLimitError(
            expected(
                "budget",
                show_seconds(budget.time_s),
                f"at least {show_seconds(LEAST_BUDGET_S)} are needed to learn anything",
            )
        )


class _TooLarge(Exception):  # noqa: N818 - never shown
    """A step of a network ran out of memory although it was expected to fit; `told` says so to users."""

    def __init__(self, found: Candidate, needed_bytes: int, told: str) -> None:
        self.title, self.needed_bytes, self.told = found.title, needed_bytes, told


def _computed(
    facts: Fingerprint,
    task: Task,
    budget: Budget,
    timer: Timer,
    spacing: tuple[float, ...],
    name: str | None,
    dims: int,
) -> tuple[Candidate, str, StepTime]:
    """Return what `_network` does; where a step runs out of memory all the same, of smaller networks."""
    known: MemoryLimitError | None = None  # without what led to it, which would hold the memory of the step
    told = list[str]()
    while True:
        try:
            best, reason, time = _network(facts, task, budget, timer, spacing, name, dims)
            return best, "; ".join((reason, *told)), time
        except _TooLarge as error:
            known = MemoryLimitError(error.told)
            if error.needed_bytes > budget.memory_bytes:  # it was left out already, and there is nothing else
                raise known from None
            budget = replace(budget, memory_bytes=error.needed_bytes - 1)
            told.append(f"a step of {error.title} ran out of memory")
        except MemoryLimitError as error:
            raise known or error from None


def _network(
    facts: Fingerprint,
    task: Task,
    budget: Budget,
    timer: Timer,
    spacing: tuple[float, ...],
    name: str | None,
    dims: int,
) -> tuple[Candidate, str, StepTime]:
    """Choose the network and the voxel size, and measure one of its steps."""
    _refuse_other_task(name, dims)
    offered = [c for c in candidates(facts, spacing, name=name, dims=dims) if _bytes(task, c) <= budget.memory_bytes]
    if not offered and name not in (None, "unet", "small_unet"):
        offered = [candidate(facts, spacing, name, 1.0, SMALL_VOXELS, dims)]
    if not offered:
        least = min(_bytes(task, c) for c in candidates(facts, spacing, name=name, dims=dims))
        raise MemoryLimitError(
            expected("memory", f"{show_bytes(budget.memory_bytes)} may be used", f"training needs at least {show_bytes(least)}",
                     "Give more with --memory, or close other programs.")
        )  # fmt: skip
    if budget.time_s is None:
        first = offered[0] if timer.fast or len(offered) == 1 or offered[0].choice.name != "unet" else offered[1]
        why = "no time limit was given; " + (
            "a GPU is there" if timer.fast else "this is a CPU: the network that two cores can train"
        )
        return first, why, _step(task, first, budget, timer)
    probes = [
        candidate(facts, spacing, name, 1.0, PROBE_VOXELS, dims)
        for name in dict.fromkeys(c.choice.name for c in reversed(offered))
    ]
    pace = _pace(task, probes, budget, timer)
    learning_s = LEARNING_SHARE * budget.time_s
    passes = [learning_s * pace[c.choice.name] / image_voxels(facts, c.spacing_mm) for c in offered]
    chosen = choose(offered, passes)
    voxels = learning_s * pace[chosen.value.choice.name] / (WANTED_STEPS * BATCH)
    largest = UNET_VOXELS if chosen.value.choice.name == "unet" else SMALL_VOXELS
    best = candidate(
        facts, spacing, chosen.value.choice.name, chosen.value.factor, max(LEAST_VOXELS, min(largest, voxels)), dims,
    )  # fmt: skip
    return best, chosen.reason, _step(task, best, budget, timer)


def _step(task: Task, found: Candidate, budget: Budget, timer: Timer) -> StepTime:
    """Measure one step of a candidate."""
    try:
        return timer.step(task, found.choice, _probe(found, budget))
    except MemoryLimitError as error:
        raise _TooLarge(found, _bytes(task, found), str(error)) from error


def _refuse_other_task(name: str | None, dims: int) -> None:
    """Refuse a network that draws no masks, or not of this number of axes."""
    fits = [n for n in networks.names("segmentation") if dims in networks.load(n).dims] if name else []
    if name is not None and name not in fits:
        kind = networks.load(name)
        axes = " or ".join(f"{d}D" for d in kind.dims)
        raise UsageError(
            expected(f"network {name}", f"it does {kind.task} of {axes} images", f"segmentation of {dims}D images is asked for",
                     f"These do: {', '.join(fits)}.")
        )  # fmt: skip


def _pace(task: Task, probes: list[Candidate], budget: Budget, timer: Timer) -> dict[str, float]:
    """Return patch voxels per second of each network: measured, or told from MACs where a step alone would take too long."""
    pace: dict[str, float] = {}
    macs: dict[str, float] = {}
    for found in probes:
        name, patch = found.choice.name, found.patch
        cost = network_cost(task, found.choice, patch)
        macs[name] = cost.macs / math.prod(seen_patch(patch, found.choice.spatial_dims))
        known = next(iter(pace), None)
        if known is not None:
            guess = pace[known] * macs[known] / macs[name]
            if BATCH * math.prod(patch) / guess > 0.01 * (budget.time_s or math.inf):
                pace[name] = guess
                continue
        pace[name] = BATCH * math.prod(patch) / _step(task, found, budget, timer).step_s
    return pace


def steady_precision(time: StepTime, timer: Timer) -> tuple[StepTime, str]:
    """Choose the precision by what does not change from run to run, so that the same steps and seed give the same weights.

    The time of a step is noisy; how much faster a large matrix product is in bf16 is not (below 1 or above 4 on what we
    measured).
    """
    if "bf16" not in time.measured:
        return time, f"the {'GPU' if timer.fast else 'processor'} has no instructions for bf16"
    gain = timer.peak_flops("bf16") / timer.peak_flops("fp32")
    precision = "bf16" if gain >= STEADY_GAIN else "fp32"
    reason = f"measured: a matrix product is {'faster' if gain >= STEADY_GAIN else 'not much faster'} in bf16 here"
    return StepTime(time.measured.get(precision, time.step_s), precision, time.measured), reason


def _probe(found: Candidate, budget: Budget) -> Training:
    return Training(
        patch=found.patch, batch=BATCH, steps=budget.steps, budget_s=budget.time_s if budget.steps is None else None
    )


def _bytes(task: Task, found: Candidate) -> int:
    return training_bytes(network_cost(task, found.choice, found.patch), BATCH, "fp32")


def _training(budget: Budget, best: Candidate, time: StepTime, mirror: tuple[int, ...], seed: int) -> Training:
    axes = len(best.patch)
    return _probe(best, budget).changed(
        seed=seed,
        precision=time.precision,
        augmentation=Augmentation(mirror_axes=tuple(a for a in mirror if a < axes and best.patch[a] > 1)),
        ema=0.99,
    )


def expectation(plan: Plan, facts: Fingerprint, time: StepTime, timer: Timer) -> Expected:
    """Compute what the plan expects of itself: cost, receptive field, time, memory."""
    training = plan.training
    cost = network_cost(plan.task, plan.network, training.patch, training.length)
    steps = training.steps or max(1, int(LEARNING_SHARE * (training.budget_s or 0) / time.step_s))
    seconds = training.budget_s or steps * time.step_s / LEARNING_SHARE
    seen_mm = seen_patch(training.patch, plan.network.spatial_dims, plan.preparation.spacing_mm)
    extents = [o.extent_mm for o in facts.objects.values()]
    largest_mm = tuple(round(max(e[a] for e in extents), 1) for a in range(facts.spatial_dims)) if extents else None
    voxels = round(image_voxels(facts, plan.preparation.spacing_mm))
    return Expected(
        parameters=cost.parameters,
        macs_per_patch=cost.macs,
        receptive_field_mm=tuple(round(r * s, 1) for r, s in zip(cost.receptive_field, seen_mm, strict=True)),
        object_mm=largest_mm and seen_patch(training.patch, plan.network.spatial_dims, largest_mm),
        samples_per_parameter=round(SampleCount(voxels, cost.parameters, subjects(facts)).per_parameter, 4),
        step_s=float(f"{time.step_s:.4g}"),
        steps=steps,
        training_flops_by_operations=training_operations(plan, steps, samples_of(plan, facts)),
        training_flops_by_time=flops_by_time(steps * time.step_s, timer.peak_flops(training.precision)),
        peak_memory_bytes=training_bytes(cost, training.batch, training.precision),
        time_s=round(seconds, 1),
    )
