"""Focal loss (Lin et al., ICCV 2017), γ = 2: cross-entropy that looks past the easy voxels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from striate.training.losses import Loss
from striate.training.losses.truth import Outputs, truth_maker

GAMMA = 2.0


def create(targets: Outputs) -> Loss:
    """Return the loss: mean of (1 − p)^γ · (−log p), p the probability of the truth."""
    truth = truth_maker(targets)

    def loss(logits: Tensor, classes: Tensor) -> Tensor:
        if targets.exclusive:
            entropy = functional.cross_entropy(logits, classes.long(), reduction="none")
        else:
            entropy = functional.binary_cross_entropy_with_logits(
                logits, truth(classes).to(logits.dtype), reduction="none"
            )
        return ((1 - (-entropy).exp()) ** GAMMA * entropy).mean()

    return loss
