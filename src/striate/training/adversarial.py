"""Adversarial training: patches are changed by an attack on the network as it is, and teach in that state.

The attack is projected gradient descent in few steps from a random place (Madry et al., "Towards deep learning models
resistant to adversarial attacks", ICLR 2018, eq. 2.1); with one step it is the fast variant (Wong, Rice and Kolter, "Fast is
better than free", ICLR 2020), whose step is 1.25 · ε. Until the plan's `begin` all patches stay clean: the network learns what
lesions look like at the price of plain updates, and then to hold on to it.

ε is a fraction of the tissue contrast, which the plan holds for each channel. Everything drawn comes from torch's generator,
which the loop seeds for each step: a run that goes on after a kill draws the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from striate.core.errors import PlanError
from striate.networks.network import Network
from striate.planning.plan import Adversarial, Plan
from striate.training.losses import Loss
from striate.training.step import total_error

STRIDE, LONGEST = 2.5, 1.25
"""A step is STRIDE · ε / steps, and at most LONGEST · ε."""


def attacked(
    network: nn.Module, loss: Loss, plan: Plan, images: Tensor, truth: Tensor, fraction: float = 1.0
) -> Tensor:
    """Return a batch with some of its patches attacked; the batch itself where the plan does not harden, or not yet.

    The network's weights, their gradients and its running statistics stay as they are.

    Parameters
    ----------
    network
        As it is now, not wrapped for several processes.
    loss
        That it learns by; the attack raises it.
    plan
        See `striate.planning.plan.Adversarial`.
    images, truth
        (B, C, *S) and (B, *S).
    fraction
        Of the schedule that is done (0 … 1).

    Raises
    ------
    PlanError
        When the plan does not hold the tissue contrast.
    """
    attack = plan.training.adversarial
    if attack is None or fraction < attack.begin:
        return images
    chosen = draw_attacked(len(images), attack.share)
    if not len(chosen):
        return images
    places = chosen.to(images.device)
    reach = attack.epsilon * _contrast(attack, images)
    fixed = [name == "zscore_nonzero" for name in plan.preparation.normalisation]
    changed = images.clone()
    was_training = network.training
    network.eval()
    try:
        changed[places] = _pgd(network, loss, plan, images[places], truth[places], reach, fixed)
    finally:
        network.train(was_training)
    return changed


def draw_attacked(batch: int, share: float) -> Tensor:
    """Return which samples of a batch are attacked: ⌊batch · share⌋, and one more as often as the rest asks."""
    wanted = batch * share
    count = int(wanted) + int(float(torch.rand(())) < wanted % 1)
    return torch.randperm(batch)[:count].sort().values


def _pgd(
    network: nn.Module, loss: Loss, plan: Plan, images: Tensor, truth: Tensor, reach: Tensor, fixed: list[bool]
) -> Tensor:
    """Return the patches after the attack; background that is exactly 0 stays so in the channels that are `fixed`."""
    attack, training = plan.training.adversarial, plan.training
    steps = attack.steps if attack is not None else 1
    margin = network.margin if isinstance(network, Network) else ()
    stride = min(STRIDE / steps, LONGEST) * reach
    still = (images == 0) & torch.tensor(fixed, device=images.device).reshape(1, -1, *[1] * (images.ndim - 2))
    moved = (2 * torch.rand(images.shape).to(images.device) - 1) * reach
    for _ in range(steps):
        given = torch.where(still, images, images + moved).detach().requires_grad_()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=training.precision == "bf16"):
            outputs = network(given)
        (slope,) = torch.autograd.grad(total_error(outputs, truth, loss, margin=margin), given)
        moved = torch.minimum(torch.maximum(moved + stride * slope.sign(), -reach), reach)
    return torch.where(still, images, images + moved).detach()


def _contrast(attack: Adversarial, images: Tensor) -> Tensor:
    """Return the tissue contrast as (1, C, 1 …)."""
    if attack.contrast is None:
        raise PlanError(
            f"training.adversarial.contrast: {attack.contrast}; the tissue contrast of each channel is needed. Leave it to"
            " striate train, which measures it."
        )
    return torch.tensor(attack.contrast, dtype=images.dtype, device=images.device).reshape(
        1, -1, *[1] * (images.ndim - 2)
    )
