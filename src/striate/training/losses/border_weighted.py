"""Cross-entropy that weighs rare classes and the narrow gaps between neighbours more (Ronneberger et al., MICCAI 2015).

The weight of a voxel is w_c + w₀ · exp(−(d₁ + d₂)² / 2σ²), with w_c the inverse frequency of its class, d₁ and d₂ its
distances in voxels to the nearest and the second nearest cell, w₀ = 10 and σ = 5. The second term is that of background
voxels. The masks do not tell cells that touch each other apart: a cell is a connected part of the foreground here.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from striate.core.class_set import ClassSet
from striate.core.errors import UsageError, expected
from striate.training.losses import Loss
from striate.training.losses.truth import Outputs, truth_maker

BORDER = 10.0
"""w₀."""
SIGMA = 5.0
"""σ in voxels."""
FAR = math.ceil(4 * SIGMA)
"""Voxels beyond which a cell is not seen; the term is below 10 · exp(−8) = 0.004 there."""


def create(targets: Outputs) -> Loss:
    """Return the loss: mean over voxels of weight · −log p of the truth, in nats.

    Raises
    ------
    UsageError
        When whole images are classified.
    """
    if isinstance(targets, ClassSet):
        raise UsageError(expected("loss border_weighted", "classes of whole images", "masks are needed"))
    truth = truth_maker(targets)

    def loss(logits: Tensor, classes: Tensor) -> Tensor:
        weight = weights(classes)
        if targets.exclusive:
            entropy = functional.cross_entropy(logits, classes.long(), reduction="none")
        else:
            wanted = truth(classes).to(logits.dtype)
            entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(1)
        return (weight * entropy).mean()

    return loss


def weights(classes: Tensor) -> Tensor:
    """Return the weight of each voxel (B, *S) float32 for classes (B, *S), 0 being background."""
    counts = torch.bincount(classes.flatten().long())
    balance = classes.numel() / (counts > 0).sum() / counts.clamp(min=1)
    gaps = np.stack([gap_weights(case != 0) for case in classes.cpu().numpy()])
    return balance.float()[classes.long()] + torch.from_numpy(gaps).to(classes.device)


def gap_weights(foreground: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return w₀ · exp(−(d₁ + d₂)² / 2σ²) for the background of one mask (*S), 0 elsewhere."""
    cells, count = ndimage.label(foreground)
    if count < 2:
        return np.zeros(foreground.shape, dtype=np.float32)
    nearest, next_nearest = (np.full(foreground.shape, np.inf, dtype=np.float32) for _ in range(2))
    for number, box in enumerate(ndimage.find_objects(cells), 1):
        around = tuple(slice(max(0, s.start - FAR), s.stop + FAR) for s in box)
        distance = ndimage.distance_transform_edt(cells[around] != number).astype(np.float32)
        first, second = nearest[around], next_nearest[around]
        np.minimum(second, np.maximum(first, distance), out=second)
        np.minimum(first, distance, out=first)
    found: NDArray[np.float32] = BORDER * np.exp(-((nearest + next_nearest) ** 2) / (2 * SIGMA**2))
    return np.where(foreground, np.float32(0), found)
