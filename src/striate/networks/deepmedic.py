"""DeepMedic: two pathways of unpadded convolutions, one of them on a coarser image; 3D, and 2D by analogy.

Papers
    K. Kamnitsas et al.: Efficient multi-scale 3D CNN with fully connected CRF for accurate brain lesion segmentation.
    Medical Image Analysis 36:61-78, 2017.
Form
    The paper's 11-layer network, exact with the default options in 3D: two pathways of eight 3×3×3 convolutions, the
    second on every third voxel, repeated three times to the grid of the first; then 150, 150 and the classes. Each layer
    is batch normalisation → PReLU → dropout → convolution without bias; the first has a bias on the channels instead.
    Adapted: one input holds the context of both pathways, and `norm_eps`. Options, not of the paper: 2D,
    ``padding: same``, one pathway. The later releases' residual connections and third pathway are not here.
Input
    ``padding: valid``: 3x + 48 voxels along each axis, x ≥ 1 (51, 54, 57 …); the output is 48 smaller. The paper's
    training segment, 25³ voxels in the first pathway, is 57³ here and gives 9³. ``padding: same``: any size; the image
    is mirrored by the margin.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from striate.core import config
from striate.networks.layers.crop import centre
from striate.networks.layers.mirror import mirrored
from striate.networks.layers.rolling_norm import RollingNorm
from striate.networks.layers.spatial import conv, initialise
from striate.networks.network import Network


class Config(config.Config):
    """Options of `DeepMedic`.

    Attributes
    ----------
    features
        Feature maps of the convolutions of each pathway.
    hidden
        Feature maps of the 1×1×1 convolutions on both pathways together.
    pathways
        2, or 1: without the coarser image.
    subsampling
        The second pathway sees every voxel of this many.
    padding
        ``valid``: the output is smaller than the input by `margin` on each side. ``same``: the output has the input's
        grid.
    dropout
        Share of the values that are set to zero before the second hidden layer and before the classes, while training.
    norm_eps
        Added to the variance in the batch normalisation.
    """

    features: tuple[PositiveInt, ...] = Field((30, 30, 40, 40, 40, 40, 50, 50), min_length=1)
    hidden: tuple[PositiveInt, ...] = (150, 150)
    pathways: Literal[1, 2] = 2
    subsampling: int = Field(3, ge=2)
    padding: Literal["valid", "same"] = "valid"
    dropout: float = Field(0.5, ge=0, lt=1)
    norm_eps: PositiveFloat = 1e-5


class Bias(nn.Module):
    """A learned number added to each map."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the maps (B, C, *S) with their bias."""
        return x + self.bias.view(-1, *(1,) * (x.ndim - 2))


class Layer(nn.Sequential):
    """Batch normalisation, PReLU, dropout, convolution without bias or padding."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, ...], c: Config, dropout: float = 0.0) -> None:
        super().__init__(
            RollingNorm(inputs, c.norm_eps),
            nn.PReLU(inputs, init=0.01),
            nn.Dropout(dropout),
            conv(inputs, outputs, kernel, bias=False, padded=False),
        )


class Pathway(nn.Sequential):
    """Convolutions of kernel 3; the first is linear in the image."""

    def __init__(self, dims: int, in_channels: int, c: Config) -> None:
        kernel = (3,) * dims
        first = conv(in_channels, c.features[0], kernel, bias=False, padded=False)
        super().__init__(Bias(in_channels), first, *(Layer(n, m, kernel, c) for n, m in pairwise(c.features)))


class DeepMedic(Network):
    """A pathway on the image, one on the sub-sampled image, and fully connected layers as 1×1×1 convolutions."""

    config_type = Config

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        every = c.subsampling if c.pathways == 2 else 1
        self.context = len(c.features) * every
        if c.padding == "valid":
            self.margin = (self.context,) * spatial_dims
            self.divisor = (every,) * spatial_dims
            self.least = (2 * self.context + every,) * spatial_dims
        self.paths = nn.ModuleList(Pathway(spatial_dims, in_channels, c) for _ in range(c.pathways))
        self.repeat = nn.Upsample(scale_factor=every, mode="nearest")
        sizes = (c.pathways * c.features[-1], *c.hidden, out_channels)
        self.hidden = nn.Sequential(
            *(Layer(n, m, (1,) * spatial_dims, c, c.dropout if i else 0.0) for i, (n, m) in enumerate(pairwise(sizes)))
        )
        self.bias = Bias(out_channels)
        initialise(self, 0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (B, K, *S), each side shorter by `margin`."""
        self.check_input(x)
        if self.config.padding == "valid":
            return self._dense(x)
        size, every = x.shape[2:], self.config.subsampling if self.config.pathways == 2 else 1
        before = [self.context] * len(size)
        y = self._dense(mirrored(x, before, [self.context + -n % every for n in size]))
        for axis, n in enumerate(size, 2):
            y = y.narrow(axis, 0, n)
        return y

    def _dense(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of all voxels that have their whole context in `x`."""
        around = 2 * (self.context - len(self.config.features))  # what only the second pathway sees
        maps = [self.paths[0](centre(x, [n - around for n in x.shape[2:]]))]
        if self.config.pathways == 2:
            every = (slice(None, None, self.config.subsampling),)
            coarse = x[(slice(None), slice(None), *every * self.spatial_dims)]
            maps.append(self.repeat(self.paths[1](coarse)))
        out: torch.Tensor = self.bias(self.hidden(torch.cat(maps, dim=1)))
        return out
