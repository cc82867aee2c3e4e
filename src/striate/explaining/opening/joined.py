"""Maps put beside each other: each number is one number of one operand."""

from __future__ import annotations

from striate.explaining.opening.opened import Opened, one, summed
from striate.explaining.passing import Call


def concatenation(call: Call, index: tuple[int, ...]) -> Opened:
    """Open ``cat``."""
    operands = [o for o in call.args[0] if o.shape != (0,)]  # torch skips these
    axis = call.argument(1, "dim", 0) % len(index)
    place = list(index)
    for operand in operands:
        if place[axis] < operand.shape[axis]:
            return summed("x", [one(operand, place)])
        place[axis] -= operand.shape[axis]
    raise IndexError(f"{index} is not in what was concatenated")


def stack(call: Call, index: tuple[int, ...]) -> Opened:
    """Open ``stack``."""
    axis = call.argument(1, "dim", 0) % len(index)
    return summed("x", [one(call.args[0][index[axis]], [n for i, n in enumerate(index) if i != axis])])
