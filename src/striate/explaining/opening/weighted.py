"""Weighted sums: convolution, transposed convolution, matrix products."""

from __future__ import annotations

import numpy as np

from striate.explaining.opening.opened import Opened, Part, summed, taken
from striate.explaining.passing import Call, Operand
from striate.explaining.places import Ints, grid

Index = tuple[int, ...]


def convolution(call: Call, index: Index) -> Opened:
    """Open ``convolution``, transposed or not."""
    x, weight, bias, stride, padding, dilation, transposed, _, groups = call.args[:9]
    image, unit, place = index[0], index[1], index[2:]
    taps, places = [], []
    for i, p in enumerate(place):
        s, pad, d = (v[i] if len(v) > 1 else v[0] for v in (stride, padding, dilation))
        tap = np.arange(weight.shape[2 + i])
        if transposed:
            reach = p + pad - tap * d
            tap, reach = tap[reach % s == 0], reach[reach % s == 0] // s
        else:
            reach = p * s - pad + tap * d
        inside = (reach >= 0) & (reach < x.shape[2 + i])
        taps.append(tap[inside])
        places.append(reach[inside])
    each = weight.shape[0] // groups if transposed else weight.shape[1]
    outputs = weight.shape[1] if transposed else weight.shape[0] // groups
    channels = unit // outputs * each + np.arange(each)
    kernel = grid(channels, [unit % outputs], *taps) if transposed else grid([unit], np.arange(each), *taps)
    part = taken(x, grid([image], channels, *places), weight.read(kernel))
    if bias is None:
        return summed("Σ w·x", [part])
    return summed("Σ w·x + b", [part], b=float(bias.read(np.asarray([[unit]]))[0]))


def product(call: Call, index: Index) -> Opened:
    """Open ``mm``, ``bmm``, ``mv`` and ``dot``."""
    left, right = call.args[:2]
    return _product(left, right, index, 1.0, [], {})


def product_and_sum(call: Call, index: Index) -> Opened:
    """Open ``addmm``, ``baddbmm`` and ``addmv``."""
    first, left, right = call.args[:3]
    beta, alpha = float(call.argument(3, "beta", 1)), float(call.argument(4, "alpha", 1))
    place = np.asarray([index], np.int64)
    if first.origin is not None:
        return _product(left, right, index, alpha, [taken(first, place, beta)], {})
    return _product(left, right, index, alpha, [], {"b": beta * float(first.read(place)[0])})


def _product(
    left: Operand, right: Operand, index: Index, alpha: float, parts: list[Part], constants: dict[str, float]
) -> Opened:
    inner = np.arange(left.shape[-1])
    batch = [[i] for i in index[: len(left.shape) - 2]] if len(left.shape) > 2 else []
    row = [[index[len(batch)]]] if len(left.shape) > 1 else []
    column = [[index[-1]]] if len(right.shape) > 1 else []
    at_left: Ints = grid(*batch, *row, inner)
    at_right: Ints = grid(*batch, inner, *column)
    a, b = left.read(at_left), right.read(at_right)
    end = (" + y" if parts else "") + (" + b" if constants else "")
    total = alpha * float(np.dot(a, b)) + sum(constants.values())
    total += sum(float(np.dot(p.weight, p.value)) for p in parts)
    if left.origin is not None:
        parts = [*parts, Part(left, at_left, alpha * b, a)]
    if right.origin is not None:
        parts = [*parts, Part(right, at_right, alpha * a, b)]
    both = left.origin is not None and right.origin is not None
    return Opened(("Σ x·z" if both else "Σ w·x") + end, constants, parts, total, additive=not both)


def closed(call: Call) -> str | None:
    """Say why a convolution cannot be opened: only where its weights are no weights."""
    if call.args[1].origin is not None or (call.args[2] is not None and call.args[2].origin is not None):
        return "The weights of this convolution depend on the image, so that it is no sum with fixed weights."
    return None
