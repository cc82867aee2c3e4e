"""Soft Dice loss (Milletari et al., 3DV 2016), by MONAI; background is left out, the batch counts as one volume."""

from __future__ import annotations

from torch import Tensor

from striate.training.losses import Loss
from striate.training.losses.truth import Outputs, probabilities, truth_maker


def create(targets: Outputs) -> Loss:
    """Return the loss: 1 − mean over labels of 2|P∩T| / (|P| + |T|)."""
    from monai.losses import DiceLoss

    dice = DiceLoss(include_background=not targets.exclusive, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)
    truth = truth_maker(targets)

    def loss(logits: Tensor, classes: Tensor) -> Tensor:
        value: Tensor = dice(probabilities(logits, targets), truth(classes))
        return value

    return loss
