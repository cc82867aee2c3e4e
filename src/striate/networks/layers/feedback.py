"""Feedback alignment: the error comes back through fixed random weights instead of the layer's own.

Paper
    T. P. Lillicrap, D. Cownden, D. B. Tweed, C. J. Akerman: Random synaptic feedback weights support error
    backpropagation for deep learning. Nature Communications 7:13276, 2016.
Form
    A layer with weights W sends the error e of its outputs back as B·e where backpropagation sends Wᵀ·e; B, of the
    shape of W, is drawn once and never learned. The change of W itself is that of backpropagation. B counts only while
    training: in ``eval()`` the gradient is the true one, so that saliency maps and attacks of a trained network are
    right.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from striate.networks.layers.conv3d import Conv3d

Rule = Literal["backpropagation", "feedback_alignment"]
"""How the error comes back to earlier layers."""


class Feedback(nn.Module, abc.ABC):
    """What layers with feedback alignment share.

    Attributes
    ----------
    feedback
        B, a buffer of the shape of the weights; saved with them.
    """

    feedback: Tensor
    weight: Tensor

    @abc.abstractmethod
    def through(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the layer's linear map of `x` with `weight` in place of its own, without bias."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output; the gradient with respect to `x` goes through `feedback`."""
        if not (self.training and x.requires_grad and torch.is_grad_enabled()):
            return self.onward(x)
        back = self.through(x, self.feedback)
        return self.onward(x.detach()) + (back - back.detach())

    @abc.abstractmethod
    def onward(self, x: Tensor) -> Tensor:
        """Return the plain layer's output."""

    def angle_deg(self, x: Tensor, error: Tensor) -> float:
        """Return the angle between the feedback signal B·e and the gradient Wᵀ·e, in degrees.

        Parameters
        ----------
        x
            The layer's input (B, …); only its shape counts.
        error
            The gradient e with respect to the layer's output.

        Returns
        -------
        float
            Mean over the examples whose signals are not zero; NaN where there are none. Below 90 the layer's inputs
            are changed for the better.
        """
        place = torch.zeros_like(x).requires_grad_()
        with torch.enable_grad():
            fed, true = (
                torch.autograd.grad(self.through(place, w.detach()), place, error)[0].flatten(1).double()
                for w in (self.feedback, self.weight)
            )
        lengths = fed.norm(dim=1) * true.norm(dim=1)
        cosines = ((fed * true).sum(dim=1) / lengths)[lengths > 0].clamp(-1, 1)
        return math.degrees(float(cosines.arccos().mean()))


class FeedbackLinear(Feedback, nn.Linear):
    """``nn.Linear`` with feedback alignment."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        nn.Linear.__init__(self, inputs, outputs, bias)
        self.register_buffer("feedback", drawn_like(self.weight))

    def through(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return `x` times the transposed `weight`."""
        return functional.linear(x, weight)

    def onward(self, x: Tensor) -> Tensor:
        """Return the plain layer's output."""
        return nn.Linear.forward(self, x)


class FeedbackConv2d(Feedback, nn.Conv2d):
    """``nn.Conv2d`` with feedback alignment: one fixed kernel for each pair of maps."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        nn.Conv2d.__init__(self, inputs, outputs, kernel)
        self.register_buffer("feedback", drawn_like(self.weight))

    def through(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return `x` convolved with `weight`."""
        maps: Tensor = self._conv_forward(x, weight, None)
        return maps

    def onward(self, x: Tensor) -> Tensor:
        """Return the plain layer's output."""
        return nn.Conv2d.forward(self, x)


class FeedbackConv3d(Feedback, Conv3d):
    """3D convolution with feedback alignment."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        Conv3d.__init__(self, inputs, outputs, kernel)
        self.register_buffer("feedback", drawn_like(self.weight))

    def through(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return `x` convolved with `weight`."""
        maps: Tensor = self._conv_forward(x, weight, None)
        return maps

    def onward(self, x: Tensor) -> Tensor:
        """Return the plain layer's output."""
        return Conv3d.forward(self, x)


_CONV: dict[tuple[Rule, int], Any] = {
    ("backpropagation", 2): nn.Conv2d,
    ("backpropagation", 3): Conv3d,
    ("feedback_alignment", 2): FeedbackConv2d,
    ("feedback_alignment", 3): FeedbackConv3d,
}


def linear(inputs: int, outputs: int, rule: Rule) -> nn.Module:
    """Return a linear layer whose error comes back by `rule`."""
    return FeedbackLinear(inputs, outputs) if rule == "feedback_alignment" else nn.Linear(inputs, outputs)


def unpadded_conv(spatial_dims: int, inputs: int, outputs: int, kernel: int, rule: Rule) -> nn.Module:
    """Return a convolution of stride 1 without padding whose error comes back by `rule`."""
    layer: nn.Module = _CONV[rule, spatial_dims](inputs, outputs, kernel)
    return layer


def drawn_like(weight: Tensor) -> Tensor:
    """Return numbers with the shape of `weight`, drawn as torch draws the weights of a new layer."""
    bound = 1 / math.sqrt(weight[0].numel())
    empty = torch.empty_like(weight, requires_grad=False)
    return empty if weight.is_meta else empty.uniform_(-bound, bound)


def angles_deg(network: nn.Module, total_error: Callable[[], Tensor]) -> dict[str, float]:
    """Return, for each layer with feedback alignment, the angle between what it sends back and the gradient.

    Parameters
    ----------
    network
        In training mode, as when it learns. Its parameters and their gradients are left as they were.
    total_error
        Runs `network` forward and returns the total error, a number; called once.

    Returns
    -------
    dict
        Path of the layer → angle in degrees (`Feedback.angle_deg`), for the error that reached this layer.
    """
    passed: dict[str, tuple[Feedback, Tensor, Tensor]] = {}

    def keep(name: str) -> Callable[[Any, Any, Any], None]:
        def hook(layer: Any, inputs: Any, output: Any) -> None:
            passed[name] = (layer, inputs[0].detach(), output)

        return hook

    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, Feedback)]
    hooks = [layer.register_forward_hook(keep(name)) for name, layer in layers]
    try:
        with torch.enable_grad():
            error = total_error()
    finally:
        for hook in hooks:
            hook.remove()
    signals = torch.autograd.grad(error, [output for _, _, output in passed.values()]) if passed else ()
    return {
        name: layer.angle_deg(x, signal) for (name, (layer, x, _)), signal in zip(passed.items(), signals, strict=True)
    }
