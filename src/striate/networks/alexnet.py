"""AlexNet: five convolutions and three fully connected layers, 2D and 3D.

Papers
    A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks. NIPS 2012.
    H.-C. Shin et al.: Deep Convolutional Neural Networks for Computer-Aided Detection. IEEE TMI 35(5):1285-1298, 2016
    (its form for small images: option ``small_input``).
Form
    Layer for layer the network of 2012: two halves that meet in the third convolution and in the fully connected layers
    (grouped convolutions, ``groups``), local response normalisation, overlapping pooling, dropout. Parameters and
    multiply-accumulates per layer are asserted to the unit. torchvision's ``alexnet`` is another network: one tower of
    64-192-384-256-256 maps without normalisation (2014).
    Adapted: the paper says 224×224 and its arithmetic needs 227×227, which is the default; dropout scales while
    training and not while predicting, which is the same in the mean; in 3D, every kernel is as long along the third axis.
Input
    One size (option ``input_size``), because the fully connected layers are made for it; at least 67 per axis, 39 with
    ``small_input``.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from striate.core import config
from striate.core.errors import UsageError, expected
from striate.networks.layers.conv3d import Conv3d
from striate.networks.layers.local_response_norm import LocalResponseNorm
from striate.networks.layers.pooling import max_pool
from striate.networks.layers.width import scaled
from striate.networks.network import Network


class Config(config.Config):
    """Options of `AlexNet`.

    Attributes
    ----------
    input_size
        Voxels per axis of every image.
    width
        Factor on all feature maps and hidden neurons.
    groups
        Split the second, fourth and fifth convolution into two halves that do not see each other, as the paper did to
        use two GPUs.
    dropout
        Probability of leaving out a neuron of the two hidden fully connected layers while training.
    small_input
        The form of Shin et al. for images of about 64×64: 64 filters with stride 2 in the first convolution in place of
        96 with stride 4.
    initial
        ``paper``: normal with standard deviation 0.01, biases 1 where the paper has them; meant for weeks of training.
        ``he``: He-normal, biases 0; learns from the first epoch on.
    """

    input_size: tuple[PositiveInt, ...] = (227, 227)
    width: PositiveFloat = 1.0
    groups: bool = True
    dropout: float = Field(0.5, ge=0, lt=1)
    small_input: bool = False
    initial: Literal["paper", "he"] = "paper"


class AlexNet(Network):
    """Convolutions that halve the image five times over, then a classifier that sees all of what is left.

    Raises
    ------
    UsageError
        When ``input_size`` has another number of axes, or is too small.
    """

    config_type = Config
    task = "classification"

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        stride = 2 if c.small_input else 4
        left = _checked(c.input_size, spatial_dims, stride)
        self.least = self.most = c.input_size
        conv = Conv3d if spatial_dims == 3 else nn.Conv2d
        groups = 2 if c.groups else 1
        f = [scaled(n, c.width, groups) for n in (64 if c.small_input else 96, 256, 384, 384, 256)]
        hidden = scaled(4096, c.width)
        self.convolutions = nn.Sequential(
            OrderedDict(
                conv1=conv(in_channels, f[0], 11, stride),
                relu1=nn.ReLU(inplace=True),
                norm1=LocalResponseNorm(),
                pool1=max_pool(spatial_dims, 3, 2),
                conv2=conv(f[0], f[1], 5, padding=2, groups=groups),
                relu2=nn.ReLU(inplace=True),
                norm2=LocalResponseNorm(),
                pool2=max_pool(spatial_dims, 3, 2),
                conv3=conv(f[1], f[2], 3, padding=1),
                relu3=nn.ReLU(inplace=True),
                conv4=conv(f[2], f[3], 3, padding=1, groups=groups),
                relu4=nn.ReLU(inplace=True),
                conv5=conv(f[3], f[4], 3, padding=1, groups=groups),
                relu5=nn.ReLU(inplace=True),
                pool5=max_pool(spatial_dims, 3, 2),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                fc6=nn.Linear(f[4] * left, hidden),
                relu6=nn.ReLU(inplace=True),
                drop6=nn.Dropout(c.dropout),
                fc7=nn.Linear(hidden, hidden),
                relu7=nn.ReLU(inplace=True),
                drop7=nn.Dropout(c.dropout),
                fc8=nn.Linear(hidden, out_channels),
            )
        )
        self._initialise(c.initial)

    def _initialise(self, initial: str) -> None:
        """Draw the weights, in place; see `Config`."""
        for name, layer in self.named_modules():
            if not isinstance(layer, (nn.modules.conv._ConvNd, nn.Linear)) or layer.weight.is_meta:
                continue
            number = int(name[-1])
            if initial == "he" and number < 8:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, 1.0 if initial == "paper" and number in (2, 4, 5, 6, 7) else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K)."""
        self.check_input(x)
        logits: Tensor = self.classifier(torch.flatten(self.convolutions(x), 1))
        return logits


def _checked(size: tuple[int, ...], spatial_dims: int, stride: int) -> int:
    """Return the voxels of the last map.

    Raises
    ------
    UsageError
        When `size` has another number of axes than `spatial_dims`, or nothing of it would be left.
    """
    least = 10 + stride * 14 + 1
    if len(size) != spatial_dims or min(size) < least:
        want = f"{spatial_dims} numbers of at least {least} are needed"
        hint = "" if stride == 2 or min(size) < 39 else "The option small_input takes 39 and more."
        raise UsageError(expected("option input_size", f"{size}", want, hint))
    voxels = 1
    for n in size:
        n = (n - 11) // stride + 1
        for _ in range(3):
            n = (n - 3) // 2 + 1
        voxels *= n
    return voxels
