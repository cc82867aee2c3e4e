"""Gradient × input: to first order, what each voxel adds to the score beyond an image of zeros.

A. Shrikumar et al., arXiv 1605.01713 (2016). Exact for a linear network.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from striate.core.optional import require
from striate.explaining.effort import Effort
from striate.explaining.held_norms import held_norms
from striate.explaining.scene import Scene
from striate.explaining.score import need_gradient


def attribute(scene: Scene, effort: Effort) -> NDArray[np.float32]:
    """Return input · ∂score/∂input (C, *region)."""
    InputXGradient = require("captum.attr", "trust", "striate explain").InputXGradient

    need_gradient(scene.score, scene.image, "gradient_input")
    with held_norms(scene.score, scene.image):
        found = InputXGradient(scene.score).attribute(scene.image.clone().requires_grad_())
    return np.asarray(found[0].detach().numpy(), dtype=np.float32)
