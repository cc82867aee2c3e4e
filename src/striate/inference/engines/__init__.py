"""Engines: what computes a network on tiles. One file each, found by name in one table; add yours here.

An engine is called with tiles (B, C, *patch) float32 and gives probabilities (B, K, *patch) float32: over the classes
(background first) for exclusive labels, one per region for regions.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

from striate.core.names import lookup

if TYPE_CHECKING:
    from torch import Tensor, nn

ENGINES: dict[str, str] = {
    "torch": "striate.inference.engines.pytorch:TorchEngine",
}

__all__ = ["ENGINES", "Engine", "network_in", "open_engine"]


class Engine(Protocol):
    """What every engine offers; `precision` is ``fp32`` or ``bf16`` and goes into the record."""

    name: str
    precision: str

    def __call__(self, tiles: Tensor) -> Tensor:
        """Return probabilities (B, K, *patch) float32 of `tiles` (B, C, *patch) float32."""
        ...


def open_engine(network: nn.Module, *, exclusive: bool, name: str = "torch", precision: str | None = None) -> Engine:
    """Make `network` ready for prediction; its mode is left as it is.

    Parameters
    ----------
    network
        Gives logits (B, K, *patch) in ``eval()``.
    exclusive
        True: softmax over classes; False: sigmoid of each region.
    name
        One of `ENGINES`.
    precision
        ``bf16``, ``fp32``, or None for what suits this processor.

    Raises
    ------
    UsageError
        When the engine or the precision is unknown.
    """
    home, _, noun = lookup("engine", name, ENGINES).partition(":")
    made: Engine = getattr(importlib.import_module(home), noun)(network, exclusive, precision)
    return made


def network_in(engine: Engine) -> nn.Module | None:
    """Return the network whose layers can be listened to while `engine` computes; None where there is none."""
    network: nn.Module | None = getattr(engine, "network", None)
    return network
