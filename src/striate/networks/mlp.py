"""A multi-layer perceptron: the lecture's fully connected network, to hold a convolutional one against.

Papers
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition. Proceedings of
    the IEEE 86(11):2278-2324, 1998 (the network 784-300-100-10). The page that the lecture shows: A. W. Harley, ISVC
    2015. Feedback alignment: T. P. Lillicrap et al., Nature Communications 7:13276, 2016.
Form
    Layers and parameters are exact: 784-300-100-10 has 266,610. The last layer gives logits, without the squashing
    function that Harley's has.
Input
    One size, option `input_size`: each voxel of each channel has its own weights.
"""

from __future__ import annotations

import itertools
import math

import torch
from pydantic import PositiveInt
from torch import nn

from striate.core import config
from striate.networks.layers.activation import Activation, activation, draw_weights
from striate.networks.layers.feedback import Rule, linear
from striate.networks.layers.spatial import per_axis
from striate.networks.network import Network


class Config(config.Config):
    """Options of `MLP`.

    Attributes
    ----------
    input_size
        Voxels along each axis.
    hidden
        Neurons of each hidden layer; none gives a linear classifier.
    activation
        Of the hidden layers: ``scaled_tanh`` (LeCun's 1.7159 · tanh(⅔ a)), ``tanh``, ``sigmoid`` or ``relu``.
    rule
        How the error comes back while training: ``backpropagation``, or ``feedback_alignment`` (fixed random weights).
    """

    input_size: tuple[PositiveInt, ...] = (28, 28)
    hidden: tuple[PositiveInt, ...] = (300, 100)
    activation: Activation = "scaled_tanh"
    rule: Rule = "backpropagation"


class MLP(Network):
    """Every neuron sees every number of the layer before.

    Raises
    ------
    UsageError
        When `input_size` does not give one number per axis.
    """

    config_type = Config
    task = "classification"

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        self.least = self.most = per_axis(c.input_size, spatial_dims, "input_size")
        sizes = (in_channels * math.prod(self.least), *c.hidden, out_channels)
        self.layers = nn.ModuleList(
            linear(n, m, c.rule if i else "backpropagation")  # nothing comes back to the image
            for i, (n, m) in enumerate(itertools.pairwise(sizes))
        )
        self.act = activation(c.activation)
        draw_weights(self, c.activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (B, K)."""
        self.check_input(x)
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = self.act(layer(x))
        logits: torch.Tensor = self.layers[-1](x)
        return logits
