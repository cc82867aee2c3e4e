"""Activation functions by name, and initial weights that suit each.

Papers
    scaled_tanh: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition.
    Proceedings of the IEEE 86(11):2278-2324, 1998. relu: K. He et al., ICCV 2015. tanh, sigmoid: X. Glorot, Y. Bengio,
    AISTATS 2010.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from striate.networks.layers.feedback import Feedback

Activation = Literal["scaled_tanh", "tanh", "sigmoid", "relu"]

AMPLITUDE, SLOPE = 1.7159, 2 / 3
SPREAD = 2.4
"""LeCun's initial weights are uniform in ± SPREAD / fan-in."""


class ScaledTanh(nn.Module):
    """LeCun's squashing function f(a) = 1.7159 · tanh(⅔ a): f(±1) = ±1, where its curvature is largest."""

    def forward(self, x: Tensor) -> Tensor:
        """Return f of each number."""
        return AMPLITUDE * torch.tanh(SLOPE * x)


_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "scaled_tanh": ScaledTanh,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
}


def activation(name: Activation) -> nn.Module:
    """Return the activation function `name`."""
    return _ACTIVATIONS[name]()


def draw_weights(network: nn.Module, name: Activation) -> None:
    """Draw the weights of linear layers and convolutions for the activation `name`, in place.

    scaled_tanh: weights and biases uniform in ±2.4 / fan-in. relu: He-normal. tanh, sigmoid: Xavier-uniform. The
    latter three have biases of zero. The fixed matrices of feedback alignment are drawn as the weights are.
    """
    for layer in network.modules():
        if not isinstance(layer, (nn.Linear, nn.modules.conv._ConvNd)) or layer.weight.is_meta:
            continue
        _draw(layer.weight, name)
        if isinstance(layer, Feedback):
            _draw(layer.feedback, name)
        if layer.bias is None:
            continue
        if name == "scaled_tanh":
            uniform_by_fan_in(layer.bias, layer.weight[0].numel())
        else:
            nn.init.zeros_(layer.bias)


def uniform_by_fan_in(numbers: Tensor, fan_in: int) -> None:
    """Draw uniformly in ±2.4 / `fan_in`, in place."""
    nn.init.uniform_(numbers, -SPREAD / fan_in, SPREAD / fan_in)


def _draw(weight: Any, name: Activation) -> None:
    if name == "scaled_tanh":
        uniform_by_fan_in(weight, weight[0].numel())
    elif name == "relu":
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
    else:
        nn.init.xavier_uniform_(weight)
