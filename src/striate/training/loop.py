"""The loop, top to bottom as the lecture's five steps.

    1. initialise all weights at random
    2. forward: show a batch of training patches or images
    3. total error between output and truth
    4. backpropagate, and update each weight in proportion to its part in the error
    5. repeat, until the schedule is done

Between the steps it writes down what happened, now and then validates, and keeps a checkpoint from which a killed run goes
on bit for bit (on CPU): a batch, and what dropout draws, are pure functions of (seed, step), and every other piece of state
is in the checkpoint.
"""

from __future__ import annotations

import contextlib
import copy
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from striate import networks
from striate.core.errors import Interrupted
from striate.core.progress import Progress, Silent
from striate.data.loader import Loader
from striate.data.patches import Batch
from striate.model.weights import SNAPSHOTS, save_weights
from striate.networks.layers.feedback import Feedback, angles_deg
from striate.networks.network import Network
from striate.planning.plan import Plan
from striate.training import checkpoint, distributed, losses, optimise
from striate.training.adversarial import attacked
from striate.training.average import WeightAverage
from striate.training.clock import Clock
from striate.training.gpu import device
from striate.training.laps import Laps
from striate.training.log import TrainingLog
from striate.training.run import CHECKPOINT, resuming
from striate.training.start import start_from
from striate.training.step import channels_last, choose_algorithms, memory_told, to_device, total_error, train_step

VALIDATIONS = 10
"""How often a run validates and keeps a checkpoint."""

LATE = 0.6, 0.9
"""Between which shares of the schedule snapshots are kept."""

MOST_VALIDATING = 0.1
"""Under a time budget, validations that would take more than this share of the time are left out."""

MAIN_MEASURES = {"dice_mean": "Dice", "balanced_accuracy": "balanced accuracy", "psnr_db": "PSNR dB"}
"""What the progress bar shows of a validation: the first of these that there is."""

Validate = Callable[[nn.Module], dict[str, float]]
OpenLoader = Callable[[int, Network], Loader]
Organise = Callable[[Network], None]


@dataclass(frozen=True)
class Learned:
    """What a run ends with.

    Attributes
    ----------
    network
        The network for prediction: the moving average of the weights, in eval mode on the CPU.
    steps
        Updates that were done.
    training_s
        Seconds spent in the loop (all parts of a resumed run).
    workers
        Processes that drew batches at the end.
    """

    network: nn.Module
    steps: int
    training_s: float
    workers: int


def initialise(plan: Plan) -> Network:
    """Step 1: make the plan's network with random weights, the same for the same seed, or with those of its encoder."""
    torch.manual_seed(plan.training.seed)
    network = networks.create(
        plan.network.name,
        spatial_dims=plan.network.spatial_dims,
        in_channels=len(plan.task.channels),
        out_channels=plan.task.outputs.out_channels,
        **plan.network.options,
    )
    if plan.training.encoder is not None:
        start_from(network, plan)
    return to_device(network, plan.network.spatial_dims)


def learner(network: Network) -> nn.Module:
    """Return what gradient descent changes: the network, or its read-out where everything before is fixed."""
    return network.readout if network.fixed_features else network


def on_device(batch: Batch, plan: Plan) -> tuple[Tensor, Tensor]:
    """Return images and truth where the network is, images in the memory format in which convolutions are fast."""
    images = batch.images
    fast = images.ndim == plan.network.spatial_dims + 2
    layout = channels_last(plan.network.spatial_dims) if fast else torch.contiguous_format
    place = device()
    images = images.to(place, non_blocking=True).to(memory_format=layout)  # a GPU reorders what it was sent
    return images, images if plan.task.kind == "reconstruction" else batch.truth.to(place, non_blocking=True)


