"""Convolutional LSTM: it reads the slices of a scan (or its dates) in order and remembers maps; 2D and 3D.

Papers
    X. Shi, Z. Chen, H. Wang, D.-Y. Yeung, W.-K. Wong, W.-C. Woo: Convolutional LSTM Network: A Machine Learning Approach
    for Precipitation Nowcasting. NIPS 2015.
Form
    The paper's encoding network of three layers, 128-64-64 maps with kernels of 5, on images whose blocks of 4 × 4
    pixels were made channels. The paper forecasts images with a second such network; here a linear head answers for each
    image, from the mean of the last layer's maps. The layer itself is exact: with it, the paper's three
    encoder-forecasters have the numbers of parameters that it prints (asserted in the tests).
Input
    Each size a multiple of `patch`; any number of images.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn

from striate.core import config
from striate.networks.layers.conv_lstm import ConvLSTM
from striate.networks.layers.spatial import PerAxis, per_axis
from striate.networks.network import Network


class Config(config.Config):
    """Options of `ConvLSTMNetwork`.

    Attributes
    ----------
    hidden
        Maps that each layer remembers, per direction.
    kernel
        Of all convolutions, for all axes or per axis; odd.
    patch
        Side of the blocks of voxels that become channels, for all axes or per axis; 1: full resolution.
    bidirectional
        Read the images in both directions; each answer then knows what comes after, too.
    """

    hidden: tuple[PositiveInt, ...] = Field((128, 64, 64), min_length=1)
    kernel: PerAxis = 5
    patch: PerAxis = 4
    bidirectional: bool = False

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: PerAxis) -> PerAxis:
        if any(k % 2 == 0 for k in ((kernel,) if isinstance(kernel, int) else kernel)):
            raise ValueError("odd numbers are needed, so that the maps keep their size")
        return kernel


class ConvLSTMNetwork(Network):
    """Layers of convolutional LSTM, and one linear head for every image.

    Raises
    ------
    UsageError
        When `kernel` or `patch` does not give one number per axis.
    """

    config_type = Config
    task = "sequence"

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        kernel = per_axis(c.kernel, spatial_dims, "kernel")
        self.patch = self.divisor = self.least = per_axis(c.patch, spatial_dims, "patch")
        ways = 2 if c.bidirectional else 1
        inputs = (in_channels * math.prod(self.patch), *(ways * h for h in c.hidden))
        shapes = list(zip(inputs[:-1], c.hidden, strict=True))
        self.forwards = nn.ModuleList(ConvLSTM(n, h, kernel) for n, h in shapes)
        self.backwards = nn.ModuleList(ConvLSTM(n, h, kernel) for n, h in shapes if c.bidirectional)
        self.head = nn.Linear(inputs[-1], out_channels)
        for layer in self.modules():
            if isinstance(layer, nn.modules.conv._ConvNd) and not layer.weight.is_meta:
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, T, K), one row per image."""
        self.check_input(x)
        maps = self._blocks(x)
        for i, layer in enumerate(self.forwards):
            read = layer(maps)[0]
            if len(self.backwards) > 0:
                read = torch.cat((read, self.backwards[i](maps, backwards=True)[0]), dim=2)
            maps = read
        logits: Tensor = self.head(maps.flatten(3).mean(3))
        return logits

    def _blocks(self, x: Tensor) -> Tensor:
        """Return `x` (B, T, C, *S) with the voxels of each block as channels, (B, T, C · block, *S / patch)."""
        dims = self.spatial_dims
        pairs = [n for size, p in zip(x.shape[3:], self.patch, strict=True) for n in (size // p, p)]
        places, within = range(3, 3 + 2 * dims, 2), range(4, 4 + 2 * dims, 2)
        return x.reshape(*x.shape[:3], *pairs).permute(0, 1, 2, *within, *places).flatten(2, 2 + dims)
