"""Several processes, one network: DistributedDataParallel under ``torchrun`` (gloo on CPU, NCCL on GPUs).

Each process draws its own patches or images, gradients are averaged, and process 0 writes. Without ``torchrun`` nothing changes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta

import torch
from torch import distributed as dist
from torch import nn

from striate.core.counted import counted
from striate.core.errors import UsageError
from striate.core.machine import cores
from striate.training.gpu import problem

PATIENCE = timedelta(days=1)
"""How long processes wait for process 0, which prepares the data and validates alone."""


@contextlib.contextmanager
def processes() -> Iterator[None]:
    """Join the processes that ``torchrun`` started; does nothing in a plain process."""
    if not dist.is_available() or not dist.is_torchelastic_launched() or dist.is_initialized():
        yield
        return
    dist.init_process_group(_backend(), timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _backend() -> str:
    """Return how the processes talk; each takes the GPU of its number before any of them is asked.

    Raises
    ------
    UsageError
        When there are fewer GPUs than processes, or one cannot compute: processes of two kinds would wait for each other.
    """
    if not torch.cuda.is_available():
        return "gloo"
    there, number = torch.cuda.device_count(), dist.get_node_local_rank()
    if number >= there:
        raise UsageError(
            f"torchrun: process {number + 1} of this machine finds {counted(there, 'GPU')}; each process needs one of its own."
            f" Give --nproc_per_node {there}, or let the processors learn: CUDA_VISIBLE_DEVICES= before torchrun."
        )
    torch.cuda.set_device(number)
    if why := problem():
        raise UsageError(
            f"torchrun: the GPU of process {number + 1} of this machine cannot compute ({why}). Let the processors learn:"
            " CUDA_VISIBLE_DEVICES= before torchrun."
        )
    return "nccl" if dist.is_nccl_available() else "gloo"


def rank() -> int:
    """Number of this process; 0 writes."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """How many processes learn together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def cores_each() -> int:
    """Cores for this process, as if all of them shared one machine."""
    return max(1, cores() // world_size())


def wait_for_all() -> None:
    """Wait until every process is here."""
    if world_size() > 1:
        dist.barrier()


def agree(value: float) -> float:
    """Return process 0's `value` in every process (the clock must be one)."""
    if world_size() == 1:
        return value
    shared = torch.tensor([value], dtype=torch.float64, device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.broadcast(shared, src=0)
    return float(shared.item())


def share(network: nn.Module) -> nn.Module:
    """Wrap `network` so that gradients are averaged over the processes."""
    return nn.parallel.DistributedDataParallel(network) if world_size() > 1 else network
