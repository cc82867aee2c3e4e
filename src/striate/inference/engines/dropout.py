"""Monte Carlo dropout: the dropout layers of a network stay at work, and several answers are averaged.

Gal and Ghahramani, ICML 2016. Each sample draws from a seed of its own, the same for every tile, so that the same scan
always gets the same mask. Only the dropout that a network has is used; none is put in.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from striate.core.errors import UsageError, expected
from striate.inference.engines.ensemble import with_disagreement
from striate.inference.engines.pytorch import TorchEngine

SAMPLES = 8


class DropoutEngine(TorchEngine):
    """Averages `samples` answers of a network whose dropout layers are at work.

    Parameters
    ----------
    network, exclusive, precision
        See `TorchEngine`.
    samples
        How many answers are averaged; the time grows with it.
    seed
        Of the first sample.

    Raises
    ------
    UsageError
        When the network has no dropout at work, or `samples` is less than 1.
    """

    name = "dropout"

    def __init__(
        self,
        network: nn.Module,
        exclusive: bool,
        precision: str | None = None,
        *,
        samples: int = SAMPLES,
        seed: int = 0,
    ) -> None:
        super().__init__(network, exclusive, precision)
        if samples < 1:
            raise UsageError(f"dropout: {samples} samples; 1 or more are needed.")
        self.samples, self.seed = samples, seed
        self._layers = [m for m in network.modules() if isinstance(m, _DropoutNd) and m.p > 0]
        if not self._layers:
            raise UsageError(
                expected(f"dropout: network {type(network).__name__}", "no dropout layer",
                         "without one every sample is the same",
                         "Use --uncertainty tta or ensemble, or train a network that has one, such as unet_2015 or"
                         " deepmedic.")
            )  # fmt: skip

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mean probabilities (B, K, *patch) float32 of `tiles` (B, C, *patch) float32."""
        answers = self._answers(tiles)
        total = next(answers).copy()
        for answer in answers:
            total += answer
        return total / np.float32(self.samples)

    def disagreement(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mean probabilities and, as one channel more, the disagreement in nats: (B, K + 1, *patch)."""
        return with_disagreement(self._answers(tiles), exclusive=self._exclusive)

    def _answers(self, tiles: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Yield the answer of each sample; the global random state is left as it is."""
        devices = [self._device] if self._device.type == "cuda" else []
        for sample in range(self.samples):
            with torch.random.fork_rng(devices=devices):
                torch.manual_seed(self.seed + sample)
                yield super().__call__(tiles)

    def _settle(self) -> None:
        super()._settle()
        for layer in self._layers:
            layer.train()
