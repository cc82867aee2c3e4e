"""GoogLeNet, the first network of Inception modules, 2D and 3D.

Papers
    C. Szegedy et al.: Going Deeper with Convolutions. CVPR 2015.
    H.-C. Shin et al.: Deep Convolutional Neural Networks for Computer-Aided Detection. IEEE TMI 35(5):1285-1298, 2016
    (its form for small images: option ``small_input``).
Form
    The nine modules of the paper's table 1 with 5×5 branches, biases and local response normalisation, no batch
    normalisation, two auxiliary classifiers while training. Parameters and multiply-accumulates per module are asserted
    to the unit. torchvision's ``googlenet`` is another network: 3×3 in place of 5×5, batch normalisation.
    Adapted: the last mean runs over the whole map (7×7 at 224×224), and the auxiliary classifiers shrink their map to
    4×4 by a mean over windows of 5 with stride 3 where that gives 4×4 (maps of 14 to 16, as at 224×224) and by an
    adaptive mean elsewhere, so that any size of image can pass; in 3D, every kernel is as long along the third axis. The
    paper tells neither the constants of the normalisation (those of Caffe's replica are taken) nor the initial weights
    (He-normal, in the classifiers normal with 0.01; biases 0).
Input
    Any size of at least 31 per axis, 10 with ``small_input``.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from striate.core import config
from striate.networks.layers.local_response_norm import LocalResponseNorm
from striate.networks.layers.pooling import average_pool, average_pool_to, max_pool
from striate.networks.layers.spatial import conv, initialise
from striate.networks.layers.width import scaled
from striate.networks.network import Network

MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Feature maps of each module: 1×1; 1×1 before 3×3, 3×3; 1×1 before 5×5, 5×5; 1×1 after the pooling."""

AUXILIARY_WEIGHT = 0.3


class Config(config.Config):
    """Options of `GoogLeNet`.

    Attributes
    ----------
    width
        Factor on all feature maps and hidden neurons.
    auxiliary
        While training, also classify the maps of modules 4a and 4d.
    dropout
        Probability of leaving out a feature before the classifier while training.
    auxiliary_dropout
        The same in the auxiliary classifiers.
    small_input
        The form of Shin et al. for images of about 64×64: 32 filters of 5×5 with stride 1 in the first convolution in
        place of 64 of 7×7 with stride 2, and stride 1 in the pooling after it.
    """

    width: PositiveFloat = 1.0
    auxiliary: bool = True
    dropout: float = Field(0.4, ge=0, lt=1)
    auxiliary_dropout: float = Field(0.7, ge=0, lt=1)
    small_input: bool = False


