"""Time a few real training steps on this machine, so that a plan rests on measurement."""

from __future__ import annotations

import time
from collections.abc import Iterable

import torch

from striate import networks
from striate.planning.plan import NetworkChoice, Task, Training
from striate.planning.timer import StepTime
from striate.training import losses, optimise
from striate.training.step import channels_last, device, train_step


def time_step(
    task: Task, choice: NetworkChoice, training: Training, *, precisions: Iterable[str] = ("fp32", "bf16"), repeats: int = 2
) -> StepTime:
    """Time full updates (forward, error, backward, update) on random data in each precision and return the fastest.

    One step warms up, the fastest of `repeats` counts: the machine's other work can only slow a step down.
    """
    results = {}
    for precision in precisions:
        setting = training.changed(precision=precision)
        network = networks.create(
            choice.name, spatial_dims=choice.spatial_dims, in_channels=len(task.channels),
            out_channels=task.targets.out_channels, **choice.options,
        ).to(device=device(), memory_format=channels_last(choice.spatial_dims)).train()  # fmt: skip
        optimiser, loss = optimise.create(network, setting), losses.create(setting.loss, task.targets)
        size = tuple(n for n in training.patch if n > 1) if choice.spatial_dims < len(training.patch) else training.patch
        draw = torch.Generator().manual_seed(0)
        images = torch.randn((training.batch, len(task.channels), *size), generator=draw)
        classes = torch.randint(0, 2, (training.batch, *size), generator=draw, dtype=torch.uint8)
        images = images.to(device(), memory_format=channels_last(choice.spatial_dims))
        classes, times = classes.to(device()), []
        for _ in range(repeats + 1):
            _synchronise()
            begin = time.perf_counter()
            train_step(network, optimiser, loss, setting, images, classes)
            _synchronise()
            times.append(time.perf_counter() - begin)
        results[precision] = min(times[1:])
    best = min(results, key=lambda p: results[p])
    return StepTime(results[best], best, results)


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
