"""One training step: forward, total error, backpropagation, update. The same code is timed, benchmarked and trained with."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from striate.core.errors import MemoryLimitError, ModelError, expected
from striate.core.machine import memory_available_bytes, show_bytes
from striate.planning.plan import Training
from striate.training.losses import Loss

NO_MEMORY = "DefaultCPUAllocator"
"""Who torch names when the processor's memory does not suffice; GPUs have an error type of their own."""


def device() -> torch.device:
    """Return the device that training uses: a CUDA GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def memory_free_bytes() -> int:
    """Return the memory that training can still take: of the CUDA GPU where there is one, else of the machine."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return memory_available_bytes()


def channels_last(spatial_dims: int) -> torch.memory_format:
    """Return the memory format in which convolutions are fast (channels innermost)."""
    formats: dict[int, torch.memory_format] = {2: torch.channels_last, 3: torch.channels_last_3d}
    return formats[spatial_dims]


def to_device(network: nn.Module, spatial_dims: int) -> nn.Module:
    """Move `network` to the training device, weights in the fast memory format."""
    return network.to(device()).to(memory_format=channels_last(spatial_dims))  # type: ignore[call-overload, no-any-return]


def total_error(outputs: Tensor | list[Tensor], classes: Tensor, loss: Loss) -> Tensor:
    """Return the loss over all output heads, head i weighted ½^i (weights sum to 1), in float32.

    Heads of lower resolution (deep supervision) are compared with the nearest voxel of the truth.
    """
    heads = outputs if isinstance(outputs, list) else [outputs]
    weights = [0.5**i for i in range(len(heads))]
    error = torch.zeros((), device=classes.device)
    for head, weight in zip(heads, weights, strict=True):
        truth = classes
        if head.shape[2:] != classes.shape[1:]:
            truth = functional.interpolate(classes[:, None].float(), head.shape[2:], mode="nearest-exact")[:, 0].to(
                torch.uint8
            )
        error = error + weight / sum(weights) * loss(head.float(), truth)
    return error


def train_step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss: Loss,
    training: Training,
    images: Tensor,
    classes: Tensor,
) -> float:
    """Do one update and return the total error before it.

    Raises
    ------
    ModelError
        When the error or its gradient is not finite; the weights are as before.
    MemoryLimitError
        When the device's memory does not suffice.
    """
    try:
        return _updated(network, optimiser, loss, training, images, classes)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and NO_MEMORY not in str(error):
            raise
        patch = "×".join(str(n) for n in training.patch)
        raise MemoryLimitError(
            expected("training", f"memory ran out in a step of {training.batch} patches of {patch} voxels"
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
    classes: Tensor,
) -> float:
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=training.precision == "bf16"):
        outputs = network(images)
    error = total_error(outputs, classes, loss)
    value = float(error.detach())
    _refuse_not_finite("loss", value, training)
    error.backward()  # type: ignore[no-untyped-call]
    size = float(nn.utils.clip_grad_norm_(network.parameters(), training.clip_norm))
    _refuse_not_finite("gradient", size, training)
    optimiser.step()
    return value


def _refuse_not_finite(what: str, value: float, training: Training) -> None:
    """Stop before the weights are spoilt."""
    if not math.isfinite(value):
        raise ModelError(
            expected("training", f"the {what} became {value}", f"a finite {what} is needed",
                     f"In plan.yaml lower training.learning_rate (now {training.learning_rate:g}) or set precision: fp32.")
        )  # fmt: skip
