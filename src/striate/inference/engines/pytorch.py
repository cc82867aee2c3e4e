"""PyTorch wherever the network lies (`place`): channels-last, bfloat16 where the processor or GPU computes in it.

The precision follows from the processor, not from a stopwatch, so that the same machine always gives the same mask
(measured on two cores with avx512_bf16, small_unet, one 96³ tile: fp32 117 ms, bf16 30 ms, bf16 channels-last 22 ms).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate.core.errors import MemoryLimitError, UsageError
from striate.core.out_of_memory import ran_out_of_memory
from striate.inference.engines.place import own_memory, precision_on
from striate.networks.surrounded import logits_of

PRECISIONS = ("bf16", "fp32")
ALL_AT_ONCE, AT_ONCE = 1 << 22, 1 << 17
"""Logits up to the first number are made probabilities at once, more of them so many at a time: each fresh copy of a large array
costs more than the sums (measured on one core, 64³ voxels, 120 classes: 0.09 s against 0.53 s; 5 classes: no difference)."""


@contextlib.contextmanager
def single_precision(device: torch.device) -> Iterator[None]:
    """Keep CUDA from rounding what it multiplies to TF32, 10 bits of 23, as PyTorch's convolutions do by default."""
    if device.type != "cuda":
        yield
        return
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


class TorchEngine:
    """Computes a network by PyTorch.

    Raises
    ------
    UsageError
        When `precision` is not one of `PRECISIONS` or None.
    """

    name = "torch"

    def __init__(self, network: nn.Module, exclusive: bool, precision: str | None = None) -> None:
        if precision not in (None, *PRECISIONS):
            raise UsageError(f"precision '{precision}': one of {', '.join(PRECISIONS)} is needed.")
        self._network, self._exclusive = network, exclusive
        self._device = next((p.device for p in network.parameters()), torch.device("cpu"))
        self.precision = precision or precision_on(self._device)

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (B, K, *patch) float32 of `tiles` (B, C, *patch) float32.

        Raises
        ------
        MemoryLimitError
            When the memory of a GPU runs out, which other programs use too.
        MemoryError
            When that of the processor does.
        """
        was_training = self._network.training
        self._settle()
        try:
            with torch.inference_mode():
                logits = self._logits(torch.from_numpy(tiles))
                if logits.numel() > ALL_AT_ONCE and self._device.type == "cpu":  # a GPU would wait for each piece
                    return self._piecewise(logits)
                return np.asarray(self._shares(logits).contiguous().cpu().numpy())
        except RuntimeError as error:
            if not ran_out_of_memory(error):
                raise
            if self._device.type == "cpu" and not isinstance(error, torch.OutOfMemoryError):
                raise MemoryError(str(error)) from error
            hidden = ", or CUDA_VISIBLE_DEVICES= before the command" if self._device.type == "cuda" else ""
            raise MemoryLimitError(
                "the memory of the GPU ran out, which other programs use too. Call again when it is free, or leave the work to"
                f" the processor: --engine openvino{hidden}."
            ) from error
        finally:
            self._network.train(was_training)

    def shares(self, tiles: Tensor) -> Tensor:
        """Return the same on the network's device, in the mode that the network is in; gradients are kept where they are on."""
        return self._shares(self._logits(tiles))

    def _logits(self, tiles: Tensor) -> Tensor:
        """Return the logits in whatever precision they come in."""
        layout = torch.channels_last_3d if tiles.ndim == 5 else torch.channels_last
        whole = single_precision(self._device) if self.precision == "fp32" else contextlib.nullcontext()
        with whole, torch.autocast(self._device.type, torch.bfloat16, self.precision == "bf16"):
            return logits_of(self._network, tiles.to(self._device).contiguous(memory_format=layout))

    def _shares(self, logits: Tensor) -> Tensor:
        """Return the probabilities of logits (B, K, …), single precision."""
        return logits.float().softmax(1) if self._exclusive else logits.float().sigmoid()

    def _piecewise(self, logits: Tensor) -> NDArray[np.float32]:
        """Return the same, some rows of voxels at a time."""
        found = np.empty(tuple(logits.shape), dtype=np.float32)
        rows = max(1, AT_ONCE // math.prod((logits.shape[1], *logits.shape[3:])))
        for filled, given in zip(torch.from_numpy(found), logits, strict=True):
            for low in range(0, given.shape[1], rows):
                filled[:, low : low + rows] = self._shares(given[None, :, low : low + rows])[0]
        return found

    @property
    def on_gpu(self) -> bool:
        """Whether the network lies in memory of a GPU's own."""
        return own_memory(self._device)

    @property
    def network(self) -> nn.Module:
        """The network that is computed; `striate.inference.features` listens to its layers."""
        return self._network

    def _settle(self) -> None:
        """Put the network into the mode that it predicts in."""
        self._network.eval()
