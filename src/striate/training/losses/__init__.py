"""Losses by name: the total error between what the network says and the truth.

A loss is made once for what a plan's outputs mean and then called with ``(logits, classes)``: logits (B, K, *S) in float32
and classes (B, *S) uint8 as made by `Targets.classes`, or the truth of whole images as made by `ClassSet.encode`. To add
one: copy a neighbour, add a line here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from torch import Tensor

from striate.core.class_set import ClassSet
from striate.core.names import lookup
from striate.core.targets import Targets

Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES = {
    "border_weighted": "striate.training.losses.border_weighted",
    "dice_ce": "striate.training.losses.dice_ce",
    "dice": "striate.training.losses.dice",
    "cross_entropy": "striate.training.losses.cross_entropy",
    "label_smoothing": "striate.training.losses.label_smoothing",
    "focal": "striate.training.losses.focal",
    "half_squared": "striate.training.losses.half_squared",
    "squared": "striate.training.losses.squared",
    "map_rbf": "striate.training.losses.map_rbf",
}


def names() -> list[str]:
    """Names of all losses."""
    return sorted(LOSSES)


def create(name: str, targets: Targets | ClassSet) -> Loss:
    """Make the loss `name` for `targets`.

    Raises
    ------
    UsageError
        When the name is unknown.
    """
    module = importlib.import_module(lookup("loss", name, LOSSES))
    loss: Loss = module.create(targets)
    return loss
