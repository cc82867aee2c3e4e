"""The GPU that training takes by itself: whether it is there and computes, its free memory, and what is written down of it."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch

from striate.core.machine import memory_available_bytes


def device() -> torch.device:
    """Return the device that training uses: a CUDA GPU where one is there and computes, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() and not problem() else "cpu")


@functools.cache
def problem() -> str:
    """Let the GPU that is there add two numbers; return why it cannot, which is warned of once, empty where it can.

    PyTorch brings no kernels for old cards, and another program may have the card or all of its memory.
    """
    try:
        float(torch.ones(2, device="cuda").sum())
    except (RuntimeError, torch.cuda.DeferredCudaCallError) as error:
        told = " ".join(str(error).split())[:160].rstrip(".")
        warnings.warn(f"a GPU is there and cannot compute ({told}); the processor learns", RuntimeWarning, stacklevel=2)
        return told
    return ""


def gpu_name() -> str:
    """Return the name of the GPU for people."""
    return torch.cuda.get_device_name()


def native_bf16() -> bool:
    """Tell whether the GPU has instructions for bf16; older ones emulate it, slower than fp32, or have no convolution in it."""
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def memory_free_bytes() -> int:
    """Return the memory that training can still take: of the GPU where it trains, else of the machine."""
    if device().type != "cuda":
        return memory_available_bytes()
    kept = (
        torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    )  # PyTorch keeps what it let go, and takes it again
    return int(torch.cuda.mem_get_info()[0]) + kept


def gpu_facts() -> dict[str, Any]:
    """Return what a record says: ``gpu`` with its name and the most memory that tensors took, or why it did not compute."""
    if not torch.cuda.is_available():
        return {}
    if problem():
        return {"gpu": {"problem": problem()}}
    return {"gpu": {"name": gpu_name(), "peak_memory_bytes": torch.cuda.max_memory_allocated()}}
