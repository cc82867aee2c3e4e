"""The truth as losses need it: one channel per class or region."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from striate.core.class_set import ClassSet
from striate.core.targets import Targets

Outputs = Targets | ClassSet
"""What the channels of a network's output mean."""


def truth_maker(targets: Outputs) -> Callable[[Tensor], Tensor]:
    """Return a function from classes (B, *S) to truth (B, K, *S) float32: one-hot, or membership of each region or class.

    Classes of whole images that may overlap come as (B, K) already.
    """
    if isinstance(targets, ClassSet) and not targets.exclusive:
        return lambda classes: classes.float()
    if isinstance(targets, ClassSet) or targets.exclusive:
        table = torch.eye(targets.out_channels)
    else:
        members, _ = targets.memberships()
        table = torch.from_numpy(members).float()

    def make(classes: Tensor) -> Tensor:
        columns = table.to(classes.device)
        wanted = classes.long()
        return torch.stack([columns[:, k][wanted] for k in range(columns.shape[1])], dim=1)

    return make


def probabilities(logits: Tensor, targets: Outputs) -> Tensor:
    """Return softmax over classes, or the sigmoid of each region; same shape as `logits`."""
    return torch.softmax(logits, 1) if targets.exclusive else torch.sigmoid(logits)
