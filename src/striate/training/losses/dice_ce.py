"""Dice plus cross-entropy with equal weight, the default (Isensee et al., Nat Methods 2021; Taghanaki et al. 2019).

Dice looks at the overlap and so bears small lesions, cross-entropy gives every voxel a gradient.
"""

from __future__ import annotations

from torch import Tensor

from striate.training.losses import Loss, cross_entropy, dice
from striate.training.losses.truth import Outputs


def create(targets: Outputs) -> Loss:
    """Return the loss: soft Dice loss + cross-entropy."""
    overlap, entropy = dice.create(targets), cross_entropy.create(targets)

    def loss(logits: Tensor, classes: Tensor) -> Tensor:
        return overlap(logits, classes) + entropy(logits, classes)

    return loss