def learn(
    plan: Plan,
    open_loader: OpenLoader,
    clock: Clock,
    folder: Path,
    *,
    validate: Validate,
    progress: Progress,
    organise: Organise = lambda network: None,
) -> Learned:
    """Train the plan's network; continues from ``folder/checkpoint.safetensors`` where there is one.

    Parameters
    ----------
    plan
        What to train, and how.
    open_loader
        Makes the batches from a step on; it is given the network, whose fixed features a read-out learns from.
    clock
        Tells how much of the schedule is done.
    folder
        The run folder.
    validate
        Measures a network.
    progress
        Who listens.
    organise
        Called once with the fresh network, for what is learned without a teacher (see ``Network.organise``); not where
        the plan's encoder brings it.

    Raises
    ------
    Interrupted
        After SIGINT or SIGTERM; a checkpoint was written.
    ModelError
        When the loss is not finite, or the checkpoint does not fit the plan.
    """
    clock.start()
    choose_algorithms(device())
    state = _State(plan, folder / CHECKPOINT, organise)  # step 1: random weights, or the checkpoint's
    loss = losses.create(plan.training.loss, plan.task.outputs)
    shared = distributed.share(learner(state.network.train()))
    with (
        open_loader(state.step, state.network) as loader,
        _Look(plan, validate, folder, state.step, progress) as look,
        _stop_signals() as stop,
    ):
        fraction = distributed.agree(clock.fraction(state.step))
        if state.step == 0:
            look.at(0, state.average.network)
        batches, laps = iter(loader), Laps()
        while fraction < 1:  # step 5: repeat
            laps.done("rest")
            step, batch = next(batches)
            laps.done("data_wait")
            rate = optimise.set_learning_rate(state.optimiser, plan.training, fraction)
            with memory_told(plan.training):
                images, truth = on_device(batch, plan)
                laps.done("host_to_device")
                torch.manual_seed(_drawn(plan.training.seed, step))
                images = attacked(state.network, loss, plan, images, truth, fraction)  # where the plan hardens it
                laps.done("rest")
            # steps 2, 3 and 4
            error = train_step(shared, state.optimiser, loss, plan.training, images, truth, state.network, laps)
            state.done(step + 1)
            look.write(step, fraction, rate, error, laps.end())
            before, fraction = fraction, distributed.agree(clock.fraction(state.step))
            state.snapshots(plan.training.snapshots, before, fraction)
            if distributed.agree(float(stop())):
                state.stop()
            if int(fraction * VALIDATIONS) > int(before * VALIDATIONS) or fraction >= 1:
                if look.affordable(clock):
                    look.at(state.step, state.average.network, angles(state.network, loss, images, truth))
                state.keep()
                laps.begin()
        if distributed.agree(float(stop())):  # it came during the last validation
            state.stop()
        return Learned(state.average.network.cpu(), state.step, look.elapsed_s, loader.workers)


def angles(network: Network, loss: losses.Loss, images: Tensor, truth: Tensor) -> dict[str, float]:
    """Return ``angle_deg_LAYER`` for each layer of `network` that learns by feedback alignment; it stays as it is."""
    if not any(isinstance(layer, Feedback) for layer in network.modules()):
        return {}
    shown = copy.deepcopy(learner(network)).train()
    found = angles_deg(shown, lambda: total_error(shown(images), truth, loss, weights=network.output_weights))
    return {f"angle_deg_{name}": angle for name, angle in found.items() if math.isfinite(angle)}


def _drawn(seed: int, step: int) -> int:
    """Return the seed of what a step draws in this process, apart from its batch."""
    return int(np.random.SeedSequence((seed, step, distributed.rank())).generate_state(1, np.uint64)[0] >> 1)


