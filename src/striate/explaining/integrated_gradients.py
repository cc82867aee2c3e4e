"""Integrated gradients: the gradient averaged on the straight way from the baseline to the image, times their difference.

M. Sundararajan, A. Taly, Q. Yan: Axiomatic Attribution for Deep Networks, ICML 2017. Attributions add up to the score of the
image less that of the baseline (completeness), up to the error of the sum that stands for the integral (Gauss-Legendre).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from striate.core.optional import require
from striate.explaining.effort import Effort
from striate.explaining.held_norms import held_norms
from striate.explaining.scene import BASELINE, Scene
from striate.explaining.score import VOXELS_AT_ONCE, need_gradient


def attribute(scene: Scene, effort: Effort) -> NDArray[np.float32]:
    """Return the attributions (C, *region)."""
    IntegratedGradients = require("captum.attr", "trust", "striate explain").IntegratedGradients

    need_gradient(scene.score, scene.image, "integrated_gradients")
    with held_norms(scene.score, scene.image):
        found = IntegratedGradients(scene.score).attribute(
            scene.image, baselines=BASELINE, n_steps=effort.steps, method="gausslegendre",
            internal_batch_size=max(1, VOXELS_AT_ONCE // math.prod(scene.size)),
        )  # fmt: skip
    return np.asarray(found[0].detach().numpy(), dtype=np.float32)


def completeness_error(scene: Scene, attribution: NDArray[np.float32]) -> float:
    """Return |Σ attributions − (score − score of the baseline)| / |score − score of the baseline|; normalisation is held."""
    with torch.no_grad(), held_norms(scene.score, scene.image):
        difference = float(scene.score(scene.image) - scene.score(torch.full_like(scene.image, BASELINE)))
    return abs(float(attribution.sum(dtype=np.float64)) - difference) / max(abs(difference), 1e-12)
