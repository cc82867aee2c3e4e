"""RMSProp with normalised Nesterov momentum, as DeepMedic was trained with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class RMSProp(torch.optim.Optimizer):
    """Divide each gradient by the root of its mean square, and look ahead along the velocity.

    With gradient g (weight decay added), mean square a, velocity v, momentum m and learning rate η::

        a ← ρ · a + (1 − ρ) · g²
        s = (1 − m) · η · g / √(a + ε)
        v ← m · v − s
        w ← w + m · v − s

    The factor 1 − m keeps the length of the steps independent of the momentum. From T. Tieleman and G. Hinton (lecture
    6.5 of Neural Networks for Machine Learning, 2012) and Y. Nesterov (1983), in the form and with the ρ and ε of
    K. Kamnitsas et al., Med Image Anal 36:61-78, 2017.

    Parameters
    ----------
    params
        Weights, or groups of them.
    lr
        η.
    momentum
        m; the paper's is 0.6.
    weight_decay
        λ, by which λ · w is added to g.
    decay
        ρ.
    eps
        ε, under the root.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.6,
        weight_decay: float = 0.0,
        decay: float = 0.9,
        eps: float = 1e-4,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "decay": decay, "eps": eps}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every weight that has a gradient; returns what `closure` returns, which is called first."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)
        return value

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["mean_square"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
            state["velocity"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
        mean_square, velocity, m = state["mean_square"], state["velocity"], group["momentum"]
        if group["weight_decay"]:
            gradient = gradient.add(weight, alpha=group["weight_decay"])
        mean_square.mul_(group["decay"]).addcmul_(gradient, gradient, value=1 - group["decay"])
        step = gradient / (mean_square + group["eps"]).sqrt() * ((1 - m) * group["lr"])
        velocity.mul_(m).sub_(step)
        weight.add_(velocity, alpha=m).sub_(step)
