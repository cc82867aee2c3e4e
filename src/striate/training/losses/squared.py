"""Mean squared error between an image and its reconstruction (Hinton & Salakhutdinov, Science 313:504, 2006)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from striate.training.losses import Loss
from striate.training.losses.truth import Outputs


def create(targets: Outputs) -> Loss:
    """Return the loss: mean over voxels and channels of (image − reconstruction)²."""

    def loss(found: Tensor, image: Tensor) -> Tensor:
        return functional.mse_loss(found, image)

    return loss
