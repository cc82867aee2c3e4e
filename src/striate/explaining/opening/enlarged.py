"""Interpolation: each number of the larger map is a weighted mean of a few of the smaller one, axis by axis."""

from __future__ import annotations

import re

import numpy as np
import torch

from striate.explaining.opening.opened import Opened, summed, taken
from striate.explaining.passing import Call
from striate.explaining.places import grid


def interpolation(call: Call, index: tuple[int, ...]) -> Opened:
    """Open ``upsample_*``: the weights along an axis are what torch makes of a one among zeros."""
    x = call.args[0]
    dims = int(re.findall(r"(\d)d", call.name)[0])
    spans, weights = [], np.ones(1)
    for i, p in enumerate(index[-dims:]):
        along = _weights(call, i, dims, x.shape[len(x.shape) - dims + i], p)
        spans.append(np.flatnonzero(along))
        weights = np.multiply.outer(weights, along[spans[-1]]).reshape(-1)
    at = grid(*([n] for n in index[:-dims]), *spans)
    return summed("x" if len(at) == 1 else "Σ w·x", [taken(x, at, weights)])


def _weights(call: Call, axis: int, dims: int, size: int, place: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return what each of the `size` voxels along `axis` counts for voxel `place` of the larger map."""
    shape = [size if i == axis else 1 for i in range(dims)]
    ones = torch.eye(size, dtype=torch.float64).reshape(1, size, *shape)
    wanted = list(call.args[1])
    args = [[wanted[i] if i == axis else 1 for i in range(dims)], *call.args[2:]]
    made = call.func(ones, *args, **call.kwargs)
    return np.asarray(made.select(2 + axis, place).reshape(size).numpy())
