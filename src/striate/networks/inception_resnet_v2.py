"""Inception-ResNet-v2: modules of parallel convolutions that add a small correction to what they see, 2D and 3D.

Papers
    C. Szegedy, S. Ioffe, V. Vanhoucke, A. Alemi: Inception-v4, Inception-ResNet and the Impact of Residual Connections on
    Learning. AAAI 2017.
    H.-C. Shin et al.: Deep Convolutional Neural Networks for Computer-Aided Detection. IEEE TMI 35(5):1285-1298, 2016
    (its form for small images: option ``small_input``).
Form
    Block for block the network that the authors released (10, 20 and 10 residual modules, the stem of Inception-v3, the
    last module neither scaled nor rectified), which is the one of the quoted 55.8 million parameters: parameters per
    block, shape of every stage and multiply-accumulates are asserted to the unit. ``blocks`` (5, 10, 5) are the paper's
    figure's numbers of modules.
    Adapted: running statistics follow with PyTorch's momentum of 0.1, because the released 0.0003 needs very many steps;
    weights are He-normal. In 3D, a kernel 1×n or n×1 becomes one kernel along each axis (`layers.factorised`). The
    released code's auxiliary classifier is left out.
Input
    At least 75 per axis; 23 with ``small_input``. Any size above.
"""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from striate.core import config
from striate.networks.layers.branches import Average, Branch, Branches, Conv, Maximum, Scale, Step
from striate.networks.layers.conv_unit import ConvUnit
from striate.networks.layers.factorised import Pair
from striate.networks.layers.inception_stem import LEAST, LEAST_SMALL, stem
from striate.networks.layers.mean_classifier import MeanClassifier
from striate.networks.layers.spatial import conv, initialise
from striate.networks.network import Network


class Config(config.Config):
    """Options of `InceptionResNetV2`.

    Attributes
    ----------
    blocks
        Residual modules on the first, second and third grid; the paper's figure has 5, 10 and 5.
    scales
        Factor on what a residual module adds, per grid; the last module adds all.
    width
        Factor on all numbers of feature maps.
    dropout
        Probability of leaving out a map's mean before the classifier while training.
    small_input
        For images of 64 to 96 voxels: the first convolution and the first pooling keep the resolution.
    """

    blocks: tuple[PositiveInt, PositiveInt, PositiveInt] = (10, 20, 10)
    scales: tuple[float, float, float] = (0.17, 0.1, 0.2)
    width: PositiveFloat = 1.0
    dropout: float = Field(0.2, ge=0, lt=1)
    small_input: bool = False


ENTRY: dict[str, list[Step]] = {
    "point": [Conv(96)],
    "five": [Conv(48), Conv(64, 5)],
    "three": [Conv(64), Conv(96, 3), Conv(96, 3)],
    "pool": [Average(), Conv(64)],
}
"""Before the first residual module: 192 → 320 maps."""

RESIDUALS: tuple[dict[str, list[Step]], ...] = (
    {"point": [Conv(32)], "three": [Conv(32), Conv(32, 3)], "twice_three": [Conv(32), Conv(48, 3), Conv(64, 3)]},
    {"point": [Conv(192)], "seven": [Conv(128), Pair(160, 192, 7)]},
    {"point": [Conv(192)], "three": [Conv(192), Pair(224, 256, 3)]},
)
"""The branches of the residual modules, per grid."""

REDUCTIONS: tuple[dict[str, list[Step]], ...] = (
    {"three": [Conv(384, 3, 2)], "twice_three": [Conv(256), Conv(256, 3), Conv(384, 3, 2)], "pool": [Maximum()]},
    {
        "three": [Conv(256), Conv(384, 3, 2)],
        "three_again": [Conv(256), Conv(288, 3, 2)],
        "twice_three": [Conv(256), Conv(288, 3), Conv(320, 3, 2)],
        "pool": [Maximum()],
    },
)
"""From the first grid to the second, from the second to the third."""


class Residual(nn.Module):
    """x + factor · (branches, brought to the maps of x by a linear 1×1 convolution); then a rectifier, if `rectified`."""

    def __init__(
        self, scale: Scale, maps: int, branches: dict[str, list[Step]], factor: float, *, rectified: bool = True
    ) -> None:
        super().__init__()
        self.branches = Branches(scale, maps, branches)
        self.project = conv(self.branches.outputs, maps, (1,) * scale.dims)
        self.factor = factor
        self.rectified = rectified

    def forward(self, x: Tensor) -> Tensor:
        """Return the corrected maps, as many as came."""
        y: Tensor = x + self.factor * self.project(self.branches(x))
        return functional.relu(y) if self.rectified else y


class InceptionResNetV2(Network):
    """Stem, residual modules on three grids, mean of every map, one fully connected layer."""

    config_type = Config
    task = "classification"

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        self.least = (LEAST_SMALL if c.small_input else LEAST,) * spatial_dims
        scale = Scale(spatial_dims, c.width)
        self.stem = Branch(scale, in_channels, stem(small_input=c.small_input))
        entry = Branches(scale, self.stem.outputs, ENTRY)
        self.blocks = nn.Sequential()
        self.blocks.add_module("entry", entry)
        maps = entry.outputs
        for grid, letter in enumerate("abc"):
            for i in range(1, c.blocks[grid] + 1):
                last = grid == 2 and i == c.blocks[grid]
                factor = 1.0 if last else c.scales[grid]
                module = Residual(scale, maps, RESIDUALS[grid], factor, rectified=not last)
                self.blocks.add_module(f"{letter}{i}", module)
            if grid < 2:
                reduction = Branches(scale, maps, REDUCTIONS[grid])
                self.blocks.add_module(f"reduction_{letter}", reduction)
                maps = reduction.outputs
        self.final = ConvUnit(maps, scale.maps(1536), (1,) * spatial_dims)
        self.classifier = MeanClassifier(spatial_dims, scale.maps(1536), out_channels, c.dropout)
        initialise(self, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K)."""
        self.check_input(x)
        logits: Tensor = self.classifier(self.final(self.blocks(self.stem(x))))
        return logits
