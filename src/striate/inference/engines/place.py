"""`placed`: a model's network where it is computed fastest: on a GPU that is there and computes it, else on the processor.

A GPU that is there need not do: another program may have it, its memory may be too small for a window, and Apple's lacks
operations and computes some wrongly without a word (convolutions in 3D, as was reported to PyTorch in 2024 and in 2026). So it
computes one window of noise first, as all others will be, and what Apple's says of it is compared with the processor's answer.
Where it will not do, a sentence says so and the processor does the work.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from striate.core.errors import MemoryLimitError
from striate.core.machine import native_precision
from striate.core.out_of_memory import ran_out_of_memory
from striate.model.model import PLAN, Model
from striate.planning.cost import seen_patch

FAILURES = (RuntimeError, TypeError, torch.cuda.DeferredCudaCallError)
"""What a GPU ends with that cannot: of memory, kernels or operations that are not there, numbers in double precision."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A network, and where it lies.

    Attributes
    ----------
    network
        In ``eval()``.
    gpu
        Name of the GPU that computes it; empty where the processor does.
    problem
        Why a GPU that is there does not compute it, as half a sentence; empty where none is there or it does.
    """

    network: nn.Module
    gpu: str = ""
    problem: str = ""


def gpu() -> torch.device | None:
    """Return the GPU of this machine: by CUDA (NVIDIA, or AMD by ROCm), or Apple's; None without one."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps") if torch.backends.mps.is_available() else None


def own_memory(device: torch.device) -> bool:
    """Tell whether a device has memory of its own; Apple's GPU shares the processor's, as do some that know CUDA."""
    return device.type == "cuda" and not torch.cuda.get_device_properties(device).is_integrated


def precision_on(device: torch.device) -> str:
    """Return ``bf16`` where the device has instructions for it, else ``fp32``; Apple's GPU computes in ``fp32``."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return native_precision() if device.type == "cpu" else "fp32"


def placed(model: Model, network: nn.Module | None = None, tell: Callable[[str], None] = lambda note: None) -> Placed:
    """Return the network of a model that draws masks, where it is computed.

    Parameters
    ----------
    model
        With its weights.
    network
        Stands in for the model's own, where it is given.
    tell
        Is told that a GPU is there and cannot.

    Raises
    ------
    ModelError
        When the weights are broken or belong to another network than the plan says.
    """
    network, device = model.network() if network is None else network, gpu()
    if device is None:
        return Placed(network)
    name = "the GPU"
    smaller = ""
    try:
        name = named(device)
        there = copy.deepcopy(network).to(device)  # what is here stays whole, whatever becomes of the other
        problem = _doubt(model, network, there, compared=device.type != "cuda")
    except FAILURES as error:
        problem = short(error)
        smaller = _smaller(model) if ran_out_of_memory(error) else ""
    except MemoryLimitError as error:  # which an engine makes of it
        problem, smaller = short(error.__cause__ or error), _smaller(model)
    if not problem:
        return Placed(there, name)
    problem = f"{name} cannot compute a window ({problem}){smaller}"
    tell(f"{problem}; the processor does it")
    return Placed(network, "", problem)


def _smaller(model: Model) -> str:
    return f"; a smaller inference.patch than {list(model.plan.inference.patch)} in {model.folder / PLAN} needs less"


def named(device: torch.device) -> str:
    """Return the name of a GPU for people."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the GPU of this Mac"


def _doubt(model: Model, here: nn.Module, there: nn.Module, *, compared: bool) -> str:
    """Let a GPU compute a window; return why its answer is not to be trusted, empty where it is.

    With `compared` the processor computes it too, in single precision, and the two may differ as engines may.
    """
    from striate.inference.engines.fastest import LEAST

    found = answer(model, there)
    if not np.isfinite(found).all():
        return "its answer is not finite"
    apart = float(np.abs(found - answer(model, here, "fp32")).mean()) if compared else 0.0
    return f"its probabilities differ from the processor's by {apart:.2g} in the mean" if apart > LEAST else ""


def answer(model: Model, network: nn.Module, precision: str | None = None) -> NDArray[np.float32]:
    """Return the probabilities of a window of noise by PyTorch, where `network` lies."""
    from striate.inference.engines.pytorch import TorchEngine

    plan = model.plan
    window = (1, plan.in_channels, *seen_patch(plan.inference.patch, plan.network.spatial_dims))
    noise = np.random.default_rng(0).standard_normal(window, dtype=np.float32)
    return TorchEngine(network, plan.targets.exclusive, precision)(noise)


def short(error: BaseException) -> str:
    """Return what an error says in one line of at most 160 characters, without the full stop."""
    return " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
