"""Cross-entropy with label smoothing: the truth is told with a little doubt, so that no logit is driven without end.

C. Szegedy et al.: Rethinking the Inception Architecture for Computer Vision. CVPR 2016, section 7: the share ε of the
truth is spread evenly over all K classes, q'(k) = (1 − ε) δ(k, y) + ε / K, with ε = 0.1. The uniform prediction has the
loss log K; the lowest loss is the entropy of q', where the prediction is q'.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from striate.training.losses import Loss
from striate.training.losses.truth import Outputs, truth_maker

EPSILON = 0.1
"""Share of the truth that is spread over all classes."""


def create(targets: Outputs) -> Loss:
    """Return the loss: mean over images (or voxels) of −Σ_k q'(k) log p(k), in nats.

    Takes logits (B, K) with classes (B,), or (B, K, *S) with (B, *S). Where regions or classes may overlap, each is a
    problem of two classes.
    """
    if targets.exclusive:
        return lambda logits, classes: functional.cross_entropy(logits, classes.long(), label_smoothing=EPSILON)
    truth = truth_maker(targets)

    def loss(logits: Tensor, classes: Tensor) -> Tensor:
        smooth = (1 - EPSILON) * truth(classes).to(logits.dtype) + EPSILON / 2
        return functional.binary_cross_entropy_with_logits(logits, smooth)

    return loss
