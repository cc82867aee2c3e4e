"""Inception-v4: fourteen modules of parallel convolutions on three grids, 2D and 3D.

Papers
    C. Szegedy, S. Ioffe, V. Vanhoucke, A. Alemi: Inception-v4, Inception-ResNet and the Impact of Residual Connections on
    Learning. AAAI 2017.
    H.-C. Shin et al.: Deep Convolutional Neural Networks for Computer-Aided Detection. IEEE TMI 35(5):1285-1298, 2016
    (its form for small images: option ``small_input``).
Form
    Block for block the paper's: parameters per block, shape of every stage and multiply-accumulates are asserted to the
    unit.
    Adapted: running statistics follow with PyTorch's momentum of 0.1, because the released 0.0003 needs very many steps;
    weights are He-normal. In 3D, a kernel 1×n or n×1 becomes one kernel along each axis (`layers.factorised`). The
    released code has an auxiliary classifier, which the paper's figures have not; there is none here.
Input
    At least 75 per axis; 23 with ``small_input``. Any size above.
"""

from __future__ import annotations

from collections import OrderedDict

from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from striate.core import config
from striate.networks.layers.branches import Average, Branch, Branches, Conv, Maximum, Scale, Step
from striate.networks.layers.factorised import Fan, Pair
from striate.networks.layers.inception_stem import LEAST, LEAST_SMALL
from striate.networks.layers.mean_classifier import MeanClassifier
from striate.networks.layers.spatial import initialise
from striate.networks.network import Network


class Config(config.Config):
    """Options of `InceptionV4`.

    Attributes
    ----------
    width
        Factor on all numbers of feature maps.
    dropout
        Probability of leaving out a map's mean before the classifier while training.
    small_input
        For images of 64 to 96 voxels: the first convolution and the first halving keep the resolution.
    """

    width: PositiveFloat = 1.0
    dropout: float = Field(0.2, ge=0, lt=1)
    small_input: bool = False


FIRST_GRID: dict[str, list[Step]] = {
    "point": [Conv(96)],
    "three": [Conv(64), Conv(96, 3)],
    "twice_three": [Conv(64), Conv(96, 3), Conv(96, 3)],
    "pool": [Average(), Conv(96)],
}
"""Inception-A."""

SECOND_GRID: dict[str, list[Step]] = {
    "point": [Conv(384)],
    "seven": [Conv(192), Pair(224, 256, 7)],
    "twice_seven": [Conv(192), Pair(192, 224, 7, backwards=True), Pair(224, 256, 7, backwards=True)],
    "pool": [Average(), Conv(128)],
}
"""Inception-B."""

THIRD_GRID: dict[str, list[Step]] = {
    "point": [Conv(256)],
    "fan": [Conv(384), Fan(256, 3)],
    "three_fan": [Conv(384), Pair(448, 512, 3, backwards=True), Fan(256, 3)],
    "pool": [Average(), Conv(256)],
}
"""Inception-C."""

BLOCKS: dict[str, dict[str, list[Step]]] = {
    **{f"a{i}": FIRST_GRID for i in range(1, 5)},
    "reduction_a": {
        "three": [Conv(384, 3, 2)],
        "twice_three": [Conv(192), Conv(224, 3), Conv(256, 3, 2)],
        "pool": [Maximum()],
    },
    **{f"b{i}": SECOND_GRID for i in range(1, 8)},
    "reduction_b": {
        "three": [Conv(192), Conv(192, 3, 2)],
        "seven": [Conv(256), Pair(256, 320, 7), Conv(320, 3, 2)],
        "pool": [Maximum()],
    },
    **{f"c{i}": THIRD_GRID for i in range(1, 4)},
}
"""The modules, by the names of the paper."""


class Stem(nn.Sequential):
    """3×299×299 → 384×35×35: three convolutions, then three times two branches."""

    def __init__(self, scale: Scale, inputs: int, *, small_input: bool) -> None:
        stride = 1 if small_input else 2
        first = Branch(scale, inputs, [Conv(32, 3, stride, padded=False), Conv(32, 3, padded=False), Conv(64, 3)])
        halving: dict[str, list[Step]] = {"pool": [Maximum(stride)], "three": [Conv(96, 3, stride, padded=False)]}
        deepening: dict[str, list[Step]] = {
            "three": [Conv(64), Conv(96, 3, padded=False)],
            "seven": [Conv(64), Pair(64, 64, 7), Conv(96, 3, padded=False)],
        }
        second = Branches(scale, first.outputs, halving)
        third = Branches(scale, second.outputs, deepening)
        fourth = Branches(scale, third.outputs, {"three": [Conv(192, 3, 2)], "pool": [Maximum()]})
        super().__init__(OrderedDict(first=first, second=second, third=third, fourth=fourth))
        self.outputs = fourth.outputs


class InceptionV4(Network):
    """Stem, modules, mean of every map, one fully connected layer."""

    config_type = Config
    task = "classification"

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        self.least = (LEAST_SMALL if c.small_input else LEAST,) * spatial_dims
        scale = Scale(spatial_dims, c.width)
        self.stem = Stem(scale, in_channels, small_input=c.small_input)
        maps = self.stem.outputs
        self.blocks = nn.Sequential()
        for name, branches in BLOCKS.items():
            block = Branches(scale, maps, branches)
            self.blocks.add_module(name, block)
            maps = block.outputs
        self.classifier = MeanClassifier(spatial_dims, maps, out_channels, c.dropout)
        initialise(self, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K)."""
        self.check_input(x)
        logits: Tensor = self.classifier(self.blocks(self.stem(x)))
        return logits
