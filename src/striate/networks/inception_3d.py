"""A small network of Inception modules for nodules and lesions, 3D and 2D.

Papers
    G. Kang, K. Liu, B. Hou, N. Zhang: 3D multi-view convolutional neural networks for lung nodule classification. PLoS
    ONE 12(11):e0188290, 2017.
    C. Szegedy et al.: Going Deeper with Convolutions. CVPR 2015 (the module's proportions).
Form
    After the paper, not from it: of its 3D Inception network only what the abstract and the captions say was at hand. It
    classifies cubes around a nodule with 3D convolutions, pooling and Inception modules of one of two kinds, and one
    network takes the views of all sizes (40, 50 and 60 voxels across).
    Own: numbers of layers and maps; the inside of both modules: the first has a 5×5×5 branch as GoogLeNet, the second
    two 3×3×3 in its place as Inception-v3; maps divided as in GoogLeNet's module 3a; batch normalisation; the mean over
    the map before the classifier, so that views of any size pass through the same weights; He-normal weights.
Input
    Any size of at least 8 per axis: 2 to the power of the number of modules.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from striate.core import config
from striate.networks.layers.branches import Branches, Conv, Maximum, Scale, Step
from striate.networks.layers.conv_unit import ConvUnit
from striate.networks.layers.mean_classifier import MeanClassifier
from striate.networks.layers.pooling import max_pool
from striate.networks.layers.spatial import initialise
from striate.networks.network import Network


class Config(config.Config):
    """Options of `Inception3D`.

    Attributes
    ----------
    stem
        Feature maps of the first convolution.
    features
        Feature maps that each module makes, multiples of 16; the map is halved before each.
    module
        ``inception1``: one branch has a kernel of 5 along each axis. ``inception2``: two of 3 in its place; in 3D, a
        third less weights there.
    dropout
        Probability of leaving out a map's mean before the classifier while training.
    """

    stem: PositiveInt = 16
    features: tuple[PositiveInt, ...] = Field((64, 128, 256), min_length=1)
    module: Literal["inception1", "inception2"] = "inception1"
    dropout: float = Field(0.4, ge=0, lt=1)

    @model_validator(mode="after")
    def _divisible(self) -> Config:
        if any(n % 16 for n in self.features):
            raise ValueError(f"features are {self.features}; multiples of 16 are needed, a module divides them so")
        return self


def branches(maps: int, module: str) -> dict[str, list[Step]]:
    """Return the branches of a module of `maps`: a quarter 1×1, a half 3×3, an eighth 5×5, an eighth pooled."""
    five: list[Step] = [Conv(maps // 8, 5)] if module == "inception1" else [Conv(maps // 8, 3), Conv(maps // 8, 3)]
    return {
        "point": [Conv(maps // 4)],
        "three": [Conv(3 * maps // 8), Conv(maps // 2, 3)],
        "five": [Conv(maps // 16), *five],
        "pool": [Maximum(1, padded=True), Conv(maps // 8)],
    }


class Inception3D(Network):
    """Convolution; pooling and module, several times; the mean of each map, one linear layer."""

    config_type = Config
    task = "classification"

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        self.least = (2 ** len(c.features),) * spatial_dims
        self.stem = ConvUnit(in_channels, c.stem, (3,) * spatial_dims)
        self.stages = nn.Sequential()
        inputs = c.stem
        for maps in c.features:
            module = Branches(Scale(spatial_dims), inputs, branches(maps, c.module))
            self.stages.append(nn.Sequential(max_pool(spatial_dims, 2, 2), module))
            inputs = module.outputs
        initialise(self, 0.0)
        self.classifier = MeanClassifier(spatial_dims, inputs, out_channels, c.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K)."""
        self.check_input(x)
        logits: Tensor = self.classifier(self.stages(self.stem(x)))
        return logits
