"""What the output of one torch operation sees of the image, from what its inputs see.

Operations that are not listed keep the field when they keep the map's size (activation, normalisation, addition,
concatenation of channels) and else see everything (flattening, global pooling).
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import torch

from striate.networks.receptive_field import Axis

Seen = tuple[Axis | None, ...]
"""Per spatial axis what a map sees; None for an axis that was seen whole."""


def follow(name: str, args: Any, out: torch.Tensor, seen: MutableMapping[torch.Tensor, Seen], dims: int) -> Seen | None:
    """Return what `out` sees; None when no input of the operation depends on the image.

    Parameters
    ----------
    name, args
        The operation as torch dispatched it, for instance ``convolution``.
    out
        Its (first) output.
    seen
        What each tensor so far sees.
    dims
        Number of spatial axes; they are the last ones of a map.
    """
    whole: Seen = (None,) * dims
    tensors = [t for a in args for t in (a if isinstance(a, (list, tuple)) else (a,)) if isinstance(t, torch.Tensor)]
    sources = [t for t in tensors if t in seen]
    if not sources:
        return None
    if any(t.ndim < dims for t in sources) or out.ndim < dims:
        return whole
    before = seen[sources[0]]
    for other in sources[1:]:
        before = tuple(_join(a, b) for a, b in zip(before, seen[other], strict=True))
    sizes = [tuple(t.shape[-dims:]) for t in (sources[0], out)]
    if name in _FOLLOW:
        return _FOLLOW[name](args, before)
    if name.startswith("upsample_"):
        return _upsampled(name, before, sizes)
    return before if sizes[0] == sizes[1] else whole


def _join(a: Axis | None, b: Axis | None) -> Axis | None:
    return None if a is None or b is None else a.joined(b)


def _each(value: Any, axis: int) -> int:
    return int(value if isinstance(value, int) else value[axis] if len(value) > 1 else value[0])


def _convolution(args: Any, before: Seen) -> Seen:
    weight = args[1]
    stride, padding, dilation, transposed = args[3:7]
    found: list[Axis | None] = []
    for i, axis in enumerate(before):
        numbers = (weight.shape[2 + i], _each(stride, i), _each(padding, i), _each(dilation, i))
        found.append(None if axis is None else axis.transposed(*numbers) if transposed else axis.convolved(*numbers))
    return tuple(found)


def _pooled(args: Any, before: Seen) -> Seen:
    kernel, stride, padding = args[1], (args[2] if len(args) > 2 else ()) or args[1], args[3] if len(args) > 3 else 0
    return tuple(
        None if a is None else a.convolved(_each(kernel, i), _each(stride, i), _each(padding, i))
        for i, a in enumerate(before)
    )


def _sliced(args: Any, before: Seen) -> Seen:
    tensor, dim = args[0], (args[1] if len(args) > 1 else 0) % args[0].ndim
    axis = dim - (tensor.ndim - len(before))
    start, step = (args[2] if len(args) > 2 else 0) or 0, args[4] if len(args) > 4 else 1
    start = start + tensor.shape[dim] if start < 0 else start
    return tuple(a if i != axis or a is None else a.convolved(1, step, -start) for i, a in enumerate(before))


def _padded(args: Any, before: Seen) -> Seen:
    pads = list(args[1])
    found = list(before)
    for k in range(min(len(pads) // 2, len(before))):  # torch lists the last axis first
        axis = found[-1 - k]
        found[-1 - k] = None if axis is None else axis.convolved(1, 1, pads[2 * k])
    return tuple(found)


def _upsampled(name: str, before: Seen, sizes: Any) -> Seen:
    linear = "linear" in name
    if not linear and "nearest" not in name:
        return (None,) * len(before)
    pairs = zip(before, *sizes, strict=True)
    return tuple(
        None if a is None or large % small else a.enlarged(large // small, linear=linear) for a, small, large in pairs
    )


_FOLLOW: dict[str, Callable[[Any, Seen], Seen]] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _pooled,
    "max_pool3d_with_indices": _pooled,
    "avg_pool2d": _pooled,
    "avg_pool3d": _pooled,
    "slice": _sliced,
    "constant_pad_nd": _padded,
    "reflection_pad2d": _padded,
    "reflection_pad3d": _padded,
    "replication_pad2d": _padded,
    "replication_pad3d": _padded,
}
