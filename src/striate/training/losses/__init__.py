"""Losses by name: the total error between what the network says and the truth.

A loss is made once for a plan's targets and then called with ``(logits, classes)``: logits (B, K, *S) in float32 and
classes (B, *S) uint8 as made by `Targets.classes`. To add one: copy a neighbour, add a line here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from torch import Tensor

from striate.core.names import lookup
from striate.core.targets import Targets

Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES = {
    "dice_ce": "striate.training.losses.dice_ce",
    "dice": "striate.training.losses.dice",
    "cross_entropy": "striate.training.losses.cross_entropy",
    "focal": "striate.training.losses.focal",
    "half_squared": "striate.training.losses.half_squared",
}


def names() -> list[str]:
    """Names of all losses."""
    return sorted(LOSSES)


def create(name: str, targets: Targets) -> Loss:
    """Make the loss `name` for `targets`.

    Raises
    ------
    UsageError
        When the name is unknown.
    """
    module = importlib.import_module(lookup("loss", name, LOSSES))
    loss: Loss = module.create(targets)
    return loss
