"""From fingerprint, task and budget to a plan for whole images: classification, sequences, reconstruction."""

from __future__ import annotations

from striate import networks
from striate.core.errors import MemoryLimitError, expected
from striate.core.machine import show_bytes
from striate.data.augment import Augmentation
from striate.data.prepare import Intensities, Preparation
from striate.planning.cost import network_cost, training_bytes
from striate.planning.fingerprint import Fingerprint
from striate.planning.make import LEARNING_SHARE, Budget, Wishes, expectation, refuse_short, steady_precision
from striate.planning.plan import Inference, Plan, Task, Training
from striate.planning.rules import Decision
from striate.planning.rules.mirror import names_side
from striate.planning.rules.normalisation import normalisation
from striate.planning.rules.usual import USUAL_WHOLE
from striate.planning.rules.whole_images import Shown, cropping, shown
from striate.planning.timer import StepTime, Timer

BATCHES = (64, 32, 16, 8, 4, 2)
LEAST_BATCH = 8
"""Fewer images than this make batch normalisation and the gradient too noisy."""

WANTED_STEPS = 600
"""Under a time budget the batch is made small enough for this many updates."""

SEQUENCE_LENGTH = 16
LOSSES = {"classification": "cross_entropy", "sequence": "cross_entropy", "reconstruction": "squared"}


def make_whole_plan(facts: Fingerprint, task: Task, budget: Budget, timer: Timer, wishes: Wishes = Wishes()) -> Plan:
    """Decide everything.

    Raises
    ------
    TimeLimitError
        When the time budget is too short for anything.
    UsageError
        When the wished network is for another task, or no size fits it.
    MemoryLimitError
        When not even a small batch fits into the memory.
    """
    refuse_short(budget)
    network, seen = shown(facts, task, wishes.network, fast=timer.fast)
    scheme, mirror, why_mirror = _intensities(facts), *_mirror(facts, task)
    reasons = dict(USUAL_WHOLE) | {
        "network.name": network.reason,
        "preparation.spacing_mm": seen.reason,
        "preparation.normalisation": scheme.reason,
        "preparation.crop": "empty borders of scans are cut" if cropping(facts) else "a picture's frame is kept",
        "training.patch": seen.reason,
        "training.augmentation.mirror_axes": why_mirror,
    }
    patch = (*seen.value.size, 1) if task.unit == "slice" else seen.value.size
    training = _training(task, budget, seen.value, patch, mirror, wishes.seed, _length(facts, task))
    training, time = _computed(task, seen.value, training, timer)
    fixed = networks.load(seen.value.choice.name).fixed_features  # the read-out's updates take no time to speak of
    batch = training.batch if fixed else _affordable(training.batch, budget, time)
    if batch < training.batch:
        training = training.changed(batch=batch)
        time = timer.step(task, seen.value.choice, training)
        reasons["training.batch"] = f"small enough for about {WANTED_STEPS} updates in the time"
    if budget.time_s is None:
        time, reasons["training.precision"] = steady_precision(time, timer)
    measured = ", ".join(f"{k} {v:.3g} s" for k, v in time.measured.items())
    reasons.setdefault("training.precision", f"measured per step: {measured}")
    plan = Plan(
        task=task,
        preparation=Preparation(
            spacing_mm=seen.value.spacing_mm, normalisation=scheme.value[0], intensities=scheme.value[1],
            crop=cropping(facts),
        ),
        network=seen.value.choice,
        training=training.changed(precision=time.precision),
        inference=Inference(patch=patch, overlap=0.0),
        reasons=reasons,
    )  # fmt: skip
    return plan.changed(expected=expectation(plan, facts, time, timer).model_dump())


def _computed(task: Task, seen: Shown, training: Training, timer: Timer) -> tuple[Training, StepTime]:
    """Return the settings and what a step takes; with a smaller batch where a step runs out of memory all the same."""
    while True:
        try:
            return training, timer.step(task, seen.choice, training)
        except MemoryLimitError:
            smaller = [batch for batch in BATCHES if batch < training.batch]
            if not smaller:
                raise
            training = training.changed(batch=smaller[0])


def _training(
    task: Task, budget: Budget, seen: Shown, patch: tuple[int, ...], mirror: tuple[int, ...], seed: int, length: int
) -> Training:
    """Return the settings, with the largest batch that fits into the memory."""
    cost = network_cost(task, seen.choice, patch, length)
    images = length if task.kind == "sequence" else 1
    sizes = [b for b in BATCHES if b * images <= BATCHES[0]]
    fits = [b for b in sizes if training_bytes(cost, b, "fp32") <= budget.memory_bytes]
    if not fits:
        least = training_bytes(cost, sizes[-1], "fp32")
        raise MemoryLimitError(
            expected("memory", f"{show_bytes(budget.memory_bytes)} may be used", f"training needs at least {show_bytes(least)}",
                     "Give more with --memory, or close other programs.")
        )  # fmt: skip
    learned = task.kind != "reconstruction"
    return Training(
        patch=patch, batch=fits[0], steps=budget.steps, budget_s=budget.time_s if budget.steps is None else None,
        seed=seed, loss=LOSSES[task.kind], learning_rate=1e-3, weight_decay=1e-2, length=length,
        augmentation=Augmentation(
            affine=0.5 if learned else 0.0, rotation_degrees=15.0, scale=(0.85, 1.2), elastic=0.0, mirror_axes=mirror,
            noise=0.1 if learned else 0.0, blur=0.0, brightness=0.15 if learned else 0.0,
            contrast=0.15 if learned else 0.0, gamma=0.15 if learned else 0.0, low_resolution=0.0, bias_field=0.0,
        ),
    )  # fmt: skip


def _length(facts: Fingerprint, task: Task) -> int:
    """Return the images of a sequence: of examinations as many as a subject has, at most `SEQUENCE_LENGTH`."""
    if task.kind != "sequence" or task.unit == "slice":
        return SEQUENCE_LENGTH
    return min(SEQUENCE_LENGTH, facts.examinations)


def _affordable(batch: int, budget: Budget, time: StepTime) -> int:
    """Return the largest batch with which the time allows the wanted number of updates; the smallest if none does."""
    if budget.time_s is None:
        return batch
    per_image_s = time.step_s / batch
    wanted = LEARNING_SHARE * budget.time_s / (WANTED_STEPS * per_image_s)
    return min(batch, max(LEAST_BATCH, next((b for b in BATCHES if b <= wanted), LEAST_BATCH)))


def _intensities(facts: Fingerprint) -> Decision[tuple[tuple[str, ...], tuple[Intensities | None, ...]]]:
    """Return the scheme of each channel: for scans as for masks, for pictures smallest 0 and largest 1."""
    if facts.spatial_dims == 3:
        return normalisation(facts)
    count = len(facts.channels)
    return Decision((("rescale",) * count, (None,) * count), "pictures, smallest value 0 and largest 1")


def _mirror(facts: Fingerprint, task: Task) -> tuple[tuple[int, ...], str]:
    """Return the axes along which mirroring keeps a class true."""
    sided = [name for name in (*task.classes, *(task.regions or {})) if names_side(name)]
    if facts.spatial_dims == 2:
        return (), "what a picture shows may depend on its orientation"
    if sided:
        return (), f"the classes name a side ({', '.join(sided[:4])})"
    return (0,), "left-right: no class names a side; heads and feet are not exchanged"
