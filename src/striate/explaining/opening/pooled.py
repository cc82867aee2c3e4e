"""Pooling: the maximum or the mean of a window."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from striate.explaining.opening.opened import Opened, summed, taken
from striate.explaining.passing import Call
from striate.explaining.places import Ints, grid


def maximum(call: Call, index: tuple[int, ...]) -> Opened:
    """Open ``max_pool*d_with_indices``."""
    at, _ = _window(call, index, call.argument(3, "padding", 0), call.argument(4, "dilation", 1))
    part = taken(call.args[0], at)
    weight = np.zeros(len(at))
    weight[int(np.argmax(part.value))] = 1.0
    part.weight = weight
    return summed(f"max of {len(at)}", [part])


def mean(call: Call, index: tuple[int, ...]) -> Opened:
    """Open ``avg_pool*d``."""
    at, size = _window(call, index, call.argument(3, "padding", 0), 1)
    counts_padding, divisor = call.argument(5, "count_include_pad", True), call.argument(6, "divisor_override")
    by = divisor or (size if counts_padding else len(at))
    return summed(f"Σ x / {by}", [taken(call.args[0], at, 1 / by)])


def adaptive_mean(call: Call, index: tuple[int, ...]) -> Opened:
    """Open ``_adaptive_avg_pool*d``."""
    x, size = call.args[:2]
    dims = len(size)
    lead = [[i] for i in index[:-dims]]
    spans = []
    for n, out, p in zip(x.shape[-dims:], size, index[-dims:], strict=True):
        spans.append(np.arange(p * n // out, -(-(p + 1) * n // out)))
    at = grid(*lead, *spans)
    return summed(f"Σ x / {len(at)}", [taken(x, at, 1 / len(at))])


def _window(call: Call, index: tuple[int, ...], padding: Any, dilation: Any) -> tuple[Ints, int]:
    """Return the voxels (N, axes) of a window that are in the map, and how many it has with the padding."""
    x, kernel = call.args[:2]
    stride = call.argument(2, "stride") or kernel
    dims = _dims(call)
    spans, size = [], 1
    for i, p in enumerate(index[-dims:]):
        k, s, pad, d = (_each(v, i) for v in (kernel, stride, padding, dilation))
        n = x.shape[len(x.shape) - dims + i]
        reach = p * s - pad + d * np.arange(k)
        size *= min(p * s - pad + k, n + pad) - (p * s - pad)
        spans.append(reach[(reach >= 0) & (reach < n)])
    return grid(*([i] for i in index[:-dims]), *spans), size


def _dims(call: Call) -> int:
    return int(re.findall(r"(\d)d", call.name)[0])


def _each(value: Any, axis: int) -> int:
    return int(value if isinstance(value, int) else value[axis] if len(value) > 1 else value[0])