class _State:
    """Everything that a checkpoint holds: weights, their average, the optimiser, how far it is."""

    def __init__(self, plan: Plan, path: Path, organise: Organise) -> None:
        if device().type == "cuda":
            torch.cuda.reset_peak_memory_stats()  # what planning took does not count
        self.path = path
        with memory_told(plan.training):
            self.network = initialise(plan)
            if not path.exists() and plan.training.encoder is None:
                organise(self.network)
            self.average = WeightAverage(self.network, plan.training.ema)
        self.optimiser = optimise.create(self.network, plan.training)
        self.step = 0
        if path.exists():
            self.step = checkpoint.load(
                path, network=self.network, average=self.average.network, optimiser=self.optimiser
            )

    def done(self, step: int) -> None:
        """Count one more update."""
        self.step = step
        self.average.update(self.network, step)

    def snapshots(self, count: int, before: float, now: float) -> None:
        """Write the average weights (process 0) where one of `count` moments late in the schedule has come."""
        for index, moment in enumerate(np.linspace(*LATE, count)):
            if before < moment <= now and distributed.rank() == 0:
                save_weights(
                    self.path.parent / SNAPSHOTS / f"{index + 1:02d}.safetensors", self.average.network.state_dict()
                )

    def keep(self) -> None:
        """Write a checkpoint (process 0); the others wait for it."""
        if distributed.rank() == 0:
            checkpoint.save(
                self.path,
                step=self.step,
                network=self.network,
                average=self.average.network,
                optimiser=self.optimiser,
            )
        distributed.wait_for_all()

    def stop(self) -> NoReturn:
        """Write a checkpoint and stop.

        Raises
        ------
        Interrupted
            With how to go on.
        """
        self.keep()
        on = resuming(self.path.parent)
        raise Interrupted(f"stopped after step {self.step}; a checkpoint was written. Go on with: {on}")


class _Look:
    """Shows, validates and writes down what happens (process 0 only)."""

    def __init__(self, plan: Plan, validate: Validate, folder: Path, step: int, progress: Progress) -> None:
        self.plan, self.validate = plan, validate
        self.cost_s = self.last_s = 0.0
        self.main: tuple[str, float] | None = None
        self._log = TrainingLog(folder, step) if distributed.rank() == 0 else None
        self._before_s = self._log.elapsed_s if self._log else 0.0
        self._began = time.monotonic()
        self._bar = progress.bar("Training", 1.0) if self._log else Silent().bar("Training", 1.0)

    @property
    def elapsed_s(self) -> float:
        """Seconds in the loop, earlier parts of a resumed run included."""
        return self._before_s + time.monotonic() - self._began

    def affordable(self, clock: Clock) -> bool:
        """Tell whether another validation fits (always when the schedule counts steps)."""
        within = MOST_VALIDATING * max(self.elapsed_s, clock.seconds or 0.0)
        return clock.steps is not None or self.cost_s + self.last_s <= within

    def at(self, step: int, network: nn.Module, more: Mapping[str, float] | None = None) -> None:
        """Validate after `step` updates and write it down, and `more` with it."""
        if self._log is None:
            return
        begin = time.monotonic()
        values = self.validate(network)
        self.last_s = time.monotonic() - begin
        self.cost_s += self.last_s
        if values:
            shown = next((key for key in MAIN_MEASURES if key in values), None)
            self.main = (MAIN_MEASURES[shown], values[shown]) if shown else None
            self._log.validation(step, self.elapsed_s, {**values, **(more or {})})

    def write(self, step: int, fraction: float, rate: float, error: float, seconds: Mapping[str, float]) -> None:
        """Write one step to the log, with the seconds of its parts, and show it."""
        if self._log is None:
            return
        row = {"step": step, "fraction": fraction, "learning_rate": rate, "loss": error}
        times = {"elapsed_s": self.elapsed_s, **seconds}
        self._log.step(row | {k: round(v, 6) for k, v in times.items()})
        shown = {"step": step + 1, "loss": f"{error:.3f}"}
        if self.main is not None:
            shown[self.main[0]] = f"{self.main[1]:.3f}"
        self._bar.update(min(fraction, 1.0), **shown)

    def __enter__(self) -> _Look:
        self._bar.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.__exit__(*exc)
        if self._log is not None:
            self._log.close()


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
