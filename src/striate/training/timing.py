"""Time a few real training steps on this machine, so that a plan rests on measurement."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from striate import networks
from striate.core.machine import computes_in_bf16
from striate.networks.network import Network
from striate.planning.cost import seen_patch
from striate.planning.plan import NetworkChoice, Task, Training
from striate.planning.timer import StepTime
from striate.training import losses, optimise
from striate.training.gpu import device, native_bf16
from striate.training.step import channels_last, choose_algorithms, memory_told, to_device, train_step

BF16_MUST_GAIN = 1.15
"""bf16 is taken only where it is this much faster, so that the choice does not flip from run to run."""


class MachineTimer:
    """Measures this machine with real steps."""

    def __init__(self) -> None:
        self.fast = device().type == "cuda"

    def step(self, task: Task, choice: NetworkChoice, training: Training) -> StepTime:
        """Time one training step of a network on a batch."""
        return time_step(task, choice, training)

    def peak_flops(self, precision: str) -> float:
        """Return the FLOP/s of a 1536² matrix product, the best of five; measured once per process, for all of its plans."""
        return _peak_flops(precision, torch.get_num_threads())


@functools.cache
def _peak_flops(precision: str, threads: int) -> float:
    """Measure `MachineTimer.peak_flops` with `threads` threads, which torch has."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.ones((1536, 1536), dtype=kind, device=device())
    best = float("inf")
    for _ in range(5):
        _synchronise()
        begin = time.perf_counter()
        a @ a
        _synchronise()
        best = min(best, time.perf_counter() - begin)
    return float(2 * 1536**3 / best)


def time_step(
    task: Task,
    choice: NetworkChoice,
    training: Training,
    *,
    precisions: Iterable[str] | None = None,
    repeats: int = 2,
) -> StepTime:
    """Time full updates (forward, error, backward, update) on random data in each precision and return the faster.

    Without `precisions` these are fp32 and, where the device that trains has instructions for it, bf16.
    Of a network with fixed features only the read-out is updated, from features that are computed once: that is timed.
    One step warms up, the fastest of `repeats` counts: the machine's other work can only slow a step down.
    """
    if device().type == "cuda":
        choose_algorithms(device())
    chosen = tuple(precisions or (("fp32", "bf16") if _native_bf16() else ("fp32",)))
    results = {
        precision: _seconds(task, choice, training.changed(precision=precision), repeats) for precision in chosen
    }
    best = min(results, key=lambda p: results[p] * (BF16_MUST_GAIN if p == "bf16" else 1.0))
    return StepTime(results[best], best, results)


def _seconds(task: Task, choice: NetworkChoice, setting: Training, repeats: int) -> float:
    """Return the seconds of one update in the precision of `setting`; its memory is let go."""
    network = networks.create(
        choice.name,
        spatial_dims=choice.spatial_dims,
        in_channels=len(task.channels),
        out_channels=task.outputs.out_channels,
        **choice.options,
    )
    shape = _shape(task, choice, setting)
    learned: nn.Module = network
    if network.fixed_features:
        shape, learned = (_features(network, shape),), network.readout
    with memory_told(setting):
        trained = to_device(learned, choice.spatial_dims).train()
        images, truth = _random_batch(task, choice, setting, shape)
    optimiser, loss = optimise.create(trained, setting), losses.create(setting.loss, task.outputs)
    times = []
    for _ in range(repeats + 1):
        _synchronise()
        begin = time.perf_counter()
        train_step(trained, optimiser, loss, setting, images, truth)
        _synchronise()
        times.append(time.perf_counter() - begin)
    return min(times[1:])


def _native_bf16() -> bool:
    """Tell whether the device that trains has instructions for bf16; older GPUs emulate it, slower than fp32."""
    return native_bf16() if device().type == "cuda" else computes_in_bf16()


def _shape(task: Task, choice: NetworkChoice, training: Training) -> tuple[int, ...]:
    """Return the shape of one sample."""
    time = (training.length,) if task.kind == "sequence" else ()
    return (*time, len(task.channels), *seen_patch(training.patch, choice.spatial_dims))


def _features(network: Network, shape: tuple[int, ...]) -> int:
    """Return how many features a read-out learns from."""
    if isinstance(network.readout, nn.Linear):
        return network.readout.in_features
    with torch.inference_mode():
        return network.features(torch.zeros((1, *shape))).shape[1]


def _random_batch(
    task: Task, choice: NetworkChoice, training: Training, shape: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Return samples of `shape`, and truth of the shape that the task has."""
    draw = torch.Generator().manual_seed(0)
    size = seen_patch(training.patch, choice.spatial_dims)
    time = (training.length,) if task.kind == "sequence" else ()
    images = torch.randn((training.batch, *shape), generator=draw).to(device())
    if len(shape) == choice.spatial_dims + 1:
        images = images.to(memory_format=channels_last(choice.spatial_dims))
    if task.kind == "reconstruction":
        return images, images
    inner = size if task.kind == "segmentation" else (task.outputs.out_channels,) if task.multi_label else ()
    truth = torch.randint(0, 2, (training.batch, *time, *inner), generator=draw, dtype=torch.uint8)
    return images, truth.to(device())


def _synchronise() -> None:
    if device().type == "cuda":
        torch.cuda.synchronize()
