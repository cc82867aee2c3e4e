"""Inception-v3: eleven modules of parallel convolutions on three grids, with an auxiliary classifier, 2D and 3D.

Papers
    C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna: Rethinking the Inception Architecture for Computer Vision.
    CVPR 2016.
    H.-C. Shin et al.: Deep Convolutional Neural Networks for Computer-Aided Detection. IEEE TMI 35(5):1285-1298, 2016
    (its form for small images: option ``small_input``).
Form
    Block for block the network that the authors released, which torchvision and timm have too: parameters per block,
    shape of every stage and multiply-accumulates are asserted to the unit. It keeps a 5×5 convolution in each module of
    the first grid, where the paper's text has two of 3×3. The auxiliary classifier sees the last module of the second
    grid, counts 0.4 in the total error (released code) and is not run when predicting.
    Adapted: running statistics follow with PyTorch's momentum of 0.1, because the released 0.0003 needs very many steps;
    weights are He-normal. In 3D, a kernel 1×n or n×1 becomes one kernel along each axis (`layers.factorised`).
Input
    At least 299 per axis, because the auxiliary classifier needs a map of 17; 75 without it. With ``small_input``, where
    the auxiliary classifier pads, 31, and 23 without it. Any size above.
"""

from __future__ import annotations

from collections import OrderedDict

from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from striate.core import config
from striate.networks.layers.branches import Average, Branch, Branches, Conv, Maximum, Scale, Step
from striate.networks.layers.conv_unit import ConvUnit
from striate.networks.layers.factorised import Fan, Pair
from striate.networks.layers.inception_stem import LEAST, LEAST_SMALL, stem
from striate.networks.layers.mean_classifier import MeanClassifier
from striate.networks.layers.pooling import average_pool
from striate.networks.layers.spatial import initialise
from striate.networks.network import Network

AUXILIARY_WEIGHT = 0.4
"""Of the auxiliary classifier in the total error: the released training code (the paper gives none)."""


class Config(config.Config):
    """Options of `InceptionV3`.

    Attributes
    ----------
    width
        Factor on all numbers of feature maps.
    dropout
        Probability of leaving out a map's mean before the classifier while training. 0.2 is the released code's;
        torchvision takes 0.5.
    auxiliary
        While training, classify after the second grid too.
    small_input
        For images of 64 to 96 voxels: the first convolution and the first pooling keep the resolution.
    """

    width: PositiveFloat = 1.0
    dropout: float = Field(0.2, ge=0, lt=1)
    auxiliary: bool = True
    small_input: bool = False


def first_grid(pooled: int) -> dict[str, list[Step]]:
    """Return the branches of 5b, 5c and 5d; `pooled` maps come from the pooling."""
    return {
        "point": [Conv(64)],
        "five": [Conv(48), Conv(64, 5)],
        "three": [Conv(64), Conv(96, 3), Conv(96, 3)],
        "pool": [Average(), Conv(pooled)],
    }


def second_grid(between: int) -> dict[str, list[Step]]:
    """Return the branches of 6b to 6e: 7×7 factorised once and twice, with `between` maps on the way."""
    return {
        "point": [Conv(192)],
        "seven": [Conv(between), Pair(between, 192, 7)],
        "twice_seven": [
            Conv(between),
            Pair(between, between, 7, backwards=True),
            Pair(between, 192, 7, backwards=True),
        ],
        "pool": [Average(), Conv(192)],
    }


def third_grid() -> dict[str, list[Step]]:
    """Return the branches of 7b and 7c, whose 1×3 and 3×1 lie beside each other."""
    return {
        "point": [Conv(320)],
        "fan": [Conv(384), Fan(384, 3)],
        "three_fan": [Conv(448), Conv(384, 3), Fan(384, 3)],
        "pool": [Average(), Conv(192)],
    }


BLOCKS: dict[str, dict[str, list[Step]]] = {
    "5b": first_grid(32),
    "5c": first_grid(64),
    "5d": first_grid(64),
    "6a": {"three": [Conv(384, 3, 2)], "twice_three": [Conv(64), Conv(96, 3), Conv(96, 3, 2)], "pool": [Maximum()]},
    "6b": second_grid(128),
    "6c": second_grid(160),
    "6d": second_grid(160),
    "6e": second_grid(192),
    "7a": {
        "three": [Conv(192), Conv(320, 3, 2)],
        "seven": [Conv(192), Pair(192, 192, 7), Conv(192, 3, 2)],
        "pool": [Maximum()],
    },
    "7b": third_grid(),
    "7c": third_grid(),
}
"""The modules, by the names of the released code; the number is the stage, 6a and 7a halve the grid."""


class InceptionV3(Network):
    """Stem, modules, mean of every map, one fully connected layer; and the auxiliary classifier while training."""

    config_type = Config
    task = "classification"

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        with_auxiliary = (31 if c.small_input else 299) if c.auxiliary else 0
        self.least = (max(LEAST_SMALL if c.small_input else LEAST, with_auxiliary),) * spatial_dims
        scale = Scale(spatial_dims, c.width)
        self.stem = Branch(scale, in_channels, stem(small_input=c.small_input))
        maps = self.stem.outputs
        self.blocks = nn.ModuleDict()
        for name, branches in BLOCKS.items():
            block = Branches(scale, maps, branches)
            self.blocks[name] = block
            maps = block.outputs
            if name == "6e" and c.auxiliary:
                self.auxiliary = auxiliary(scale, maps, out_channels, padded=c.small_input)
        self.classifier = MeanClassifier(spatial_dims, maps, out_channels, c.dropout)
        initialise(self, 0.0)

    @property
    def output_weights(self) -> tuple[float, ...]:
        """Weight of the main and of the auxiliary classifier in the total error."""
        return (1.0, AUXILIARY_WEIGHT) if self.config.auxiliary else (1.0,)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, K); while training with ``auxiliary``, a list of the main and the auxiliary ones."""
        self.check_input(x)
        x = self.stem(x)
        side = []
        for name, block in self.blocks.items():
            x = block(x)
            if name == "6e" and self.config.auxiliary and self.training:
                side.append(self.auxiliary(x))
        logits: Tensor = self.classifier(x)
        return [logits, *side] if side else logits


def auxiliary(scale: Scale, inputs: int, classes: int, *, padded: bool) -> nn.Sequential:
    """Return the auxiliary classifier: 17×17 → 5×5 → 1×1 → logits (B, K); `padded`, maps from 5×5 on will do."""
    few, many, dims = scale.maps(128), scale.maps(768), scale.dims
    layers: dict[str, nn.Module] = {
        "pool": average_pool(dims, 5, 3),
        "reduce": ConvUnit(inputs, few, (1,) * dims),
        "five": ConvUnit(few, many, (5,) * dims, padded=padded),
        "classifier": MeanClassifier(dims, many, classes),
    }
    return nn.Sequential(OrderedDict(layers))
