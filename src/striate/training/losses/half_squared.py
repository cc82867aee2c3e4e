"""The lecture's total error ½·Σ(t − o)²: target against output, summed over classes, mean over voxels.

The gradient with respect to an output is o − t, so a weight changes in proportion to its part in the error.
"""

from __future__ import annotations

from torch import Tensor

from striate.training.losses import Loss
from striate.training.losses.truth import Outputs, probabilities, truth_maker


def create(targets: Outputs) -> Loss:
    """Return the loss: mean over voxels of ½·Σ_k (t_k − o_k)²."""
    truth = truth_maker(targets)

    def loss(logits: Tensor, classes: Tensor) -> Tensor:
        return half_squared_error(probabilities(logits, targets), truth(classes))

    return loss


def half_squared_error(outputs: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over voxels of ½·Σ_k (t_k − o_k)² for (B, K, *S) outputs and truth."""
    return (0.5 * (truth - outputs) ** 2).sum(dim=1).mean()
