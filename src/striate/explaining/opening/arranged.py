"""Numbers put at other places: padding, repetition, selection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from striate.explaining.opening.opened import Opened, one, summed
from striate.explaining.passing import Call, Operand

Index = tuple[int, ...]


def padding(call: Call, index: Index) -> Opened:
    """Open ``constant_pad_nd``: the map, and a number around it."""
    x, pads = call.args[:2]
    place = _shifted(index, pads)
    if all(0 <= p < n for p, n in zip(place, x.shape, strict=True)):
        return summed("x", [one(x, place)])
    return summed("c: beyond the border of the map", [], c=float(call.argument(2, "value", 0.0)))


def reflection(call: Call, index: Index) -> Opened:
    """Open ``reflection_pad*d``: the map continued by its reflection, the border itself not doubled."""
    return _continued(call, index, lambda p, n: n - 1 - abs(n - 1 - abs(p)))


def replication(call: Call, index: Index) -> Opened:
    """Open ``replication_pad*d``: the map continued by its border."""
    return _continued(call, index, lambda p, n: min(max(p, 0), n - 1))


def repetition(call: Call, index: Index) -> Opened:
    """Open ``repeat``: the map again and again."""
    x = call.args[0]
    last = index[len(index) - len(x.shape) :]
    return summed("x", [one(x, [p % n for p, n in zip(last, x.shape, strict=True)])])


def selection(call: Call, index: Index) -> Opened:
    """Open ``index_select``: those that are named."""
    x, axis, chosen = call.args[:3]
    place = list(index)
    axis %= len(place)
    place[axis] = int(chosen.read(np.asarray([[place[axis]]]))[0])
    return summed("x", [one(x, place)])


def indexing(call: Call, index: Index) -> Opened:
    """Open ``index`` with numbers along one axis."""
    x, chosen = call.args[:2]
    axis = next(i for i, c in enumerate(chosen) if c is not None)
    numbers: Operand = chosen[axis]
    inner = index[axis : axis + len(numbers.shape)]
    number = int(numbers.read(np.asarray([inner]))[0])
    place = [*index[:axis], number % x.shape[axis], *index[axis + len(numbers.shape) :]]
    return summed("x", [one(x, place)])


def mirroring(call: Call, index: Index) -> Opened:
    """Open ``flip``."""
    x, axes = call.args[:2]
    place = list(index)
    for axis in axes:
        place[axis] = x.shape[axis] - 1 - place[axis]
    return summed("x", [one(x, place)])


def rolling(call: Call, index: Index) -> Opened:
    """Open ``roll``: the map moved, what leaves it coming back at the other side."""
    x, shifts, axes = call.args[0], call.args[1], call.argument(2, "dims", [])
    if not axes:
        flat = (int(np.ravel_multi_index(index, x.shape)) - shifts[0]) % int(np.prod(x.shape))
        return summed("x", [one(x, [int(i) for i in np.unravel_index(flat, x.shape)])])
    place = list(index)
    for shift, axis in zip(shifts, axes, strict=True):
        place[axis] = (place[axis] - shift) % x.shape[axis]
    return summed("x", [one(x, place)])


def filling(call: Call, index: Index) -> Opened:
    """Open ``fill`` and ``zero``: a number everywhere."""
    return summed("c", [], c=0.0 if call.name == "zero" else float(_number(call.args[1])))


def closed(call: Call) -> str | None:
    """Say why ``index`` cannot be opened."""
    chosen = [c for c in call.args[1] if c is not None]
    if len(chosen) == 1 and chosen[0].origin is None and chosen[0].tensor.dtype != torch.bool:
        return None
    return "This selection takes numbers by several axes, by a mask or by what the image holds, and is not opened."


def _number(value: Any) -> float:
    return float(value.read(np.zeros((1, 0), np.int64))[0]) if isinstance(value, Operand) else float(value)


def _shifted(index: Index, pads: Any) -> list[int]:
    place = list(index)
    for k in range(len(pads) // 2):  # torch lists the last axis first
        place[-1 - k] -= pads[2 * k]
    return place


def _continued(call: Call, index: Index, back: Callable[[int, int], int]) -> Opened:
    x, pads = call.args[:2]
    return summed("x", [one(x, [back(p, n) for p, n in zip(_shifted(index, pads), x.shape, strict=True)])])
