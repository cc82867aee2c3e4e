"""Optimisers, and the learning rate over a run: warm-up, then polynomial decay."""

from __future__ import annotations

import torch
from torch import nn

from striate.planning.plan import Training
from striate.training.rmsprop import RMSProp


def create(network: nn.Module, training: Training) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter 2019), or SGD or RMSProp with Nesterov momentum.

    Norms and biases get no weight decay.
    """
    decayed = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": training.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if training.optimiser == "sgd":
        nesterov = training.momentum > 0
        return torch.optim.SGD(groups, lr=training.learning_rate, momentum=training.momentum, nesterov=nesterov)
    if training.optimiser == "rmsprop":
        return RMSProp(groups, lr=training.learning_rate, momentum=training.momentum)
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=(training.momentum, 0.999), fused=True)


def learning_rate(training: Training, fraction: float) -> float:
    """Return the learning rate when `fraction` (0 … 1) of the schedule is done.

    Linear warm-up from 1 % over `training.warmup`, then lr · (1 − f)^decay_power, as nnU-Net's "poly".
    """
    fraction = min(max(fraction, 0.0), 1.0)
    if fraction < training.warmup:
        return training.learning_rate * (0.01 + 0.99 * fraction / training.warmup)
    left = (1 - fraction) / (1 - training.warmup)
    return float(training.learning_rate * max(left, 1e-3) ** training.decay_power)


def set_learning_rate(optimiser: torch.optim.Optimizer, training: Training, fraction: float) -> float:
    """Set and return the learning rate for `fraction` of the schedule."""
    rate = learning_rate(training, fraction)
    for group in optimiser.param_groups:
        group["lr"] = rate
    return rate
