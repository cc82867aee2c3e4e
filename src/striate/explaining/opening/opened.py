"""What an opened operation says of one number that it computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from striate.explaining.passing import Operand
from striate.explaining.places import Ints

Doubles = NDArray[np.float64]


@dataclass
class Part:
    """Numbers of one operand that the result was made of.

    Attributes
    ----------
    operand
        Which.
    index
        Where in it, (N, axes).
    weight
        What each is multiplied by, (N,): the derivative of the result.
    value
        The numbers, (N,).
    """

    operand: Operand
    index: Ints
    weight: Doubles
    value: Doubles


@dataclass
class Opened:
    """How one number was computed, again and in float64.

    Attributes
    ----------
    formula
        In signs, for instance ``Σ w·x + b``.
    constants
        By their names in the formula.
    parts
        The numbers that it was made of.
    total
        The number.
    additive
        Whether the products of weight and number, and the constants, add up to `total`.
    later
        Finds `total` and the weights where derivatives are needed, which torch does not take inside of a pass.
    """

    formula: str
    constants: dict[str, float] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    total: float = 0.0
    additive: bool = True
    later: Callable[[Opened], None] | None = None

    def finish(self) -> None:
        """Do what was left for later."""
        if self.later is not None:
            with torch.inference_mode(False), torch.enable_grad():
                self.later(self)
            self.later = None


def summed(formula: str, parts: list[Part], **constants: float) -> Opened:
    """Return the sum of all products, and of the constants."""
    total = sum(float(np.dot(p.weight, p.value)) for p in parts) + sum(constants.values())
    return Opened(formula, constants, parts, total)


def taken(operand: Operand, index: Ints, weight: Doubles | float = 1.0) -> Part:
    """Return the part of `operand` at `index` with `weight`."""
    return Part(operand, index, np.broadcast_to(np.asarray(weight, np.float64), (len(index),)), operand.read(index))


def one(operand: Operand, index: tuple[int, ...] | list[int], weight: float = 1.0) -> Part:
    """Return the one number at `index`."""
    return taken(operand, np.asarray([index], np.int64), weight)