class ConvReLU(nn.Sequential):
    """Convolution with bias, padded to keep the size at stride 1, and rectifier."""

    def __init__(self, spatial_dims: int, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(conv(inputs, outputs, (kernel,) * spatial_dims, stride), nn.ReLU(inplace=True))


class Inception(nn.Module):
    """Four branches that look at the same map with different fields, side by side (figure 2b)."""

    def __init__(self, spatial_dims: int, inputs: int, maps: tuple[int, ...]) -> None:
        super().__init__()
        one, before_three, three, before_five, five, pooled = maps
        self.branch1 = ConvReLU(spatial_dims, inputs, one, 1)
        self.branch3 = nn.Sequential(
            ConvReLU(spatial_dims, inputs, before_three, 1), ConvReLU(spatial_dims, before_three, three, 3)
        )
        self.branch5 = nn.Sequential(
            ConvReLU(spatial_dims, inputs, before_five, 1), ConvReLU(spatial_dims, before_five, five, 5)
        )
        self.pool = nn.Sequential(max_pool(spatial_dims, 3, 1, 1), ConvReLU(spatial_dims, inputs, pooled, 1))
        self.outputs = one + three + five + pooled

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps of all branches (B, C, *S)."""
        return torch.cat((self.branch1(x), self.branch3(x), self.branch5(x), self.pool(x)), dim=1)


class Auxiliary(nn.Module):
    """A classifier of the maps of a module in the middle, which brings gradients there."""

    def __init__(self, spatial_dims: int, inputs: int, outputs: int, c: Config) -> None:
        super().__init__()
        self.pool_exact = average_pool(spatial_dims, 5, 3)
        self.pool = average_pool_to(spatial_dims, 4)
        maps, hidden = scaled(128, c.width), scaled(1024, c.width)
        self.conv = ConvReLU(spatial_dims, inputs, maps, 1)
        self.fc1 = nn.Linear(maps * 4**spatial_dims, hidden)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(c.auxiliary_dropout)
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K)."""
        exact = all(14 <= n <= 16 for n in x.shape[2:])
        x = self.conv(self.pool_exact(x) if exact else self.pool(x))
        logits: Tensor = self.fc2(self.drop(self.act(self.fc1(torch.flatten(x, 1)))))
        return logits


class GoogLeNet(Network):
    """A stem, nine modules in three groups with poolings between, the mean of each map, one linear layer."""

    config_type = Config
    task = "classification"

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        self.least = (10 if c.small_input else 31,) * spatial_dims
        first = scaled(32 if c.small_input else 64, c.width)
        reduced, second = scaled(64, c.width), scaled(192, c.width)
        stride = 1 if c.small_input else 2
        self.stem = nn.Sequential(
            OrderedDict(
                conv1=ConvReLU(spatial_dims, in_channels, first, 5 if c.small_input else 7, stride),
                pool1=max_pool(spatial_dims, 3, stride, ceil=True),
                norm1=_norm(),
                reduce2=ConvReLU(spatial_dims, first, reduced, 1),
                conv2=ConvReLU(spatial_dims, reduced, second, 3),
                norm2=_norm(),
                pool2=max_pool(spatial_dims, 3, 2, ceil=True),
            )
        )
        inputs = second
        self.inception = nn.ModuleDict()
        self.pool = nn.ModuleDict()
        self.auxiliary = nn.ModuleDict()
        for name, maps in MODULES.items():
            if name in ("4a", "5a"):
                self.pool[name] = max_pool(spatial_dims, 3, 2, ceil=True)
            module = Inception(spatial_dims, inputs, tuple(scaled(n, c.width) for n in maps))
            self.inception[name] = module
            inputs = module.outputs
            if c.auxiliary and name in ("4a", "4d"):
                self.auxiliary[name] = Auxiliary(spatial_dims, inputs, out_channels, c)
        self.mean = average_pool_to(spatial_dims, 1)
        self.drop = nn.Dropout(c.dropout)
        self.fc = nn.Linear(inputs, out_channels)
        initialise(self, 0.0)
        _initialise_linear(self)

    @property
    def output_weights(self) -> tuple[float, ...]:
        """Weight of each training output in the total error: of the auxiliary classifiers, 0.3 each."""
        return (1.0, *(AUXILIARY_WEIGHT,) * len(self.auxiliary))

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, K); while training with auxiliary classifiers, a list, theirs after the main one."""
        self.check_input(x)
        x = self.stem(x)
        outputs = []
        for name, module in self.inception.items():
            x = module(self.pool[name](x) if name in self.pool else x)
            if self.training and name in self.auxiliary:
                outputs.append(self.auxiliary[name](x))
        logits: Tensor = self.fc(self.drop(torch.flatten(self.mean(x), 1)))
        return [logits, *outputs] if outputs else logits


def _norm() -> LocalResponseNorm:
    """Return the normalisation with the constants of Caffe's replica, whose α is that of the mean over 5 maps."""
    return LocalResponseNorm(alpha=1e-4 / 5, beta=0.75, k=1.0, window=5)


def _initialise_linear(network: nn.Module) -> None:
    """Draw He-normal weights where a rectifier follows, else normal with 0.01; biases zero; in place."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Linear) and not layer.weight.is_meta:
            if name.endswith("fc1"):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
