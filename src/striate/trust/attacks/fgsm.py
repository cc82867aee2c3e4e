"""Fast gradient sign method: one step of the largest size along the sign of the gradient.

Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015, section 4:
x + ε · sign(∇ₓ J).
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from striate.trust.attacks import Effort
from striate.trust.attacks.victim import Victim


def fgsm(victim: Victim, epsilon: float, effort: Effort, rng: np.random.Generator) -> Tensor:
    """Return the image after one step; `effort` and `rng` are not needed."""
    _, slope = victim.gradient(victim.image)
    return victim.within(victim.moved(victim.image, slope.sign(), epsilon), epsilon)
