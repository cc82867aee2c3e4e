"""Occlusion: how much the score falls when a box of the image is replaced by the baseline.

M. D. Zeiler and R. Fergus, ECCV 2014. Boxes overlap by half; a voxel gets the mean over the boxes that hold it. All channels
are covered together.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from striate.core.optional import require
from striate.explaining.effort import Effort
from striate.explaining.scene import BASELINE, Scene
from striate.explaining.score import VOXELS_AT_ONCE


def strides_of(size: tuple[int, ...], boxes: int) -> tuple[int, ...]:
    """Return the step of the box along each axis, so that there are at most about `boxes` places; 1 along axes of 1."""
    axes = sum(n > 1 for n in size)
    step = max(1.0, (math.prod(size) / boxes) ** (1 / max(axes, 1)))
    return tuple(1 if n == 1 else min(n, max(1, math.ceil(step - 1e-9))) for n in size)


def attribute(scene: Scene, effort: Effort) -> NDArray[np.float32]:
    """Return the mean fall of the score (1, *region) over the boxes that hold each voxel."""
    Occlusion = require("captum.attr", "trust", "striate explain").Occlusion

    strides = strides_of(scene.size, effort.boxes)
    box = tuple(min(n, 2 * s) if s > 1 else 1 for s, n in zip(strides, scene.size, strict=True))
    channels = scene.image.shape[1]
    at_once = max(1, VOXELS_AT_ONCE // math.prod(scene.size))
    with torch.no_grad():
        found = Occlusion(scene.score).attribute(
            scene.image, (channels, *box), strides=(channels, *strides), baselines=BASELINE,
            perturbations_per_eval=at_once,
        )  # fmt: skip
    return np.asarray(found[0, :1].numpy(), dtype=np.float32)
