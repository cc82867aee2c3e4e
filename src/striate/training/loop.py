"""The loop, top to bottom as the lecture's five steps.

    1. initialise all weights at random
    2. forward: show a batch of training patches
    3. total error between output and truth
    4. backpropagate, and update each weight in proportion to its part in the error
    5. repeat, until the schedule is done

Between the steps it writes down what happened, now and then validates, and keeps a checkpoint from which a killed run goes
on bit for bit (on CPU): a batch is a pure function of (seed, step), and every other piece of state is in the checkpoint.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

import torch
from torch import Tensor, nn

from striate import networks
from striate.core.errors import Interrupted
from striate.core.progress import Bar, Progress
from striate.planning.plan import Plan
from striate.training import checkpoint, distributed, losses, optimise
from striate.training.average import WeightAverage
from striate.training.clock import Clock
from striate.training.log import TrainingLog
from striate.training.step import channels_last, device, to_device, train_step

VALIDATIONS = 10
"""How often a run validates and keeps a checkpoint."""

MOST_VALIDATING = 0.1
"""Under a time budget, validations that would take more than this share of the time are left out."""

Validate = Callable[[nn.Module], dict[str, float]]


class Batches(Protocol):
    """Where batches come from: yields (step, images (B, C, *S) float32, classes (B, *S) uint8) in order of step."""

    wait_s: float

    def __call__(self, start_step: int) -> contextlib.AbstractContextManager[Iterator[tuple[int, Tensor, Tensor]]]:
        """Open the stream at `start_step`."""
        ...


@dataclass(frozen=True)
class Learned:
    """What a run ends with.

    Attributes
    ----------
    network
        The network for prediction: the moving average of the weights, in eval mode on the CPU.
    steps
        Updates that were done.
    training_s, waiting_share
        Seconds spent in the loop (all parts of a resumed run), and the share of them waiting for data.
    """

    network: nn.Module
    steps: int
    training_s: float
    waiting_share: float


def initialise(plan: Plan) -> nn.Module:
    """Step 1: make the plan's network with random weights, the same for the same seed."""
    torch.manual_seed(plan.training.seed)
    network = networks.create(
        plan.network.name,
        spatial_dims=plan.network.spatial_dims,
        in_channels=len(plan.task.channels),
        out_channels=plan.targets.out_channels,
        **plan.network.options,
    )
    return to_device(network, plan.network.spatial_dims)


def learn(
    plan: Plan, batches: Batches, clock: Clock, folder: Path, *, validate: Validate, progress: Progress
) -> Learned:
    """Train the plan's network; continues from ``folder/checkpoint.safetensors`` where there is one.

    Raises
    ------
    Interrupted
        After SIGINT or SIGTERM; a checkpoint was written.
    ModelError
        When the loss is not finite, or the checkpoint does not fit the plan.
    """
    torch.use_deterministic_algorithms(True, warn_only=True)
    writes = distributed.rank() == 0
    training, saved = plan.training, folder / "checkpoint.safetensors"
    network = initialise(plan)  # step 1: random weights
    average = WeightAverage(network, training.ema)
    optimiser = optimise.create(network, training)
    loss = losses.create(training.loss, plan.targets)
    start, facts = 0, {"waited_s": 0.0}
    if saved.exists():
        start, facts = checkpoint.load(saved, network=network, average=average.network, optimiser=optimiser)
    log = TrainingLog(folder, start) if writes else None
    elapsed_before = log.elapsed_s if log else 0.0
    began, step = time.monotonic(), start
    shared = distributed.share(network.train())
    look = _Look(plan, validate, log, progress)

    def elapsed() -> float:
        return elapsed_before + time.monotonic() - began

    def keep(done: int) -> None:
        if writes:
            waited = {"waited_s": facts["waited_s"] + batches.wait_s}
            checkpoint.save(
                saved, step=done, network=network, average=average.network, optimiser=optimiser, facts=waited
            )

    with batches(start) as stream, _stop_signals() as stop, progress.bar("Training", 1.0) as bar:
        fraction = distributed.agree(clock.fraction(start))
        if start == 0 and writes:
            look.at(0, elapsed(), average.network)
        while fraction < 1:  # step 5: repeat
            waited, tick = batches.wait_s, time.monotonic()
            step, images, classes = next(stream)
            rate = optimise.learning_rate(training, fraction)
            for group in optimiser.param_groups:
                group["lr"] = rate
            images = images.to(device(), memory_format=channels_last(plan.network.spatial_dims))
            error = train_step(shared, optimiser, loss, training, images, classes.to(device()))  # steps 2, 3 and 4
            average.update(network, step + 1)
            if log is not None:
                row = {
                    "step": step,
                    "elapsed_s": round(elapsed(), 3),
                    "fraction": fraction,
                    "learning_rate": rate,
                    "loss": error,
                }
                times = {"data_wait_s": batches.wait_s - waited, "step_s": time.monotonic() - tick}
                log.step(row | {k: round(v, 4) for k, v in times.items()})
            before, fraction = fraction, distributed.agree(clock.fraction(step + 1))
            look.show(bar, fraction, step + 1, error)
            if stop():
                keep(step + 1)
                raise Interrupted(
                    f"stopped after step {step + 1}; a checkpoint was written. Go on with: striate train --resume {folder}"
                )
            if int(fraction * VALIDATIONS) > int(before * VALIDATIONS) or fraction >= 1:
                if writes and look.affordable(clock, elapsed()):
                    look.at(step + 1, elapsed(), average.network)
                keep(step + 1)
                distributed.wait_for_all()
            step += 1
        total_s = elapsed()
    if log is not None:
        log.close()
    waited_s = facts["waited_s"] + batches.wait_s
    return Learned(average.network.cpu(), step, total_s, waited_s / max(total_s, 1e-9))


class _Look:
    """Validates, remembers what that cost, and shows where training stands."""

    def __init__(self, plan: Plan, validate: Validate, log: TrainingLog | None, progress: Progress) -> None:
        self.plan, self.validate, self.log, self.progress = plan, validate, log, progress
        self.cost_s = self.last_s = 0.0
        self.dice: float | None = None

    def affordable(self, clock: Clock, elapsed_s: float) -> bool:
        """Tell whether another validation fits (always when the schedule counts steps)."""
        return clock.steps is not None or self.cost_s + self.last_s <= MOST_VALIDATING * max(
            elapsed_s, clock.seconds or 0.0
        )

    def at(self, step: int, elapsed_s: float, network: nn.Module) -> None:
        """Validate after `step` updates and write it down."""
        begin = time.monotonic()
        values = self.validate(network)
        self.last_s = time.monotonic() - begin
        self.cost_s += self.last_s
        if values and self.log is not None:
            self.dice = values.get("dice_mean")
            self.log.validation(step, elapsed_s, values)

    def show(self, bar: Bar, fraction: float, step: int, error: float) -> None:
        """Show progress beside the bar."""
        shown = {"step": step, "loss": f"{error:.3f}"}
        if self.dice is not None:
            shown["Dice"] = f"{self.dice:.3f}"
        bar.update(min(fraction, 1.0), **shown)


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a wish to stop after the current step; a second one stops at once."""
    wished: list[int] = []

    def wish(number: int, frame: FrameType | None) -> None:
        if wished:
            raise KeyboardInterrupt
        wished.append(number)

    try:
        before = {number: signal.signal(number, wish) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread
        yield lambda: False
        return
    try:
        yield lambda: bool(wished)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
