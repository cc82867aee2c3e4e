"""Cross-entropy: per voxel over exclusive labels (softmax), or binary per region (sigmoid)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from striate.training.losses import Loss
from striate.training.losses.truth import Outputs, truth_maker


def create(targets: Outputs) -> Loss:
    """Return the loss: mean over voxels (and regions) of −log p of the truth, in nats."""
    if targets.exclusive:
        return lambda logits, classes: functional.cross_entropy(logits, classes.long())
    truth = truth_maker(targets)

    def loss(logits: Tensor, classes: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(logits, truth(classes).to(logits.dtype))

    return loss
