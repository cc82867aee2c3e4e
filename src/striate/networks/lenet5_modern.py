"""The network that most code calls LeNet-5: full C3, max pooling, rectifiers, a linear output. 2D and 3D.

Papers
    After Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition.
    Proceedings of the IEEE 86(11):2278-2324, 1998; see `lenet5` for the network of the paper.
Form
    Parameters of the common form, 61,706 at 1×32×32 with ten classes, are exact. In 3D kernels and pooling have a third
    axis.
Input
    One size, option `input_size`, at least 16 along each axis: the first linear layer follows it.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field

from striate.core import config
from striate.networks.layers.activation import activation, draw_weights
from striate.networks.layers.feedback import Rule, linear, unpadded_conv
from striate.networks.layers.pooling import max_pool
from striate.networks.layers.spatial import per_axis
from striate.networks.network import Network

KERNEL, POOL = 5, 2
LEAST = 16
"""Voxels along an axis of which two convolutions and two poolings leave one."""


class Config(config.Config):
    """Options of `LeNet5Modern`.

    Attributes
    ----------
    input_size
        Voxels along each axis; 28 (MNIST as it is) and 64 fit as well as 32.
    activation
        ``relu`` or ``tanh``.
    rule
        How the error comes back while training: ``backpropagation``, or ``feedback_alignment`` (fixed random weights).
    """

    input_size: tuple[Annotated[int, Field(ge=LEAST)], ...] = (32, 32)
    activation: Literal["relu", "tanh"] = "relu"
    rule: Rule = "backpropagation"


class LeNet5Modern(Network):
    """Two convolutions, each with max pooling, and three linear layers.

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
        left = math.prod(_shrunk(_shrunk(n)) for n in self.least)
        self.c1 = unpadded_conv(spatial_dims, in_channels, 6, KERNEL, "backpropagation")
        self.c3 = unpadded_conv(spatial_dims, 6, 16, KERNEL, c.rule)
        self.c5 = linear(16 * left, 120, c.rule)
        self.f6 = linear(120, 84, c.rule)
        self.output = linear(84, out_channels, c.rule)
        self.pool = max_pool(spatial_dims, POOL, POOL)
        self.act = activation(c.activation)
        draw_weights(self, c.activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (B, K)."""
        self.check_input(x)
        for conv in (self.c1, self.c3):
            x = self.pool(self.act(conv(x)))
        x = x.flatten(1)
        for layer in (self.c5, self.f6):
            x = self.act(layer(x))
        logits: torch.Tensor = self.output(x)
        return logits


def _shrunk(size: int) -> int:
    """Return what a convolution and a pooling leave of `size`."""
    return (size - KERNEL + 1) // POOL
