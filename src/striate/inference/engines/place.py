"""`placed`: a model's network where it is computed fastest: on a GPU that is there and computes it, else on the processor.

A GPU that is there need not do: its memory may be too small for a window, and Apple's lacks operations. So it computes one
window first, and where it cannot, a sentence says so and the processor does the work.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from striate.core.machine import native_precision
from striate.model.model import Model
from striate.networks.surrounded import logits_of
from striate.planning.cost import seen_patch


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


def precision_on(device: torch.device) -> str:
    """Return ``bf16`` where the device has instructions for it, else ``fp32``; Apple's GPU computes in ``fp32``."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return native_precision() if device.type == "cpu" else "fp32"


def placed(model: Model, network: nn.Module | None = None) -> Placed:
    """Return the network of a model that draws masks, where it is computed; `network` in its place, where that is given.

    Raises
    ------
    ModelError
        When the weights are broken or belong to another network than the plan says.
    """
    network, device = network or model.network(), gpu()
    if device is None:
        return Placed(network)
    name, plan = named(device), model.plan
    window = (1, plan.in_channels, *seen_patch(plan.inference.patch, plan.network.spatial_dims))
    try:
        network = network.to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, precision_on(device) == "bf16"):
            logits_of(network, torch.zeros(window, device=device)).cpu()
    except RuntimeError as error:  # of memory, and of operations that are not there, too
        return Placed(network.cpu(), "", f"{name} cannot compute a window ({_short(error)})")
    return Placed(network, name)


def named(device: torch.device) -> str:
    """Return the name of a GPU for people."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the GPU of this Mac"


def _short(error: RuntimeError) -> str:
    return " ".join(str(error).split())[:160].rstrip(".")
