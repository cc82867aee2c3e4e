"""Numbers that are made of whole axes: sums, means, maxima, softmax."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from striate.explaining.opening.opened import Opened, Part
from striate.explaining.passing import Call
from striate.explaining.places import grid

_KNOWN: dict[str, tuple[str, str, bool]] = {
    "sum": ("sum", "Σ x", True),
    "mean": ("mean", "Σ x / {n}", True),
    "amax": ("maximum", "max of {n}", True),
    "amin": ("minimum", "min of {n}", True),
    "_softmax": ("softmax", "e^x / Σ e^x", False),
    "_safe_softmax": ("softmax", "e^x / Σ e^x", False),
    "_log_softmax": ("log softmax", "x − ln Σ e^x", False),
    "logsumexp": ("log of a sum of exponentials", "ln Σ e^x", False),
    "prod": ("product", "Π x", False),
    "linalg_vector_norm": ("length", "‖x‖", False),
}
KEEP = frozenset({"_softmax", "_safe_softmax", "_log_softmax"})
"""Those whose output has the shape of their input."""


def words(call: Call) -> str:
    """Return what the operation is called."""
    return _KNOWN[call.name][0]


def reduced(call: Call, index: tuple[int, ...]) -> Opened:
    """Open any of `NAMES`: run it again in float64 on the numbers that the result is made of; weights are derivatives."""
    x = call.args[0]
    ndim, dims = len(x.shape), axes(call)
    place = list(index)
    if call.name not in KEEP and len(index) < ndim:  # the axes are gone
        for axis in sorted(dims):
            place.insert(axis, 0)
    spans = [np.arange(n) if i in dims else np.asarray([place[i]]) for i, n in enumerate(x.shape)]
    at = grid(*spans)
    value = x.read(at)
    _, formula, additive = _KNOWN[call.name]
    part = Part(x, at, np.zeros(len(at)), value)

    def later(opened: Opened) -> None:
        numbers = torch.from_numpy(value).reshape([len(s) for s in spans]).requires_grad_()
        made = call.func(numbers, *call.args[1:], **{k: v for k, v in call.kwargs.items() if k != "dtype"})
        chosen = tuple(place[i] if i in dims else 0 for i in range(ndim))
        result = made[chosen] if call.name in KEEP else made.reshape(())
        (gradient,) = torch.autograd.grad(result, numbers)
        part.weight, opened.total = gradient.reshape(-1).numpy(), float(result.detach())

    return Opened(formula.format(n=len(at)), {}, [part], additive=additive, later=later)


def axes(call: Call) -> tuple[int, ...]:
    """Return the axes that are taken together."""
    ndim = len(call.args[0].shape)
    place = 2 if call.name == "linalg_vector_norm" else 1
    dim: Any = call.argument(place, "dim")
    if dim is None or dim == []:
        return tuple(range(ndim))
    return tuple(d % ndim for d in ([dim] if isinstance(dim, int) else dim))


NAMES = tuple(_KNOWN)
