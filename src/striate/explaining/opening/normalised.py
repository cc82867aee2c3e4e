"""Normalisation: by the statistics of a map (instance), of some maps (group), of all (layer), or learned ones (batch)."""

from __future__ import annotations

import math

import numpy as np
import torch

from striate.explaining.opening.opened import Opened, one
from striate.explaining.passing import Call, Operand

FORMULA = "γ·(x − μ)/σ + β"
_NO_STATISTICS = "_native_batch_norm_legit"
_RUNNING = ("_native_batch_norm_legit_no_training", "_batch_norm_no_update")


def batch(call: Call, index: tuple[int, ...]) -> Opened:
    """Open batch normalisation; instance normalisation is one over the maps of one image."""
    x, gamma, beta, mean, variance, measured, eps = _batch_arguments(call)
    unit = index[1]
    if measured:
        mu, var = moments(call, unit)
    else:
        mu, var = float(mean.read(np.asarray([[unit]]))[0]), float(variance.read(np.asarray([[unit]]))[0])
    return _normalised(x, index, mu, math.sqrt(var + eps), _at(gamma, [unit], 1.0), _at(beta, [unit], 0.0))


def group(call: Call, index: tuple[int, ...]) -> Opened:
    """Open group normalisation."""
    x, gamma, beta, _, channels, _, groups, eps = call.args[:8]
    mu, var = moments(call, index[0] * groups + index[1] // (channels // groups))
    unit = [index[1]]
    return _normalised(x, index, mu, math.sqrt(var + eps), _at(gamma, unit, 1.0), _at(beta, unit, 0.0))


def layer(call: Call, index: tuple[int, ...]) -> Opened:
    """Open layer normalisation."""
    x, shape, gamma, beta, eps = call.args[:5]
    outer = x.shape[: len(x.shape) - len(shape)]
    mu, var = moments(call, int(np.ravel_multi_index(index[: len(outer)], outer)) if outer else 0)
    inner = list(index[len(outer) :])
    return _normalised(x, index, mu, math.sqrt(var + eps), _at(gamma, inner, 1.0), _at(beta, inner, 0.0))


def moments(call: Call, group_number: int) -> tuple[float, float]:
    """Return mean and variance (÷ N) of one group of numbers that are normalised together, in float64."""
    x: torch.Tensor = call.args[0].tensor
    if call.name == "native_group_norm":
        groups = call.args[6]
        each = x.shape[1] // groups
        first = group_number % groups * each
        numbers = x[group_number // groups, first : first + each]
    elif call.name == "native_layer_norm":
        outer = x.shape[: x.ndim - len(call.args[1])]
        numbers = x[tuple(int(i) for i in np.unravel_index(group_number, outer))] if outer else x
    else:
        numbers = x[:, group_number]
    numbers = numbers.double()
    mean = numbers.mean()
    return float(mean), float((numbers - mean).square().mean())


def words(call: Call) -> str:
    """Return which normalisation it is."""
    if call.name == "native_layer_norm":
        return "layer normalisation"
    if call.name == "native_group_norm":
        return "instance normalisation" if call.args[6] == call.args[4] else "group normalisation"
    return "instance normalisation" if _batch_arguments(call)[5] else "batch normalisation"


def _batch_arguments(call: Call) -> tuple[Operand, Operand | None, Operand | None, Operand, Operand, bool, float]:
    a = call.args
    if call.name in _RUNNING:
        return a[0], a[1], a[2], a[3], a[4], False, a[6]
    if call.name == _NO_STATISTICS and call.func._overloadname.startswith("no_stats"):
        return a[0], a[1], a[2], a[0], a[0], True, a[5]
    return a[0], a[1], a[2], a[3], a[4], a[5], a[7]


def _at(operand: Operand | None, index: list[int], without: float) -> float:
    return without if operand is None else float(operand.read(np.asarray([index]))[0])


def _normalised(x: Operand, index: tuple[int, ...], mu: float, sigma: float, gamma: float, beta: float) -> Opened:
    part = one(x, index, gamma / sigma)
    total = gamma * (float(part.value[0]) - mu) / sigma + beta
    return Opened(FORMULA, {"γ": gamma, "μ": mu, "σ": sigma, "β": beta}, [part], total)
