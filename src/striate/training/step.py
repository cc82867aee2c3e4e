"""One training step: forward, total error, backpropagation, update. The same code is timed, benchmarked and trained with."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import deterministic

from striate.core.counted import counted
from striate.core.errors import MemoryLimitError, ModelError, expected
from striate.core.machine import show_bytes
from striate.core.out_of_memory import ran_out_of_memory
from striate.networks.network import Network
from striate.planning.plan import Training
from striate.training.gpu import device, memory_free_bytes
from striate.training.laps import Laps
from striate.training.losses import Loss

N = TypeVar("N", bound=nn.Module)


def choose_algorithms(place: torch.device) -> None:
    """Learn with the same bits each time on a CPU, with the fastest convolutions on a CUDA GPU; for the whole process.

    cuDNN times its convolutions for every size that comes; patches have one, so that this is done once.
    """
    if place.type == "cuda":
        torch.backends.cudnn.benchmark = True
        return
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # no layer reads it: tested for each


def channels_last(spatial_dims: int) -> torch.memory_format:
    """Return the memory format in which convolutions are fast (channels innermost)."""
    formats: dict[int, torch.memory_format] = {2: torch.channels_last, 3: torch.channels_last_3d}
    return formats[spatial_dims]


def to_device(network: N, spatial_dims: int) -> N:
    """Move `network` to the training device, weights in the fast memory format."""
    return network.to(device()).to(memory_format=channels_last(spatial_dims))  # type: ignore[call-overload, no-any-return]


def total_error(
    outputs: Tensor | list[Tensor],
    truth: Tensor,
    loss: Loss,
    *,
    weights: Sequence[float] | None = None,
    margin: Sequence[int] = (),
) -> Tensor:
    """Return the loss over all outputs, in float32.

    Parameters
    ----------
    outputs
        What a network returned; the main output first.
    truth
        Class indices (B, *S) of voxels; (B,) or (B, K) of images; (B, T) of the images of sequences; or the images
        themselves, where they are to be reconstructed.
    loss
        Compares one output with the truth.
    weights
        Of the outputs; by default ½^i, made to sum to 1.
    margin
        Voxels on each side of each axis that the outputs do not have (unpadded convolutions).

    Notes
    -----
    Heads of lower resolution (deep supervision) are compared with the nearest voxel of the truth.
    """
    heads = outputs if isinstance(outputs, list) else [outputs]
    halved = [0.5**i for i in range(len(heads))]
    shares = weights or [w / sum(halved) for w in halved]
    if any(margin):
        truth = truth[(slice(None), *(slice(m, n - m) for m, n in zip(margin, truth.shape[1:], strict=True)))]
    error = torch.zeros((), device=truth.device)
    for head, share in zip(heads, shares, strict=False):
        wanted = truth
        if head.ndim == 3 and truth.ndim == 2:  # (B, T, K): a class for each image of a sequence
            head = head.movedim(-1, 1)
        elif head.ndim == truth.ndim + 1 and head.shape[2:] != truth.shape[1:]:
            small = functional.interpolate(truth[:, None].float(), head.shape[2:], mode="nearest-exact")
            wanted = small[:, 0].to(torch.uint8)
        error = error + share * loss(head.float(), wanted)
    return error


def train_step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss: Loss,
    training: Training,
    images: Tensor,
    truth: Tensor,
    whole: nn.Module | None = None,
    laps: Laps | None = None,
) -> float:
    """Do one update and return the total error before it.

    Parameters
    ----------
    network
        What learns; a part of `whole`, where that is given.
    optimiser, loss, training
        How.
    images, truth
        A batch; `images` as `network` takes them.
    whole
        The network that knows the weights of the outputs; `network` where it is not given.
    laps
        Is told when forward (with the total error), backward (with clipping) and optimiser are done.

    Raises
    ------
    ModelError
        When the error or its gradient is not finite; the weights are as before.
    MemoryLimitError
        When the device's memory does not suffice.
    """
    with memory_told(training):
        return _updated(network, optimiser, loss, training, images, truth, whole, laps or Laps())


@contextlib.contextmanager
def memory_told(training: Training) -> Iterator[None]:
    """Say in a sentence that the device's memory ran out.

    Raises
    ------
    MemoryLimitError
        With what is free, and the lines of the plan to change.
    """
    try:
        yield
    except RuntimeError as error:
        if not ran_out_of_memory(error):
            raise
        patch = "×".join(str(n) for n in training.patch)
        raise MemoryLimitError(
            expected("training", f"memory ran out in a step of {counted(training.batch, 'sample')} of {patch} voxels"
                     f" ({' '.join(str(error).split())[:200]})", f"{show_bytes(memory_free_bytes())} are free",
                     "In plan.yaml lower training.batch or make training.patch and inference.patch smaller, or plan with"
                     " less --memory.")
        ) from error  # fmt: skip


def _updated(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss: Loss,
    training: Training,
    images: Tensor,
    truth: Tensor,
    whole: nn.Module | None,
    laps: Laps,
) -> float:
    optimiser.zero_grad(set_to_none=True)
    laps.done("optimiser")
    with torch.autocast(images.device.type, torch.bfloat16, enabled=training.precision == "bf16"):
        outputs = network(images)
    form = whole or (network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network)
    weights, margin = (form.output_weights, form.margin) if isinstance(form, Network) else (None, ())
    error = total_error(outputs, truth, loss, weights=weights, margin=margin)
    value = float(error.detach())
    _refuse_not_finite("loss", value, training)
    laps.done("forward")
    error.backward()  # type: ignore[no-untyped-call]
    size = float(nn.utils.clip_grad_norm_(network.parameters(), training.clip_norm))
    _refuse_not_finite("gradient", size, training)
    laps.done("backward")
    optimiser.step()
    laps.done("optimiser")
    return value


def _refuse_not_finite(what: str, value: float, training: Training) -> None:
    """Stop before the weights are spoilt."""
    if not math.isfinite(value):
        raise ModelError(
            expected("training", f"the {what} became {value}", f"a finite {what} is needed",
                     f"In plan.yaml lower training.learning_rate (now {training.learning_rate:g}) or set precision: fp32.")
        )  # fmt: skip
