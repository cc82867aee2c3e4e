"""Projected gradient descent: many small steps along the sign of the gradient, from random places.

Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018, section 2.1, with the L∞ norm. The step
is 2.5 · ε / steps, so that every place can be reached from every start (their section 5.1). The image of the largest loss
among all steps of all starts is kept.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from striate.trust.attacks import Effort
from striate.trust.attacks.victim import Victim

STRIDE = 2.5


def pgd(victim: Victim, epsilon: float, effort: Effort, rng: np.random.Generator) -> Tensor:
    """Return the image of the largest loss that was met."""
    best, most = victim.image, -np.inf
    stride = STRIDE * epsilon / effort.steps
    for _ in range(effort.restarts):
        image = victim.drawn(epsilon, rng)
        for _ in range(effort.steps):
            loss, slope = victim.gradient(image)
            if loss > most:
                best, most = image, loss
            image = victim.within(victim.moved(image, slope.sign(), stride), epsilon)
        loss = victim.loss(image)
        if loss > most:
            best, most = image, loss
    return best
