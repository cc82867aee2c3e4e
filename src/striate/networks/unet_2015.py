"""The first U-Net: unpadded convolutions, max pooling, 2×2 up-convolutions, cropped skips; 2D, and 3D by analogy.

Papers
    O. Ronneberger, P. Fischer, T. Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation. MICCAI 2015.
Form
    Exact with the default options in 2D: 23 convolutions with biases, no normalisation, 572 → 388 pixels. Adapted: the
    rate of the dropout is our choice (the paper gives none). Options, not of the paper: 3D, ``padding: same``,
    ``batch_norm``.
Input
    ``padding: valid``: 16x + 60 voxels along each axis, x ≥ 8 (188, 204 … 572 …); the output is 184 smaller. In
    general ``2^h · x + 4 · (2^h - 1)`` with h = stages - 1. ``padding: same``: multiples of 2^h.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import nn

from striate.core import config
from striate.networks.layers import unpadded
from striate.networks.layers.crop import centre
from striate.networks.layers.pooling import max_pool
from striate.networks.layers.spatial import batch_norm, conv, enlarging_conv, initialise
from striate.networks.network import Network


class Config(config.Config):
    """Options of `UNet2015`.

    Attributes
    ----------
    features
        Feature maps per stage, finest first; its length is the number of stages.
    padding
        ``valid``: no convolution is padded, so the output is smaller than the input. ``same``: convolutions are padded
        with zeros and the output has the input's grid.
    batch_norm
        Normalise over the batch after each 3×3 convolution, before the rectifier.
    dropout
        Share of the values that are set to zero at the end of the contracting path, while training.
    """

    features: tuple[PositiveInt, ...] = Field((64, 128, 256, 512, 1024), min_length=2)
    padding: Literal["valid", "same"] = "valid"
    batch_norm: bool = False
    dropout: float = Field(0.5, ge=0, lt=1)


class Stage(nn.Sequential):
    """Two 3×3 convolutions, each with a rectifier."""

    def __init__(self, dims: int, inputs: int, outputs: int, c: Config) -> None:
        layers: list[nn.Module] = []
        for n in (inputs, outputs):
            layers.append(conv(n, outputs, (3,) * dims, padded=c.padding == "same"))
            if c.batch_norm:
                layers.append(batch_norm(dims, outputs, 1e-5))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class UNet2015(Network):
    """Contracting path, expansive path, and from each stage of the one the cropped maps to its mirror in the other."""

    config_type = Config

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        halvings, two = len(c.features) - 1, (2,) * spatial_dims
        self.divisor = self.least = (2**halvings,) * spatial_dims
        if c.padding == "valid":
            self.least = (unpadded.least(halvings),) * spatial_dims
            self.margin = (unpadded.margin(halvings),) * spatial_dims
        inputs = (in_channels, *c.features)
        self.contracting = nn.ModuleList(Stage(spatial_dims, inputs[i], f, c) for i, f in enumerate(c.features))
        self.pool = max_pool(spatial_dims, 2, 2)
        self.dropout = nn.Dropout(c.dropout)
        finer = range(halvings - 1, -1, -1)  # the expansive path goes from coarse to fine
        self.up = nn.ModuleList(enlarging_conv(c.features[i + 1], c.features[i], two) for i in finer)
        self.expansive = nn.ModuleList(Stage(spatial_dims, 2 * c.features[i], c.features[i], c) for i in finer)
        self.head = conv(c.features[0], out_channels, (1,) * spatial_dims)
        initialise(self, 0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (B, K, *S), each side shorter by `margin`."""
        self.check_input(x)
        skips: list[torch.Tensor] = []
        for stage in self.contracting:
            x = stage(self.pool(x) if skips else x)
            skips.append(x)
        x = self.dropout(x)
        for depth, (up, stage) in enumerate(zip(self.up, self.expansive, strict=True), 2):
            x = up(x)
            x = stage(torch.cat((centre(skips[-depth], x.shape[2:]), x), dim=1))
        out: torch.Tensor = self.head(x)
        return out
