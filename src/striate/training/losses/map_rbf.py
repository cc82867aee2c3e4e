"""The discriminative (MAP) criterion of LeNet-5, with its constant j (LeCun et al., Proc. IEEE 86:2278-2324, 1998).

E = mean of y_D + log(e^-j + Σ_i e^-y_i), where y_i ≥ 0 is the penalty of class i and D the class that is true. It pulls
the penalty of the truth down and pushes those of the others up; e^-j stands for a class of images that belong nowhere,
and leaves alone penalties that are far above j. With j → ∞ it is the cross-entropy of the softmax of -y. The networks'
logits are -y.
"""

from __future__ import annotations

import torch
from torch import Tensor

from striate.training.losses import Loss
from striate.training.losses.truth import Outputs, truth_maker

J = 10.0
"""The paper asks for a positive constant and, as far as we know, names none; this one is ours."""


def create(targets: Outputs) -> Loss:
    """Return the loss: mean over images (or voxels) of the criterion.

    Takes logits (B, K) with classes (B,), or (B, K, *S) with (B, *S). Where regions or classes may overlap, each is a
    problem of two classes, and being outside has penalty 0.
    """
    if targets.exclusive:
        return lambda logits, classes: map_criterion(-logits, classes)
    truth = truth_maker(targets)

    def loss(logits: Tensor, classes: Tensor) -> Tensor:
        within = truth(classes).to(logits.dtype)
        everything = torch.stack((torch.zeros_like(logits), logits, torch.full_like(logits, -J))).logsumexp(dim=0)
        return (everything - within * logits).mean()

    return loss


def map_criterion(penalties: Tensor, classes: Tensor, j: float = J) -> Tensor:
    """Return the mean of y_D + log(e^-j + Σ_i e^-y_i).

    Parameters
    ----------
    penalties
        y (B, K, *S).
    classes
        D (B, *S), whole numbers below K.
    j
        Penalty of the class of what belongs nowhere.
    """
    true = penalties.gather(1, classes.long().unsqueeze(1)).squeeze(1)
    total = torch.logsumexp(-penalties, dim=1)
    return (true + torch.logaddexp(total, torch.full_like(total, -j))).mean()
