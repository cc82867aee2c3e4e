"""Restricted Boltzmann machines: two layers of units that learn each other's statistics without a teacher.

Source
    G. E. Hinton: Training Products of Experts by Minimizing Contrastive Divergence. Neural Computation 14(8):1771-1800,
    2002; as used by G. E. Hinton, R. R. Salakhutdinov, Science 313:504-507, 2006, with the constants of the code that
    they published (learning rate 0.1, 0.001 beside linear units; momentum 0.5, then 0.9; weight decay 0.0002).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Units = Literal["logistic", "linear"]
"""``logistic``: 0 or 1, with the logistic of the input as probability. ``linear``: Gaussian, variance 1, the input as
mean."""

BATCH = 100
RATE, RATE_LINEAR = 0.1, 0.001
DECAY = 0.0002
MOMENTUM, MOMENTUM_LATER, LATER_EPOCH = 0.5, 0.9, 5
SPREAD = 0.1
"""Standard deviation of the first weights."""


@dataclass(frozen=True, slots=True, eq=False)
class RBM:
    """A learned machine: weights (H, V), biases of the visible (V,) and of the hidden units (H,), and what both are."""

    weights: Tensor
    visible_bias: Tensor
    hidden_bias: Tensor
    visible: Units
    hidden: Units

    def up(self, visible: Tensor) -> Tensor:
        """Return the means of the hidden units (N, H) given the visible ones (N, V)."""
        return _mean(visible @ self.weights.T + self.hidden_bias, self.hidden)

    def down(self, hidden: Tensor) -> Tensor:
        """Return the means of the visible units (N, V) given the hidden ones (N, H)."""
        return _mean(hidden @ self.weights + self.visible_bias, self.visible)


@torch.no_grad()
def learn(
    data: Tensor, hidden: int, epochs: int, generator: torch.Generator, *, visible: Units, kind: Units
) -> tuple[RBM, Tensor]:
    """Learn a machine by contrastive divergence with one step, and return it with its hidden means (N, H) of `data`.

    Parameters
    ----------
    data
        (N, V): what the visible units are shown; for logistic units, probabilities.
    hidden
        Number of hidden units.
    epochs
        Passes over `data`.
    generator
        Source of the first weights, the samples and the order.
    visible, kind
        What the visible and the hidden units are.
    """
    draw = _Draw(generator, data)
    machine = RBM(
        SPREAD * draw.normal((hidden, data.shape[1])),
        data.new_zeros(data.shape[1]),
        data.new_zeros(hidden),
        visible,
        kind,
    )
    rate = RATE if visible == kind == "logistic" else RATE_LINEAR
    learned = (machine.weights, machine.visible_bias, machine.hidden_bias)
    speed = [torch.zeros_like(p) for p in learned]
    for epoch in range(epochs):
        momentum = MOMENTUM if epoch < LATER_EPOCH else MOMENTUM_LATER
        for places in torch.split(draw.order(len(data)), BATCH):
            seen = data[places]
            means = machine.up(seen)
            sample = draw.sample(means, kind)
            dreamed = machine.down(sample)
            after = machine.up(dreamed)
            n = len(seen)
            gradients = (
                (means.T @ seen - after.T @ dreamed) / n - DECAY * machine.weights,
                (seen - dreamed).mean(0),
                (means - after).mean(0),
            )
            for value, pace, gradient in zip(learned, speed, gradients, strict=True):
                pace.mul_(momentum).add_(gradient, alpha=rate)
                value.add_(pace)
    return machine, machine.up(data)


def _mean(x: Tensor, units: Units) -> Tensor:
    return x.sigmoid() if units == "logistic" else x


class _Draw:
    """Random numbers of one generator, in the type and on the device of the data."""

    def __init__(self, generator: torch.Generator, like: Tensor) -> None:
        self.generator, self.like = generator, like

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.generator.device).to(self.like)

    def order(self, count: int) -> Tensor:
        return torch.randperm(count, generator=self.generator, device=self.generator.device).to(self.like.device)

    def sample(self, means: Tensor, units: Units) -> Tensor:
        if units == "linear":
            return means + self.normal(tuple(means.shape))
        chance = torch.rand(means.shape, generator=self.generator, device=self.generator.device).to(means)
        return (chance < means).to(means)
