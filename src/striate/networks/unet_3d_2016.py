"""3D U-Net: the first U-Net for volumes, with batch normalisation and no narrow place; 3D, and 2D by analogy.

Papers
    Ö. Çiçek, A. Abdulkadir, S. Lienkamp, T. Brox, O. Ronneberger: 3D U-Net: Learning Dense Volumetric Segmentation from
    Sparse Annotation. MICCAI 2016.
Form
    Exact with the default options in 3D: feature maps double before each pooling, up-convolutions keep them, batch
    normalisation stands before each rectifier, 132×132×116 → 44×44×28 voxels. The paper's 19 069 955 parameters leave
    out those of the batch normalisation and the biases of the up-convolutions; all counted, they are 19 075 523.
    Options, not of the paper: 2D, ``padding: same``.
Input
    ``padding: valid``: 8x + 28 voxels along each axis, x ≥ 8 (92, 100 … 132 …); the output is 88 smaller. In general
    ``2^h · x + 4 · (2^h - 1)`` with h = stages - 1. ``padding: same``: multiples of 2^h.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from striate.core import config
from striate.networks.layers import unpadded
from striate.networks.layers.crop import centre
from striate.networks.layers.pooling import max_pool
from striate.networks.layers.spatial import batch_norm, conv, enlarging_conv, initialise
from striate.networks.network import Network


class Config(config.Config):
    """Options of `UNet3D2016`.

    Attributes
    ----------
    features
        Feature maps of the first convolution of each stage, finest first; the second convolution has twice as many. Its
        length is the number of stages.
    padding
        ``valid``: no convolution is padded, so the output is smaller than the input. ``same``: convolutions are padded
        with zeros and the output has the input's grid.
    norm_eps
        Added to the variance in the batch normalisation.
    """

    features: tuple[PositiveInt, ...] = Field((32, 64, 128, 256), min_length=2)
    padding: Literal["valid", "same"] = "valid"
    norm_eps: PositiveFloat = 1e-5


class Stage(nn.Sequential):
    """Two 3×3×3 convolutions, each with batch normalisation and a rectifier."""

    def __init__(self, dims: int, inputs: int, middle: int, outputs: int, c: Config) -> None:
        layers: list[nn.Module] = []
        for n, m in ((inputs, middle), (middle, outputs)):
            layers.append(conv(n, m, (3,) * dims, padded=c.padding == "same"))
            layers.append(batch_norm(dims, m, c.norm_eps))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class UNet3D2016(Network):
    """Analysis path, synthesis path, and from each stage of the one the cropped maps to its mirror in the other."""

    config_type = Config

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        halvings = len(c.features) - 1
        self.divisor = self.least = (2**halvings,) * spatial_dims
        if c.padding == "valid":
            self.least = (unpadded.least(halvings),) * spatial_dims
            self.margin = (unpadded.margin(halvings),) * spatial_dims
        twice = [2 * f for f in c.features]
        inputs = (in_channels, *twice)
        self.analysis = nn.ModuleList(Stage(spatial_dims, inputs[i], f, 2 * f, c) for i, f in enumerate(c.features))
        self.pool = max_pool(spatial_dims, 2, 2)
        finer = range(halvings - 1, -1, -1)  # the synthesis path goes from coarse to fine
        self.up = nn.ModuleList(enlarging_conv(twice[i + 1], twice[i + 1], (2,) * spatial_dims) for i in finer)
        self.synthesis = nn.ModuleList(
            Stage(spatial_dims, twice[i] + twice[i + 1], twice[i], twice[i], c) for i in finer
        )
        self.head = conv(twice[0], out_channels, (1,) * spatial_dims)
        initialise(self, 0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (B, K, *S), each side shorter by `margin`."""
        self.check_input(x)
        skips: list[torch.Tensor] = []
        for stage in self.analysis:
            x = stage(self.pool(x) if skips else x)
            skips.append(x)
        for depth, (up, stage) in enumerate(zip(self.up, self.synthesis, strict=True), 2):
            x = up(x)
            x = stage(torch.cat((centre(skips[-depth], x.shape[2:]), x), dim=1))
        out: torch.Tensor = self.head(x)
        return out
