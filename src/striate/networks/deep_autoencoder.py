"""Deep autoencoder of fully connected layers, learned greedily layer by layer before gradient descent; 2D and 3D.

Papers
    G. E. Hinton, R. R. Salakhutdinov: Reducing the Dimensionality of Data with Neural Networks. Science 313:504-507,
    2006.
Form
    784-1000-500-250-30 and its mirror, logistic units but for a linear code, as in the paper. Each pair of layers starts
    as a restricted Boltzmann machine (`organise`); its weights start the encoder and, transposed, the decoder, which
    then learn apart. The paper's fine-tuning minimises the cross-entropy by conjugate gradients; here the training loop
    decides. With ``output: linear`` the first machine has linear visible units.
Input
    One size, `input_size`; any number of channels. `out_channels` plays no part: the output is the image.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from striate.core import config
from striate.core.errors import UsageError, expected
from striate.networks.layers.rbm import learn
from striate.networks.network import Network


class Config(config.Config):
    """Options of `DeepAutoencoder`.

    Attributes
    ----------
    input_size
        Voxels along each axis of the one size that the network takes.
    layers
        Units of the encoder's layers; the last is the code. The decoder mirrors them.
    tied
        The decoder uses the encoder's weights, transposed, with biases of its own.
    output
        Activation of the output: ``sigmoid`` for images in 0 … 1, ``linear`` for z-scored scans.
    pretraining
        ``rbm``: learn each layer without a teacher before gradient descent begins; ``none``: start from random weights.
    pretraining_epochs
        Passes over the training images, per layer.
    """

    input_size: tuple[PositiveInt, ...] = (28, 28)
    layers: tuple[PositiveInt, ...] = Field((1000, 500, 250, 30), min_length=1)
    tied: bool = False
    output: Literal["sigmoid", "linear"] = "sigmoid"
    pretraining: Literal["rbm", "none"] = "rbm"
    pretraining_epochs: NonNegativeInt = 50


class Mirror(nn.Module):
    """A layer that applies the transpose of another layer's weights and has a bias of its own."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return (B, outputs) from `x` (B, inputs) and `weight` (inputs, outputs)."""
        return functional.linear(x, weight.t(), self.bias)


class DeepAutoencoder(Network):
    """Fully connected encoder to a code of a few numbers, and its mirror.

    Attributes
    ----------
    encoder
        The module (B, C, *S) → code (B, layers[-1]), whose weights can start another network
        (`striate.model.transfer`).

    Raises
    ------
    UsageError
        When `input_size` does not give one number per axis.
    """

    config_type = Config
    task = "reconstruction"

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        if len(c.input_size) != spatial_dims:
            came = f"{tuple(c.input_size)}"
            raise UsageError(
                expected("option input_size", came, f"one number for each of {spatial_dims} axes is needed")
            )
        self.least = self.most = c.input_size
        self.tied = c.tied
        units = (in_channels * math.prod(c.input_size), *c.layers)
        down: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(units):
            down += [nn.Linear(inputs, outputs), nn.Sigmoid()]
        self.encoder = nn.Sequential(*down[:-1])  # the code is linear
        mirrored = tuple(pairwise(units[::-1]))
        self.decoder = nn.ModuleList(Mirror(o) if c.tied else nn.Linear(i, o) for i, o in mirrored)
        for layer in self.modules():
            if isinstance(layer, nn.Linear) and not layer.weight.is_meta:
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def encode(self, x: Tensor) -> Tensor:
        """Return the code (B, layers[-1])."""
        self.check_input(x)
        code: Tensor = self.encoder(x)
        return code

    def forward(self, x: Tensor) -> Tensor:
        """Return the image (B, C, *S), reconstructed."""
        y = self.encode(x)
        last = len(self.decoder) - 1
        for i, (layer, twin) in enumerate(zip(self.decoder, self._encoding()[::-1], strict=True)):
            y = layer(y, twin.weight) if self.tied else layer(y)
            if i < last or self.config.output == "sigmoid":
                y = y.sigmoid()
        return y.reshape(x.shape)

    @torch.no_grad()
    def organise(self, images: Tensor, generator: torch.Generator) -> None:
        """Learn one restricted Boltzmann machine per layer, each from the means of the one before it.

        Parameters
        ----------
        images
            Training images (N, C, *S).
        generator
            Source of everything that is drawn.
        """
        if self.config.pretraining == "none":
            return
        self.check_input(images)
        data, layers = images.flatten(1), self._encoding()
        for i, (layer, mirror) in enumerate(zip(layers, self._decoding()[::-1], strict=True)):
            machine, data = learn(
                data,
                layer.out_features,
                self.config.pretraining_epochs,
                generator,
                visible="linear" if i == 0 and self.config.output == "linear" else "logistic",
                kind="linear" if i == len(layers) - 1 else "logistic",
            )
            layer.weight.copy_(machine.weights)
            layer.bias.copy_(machine.hidden_bias)
            mirror.bias.copy_(machine.visible_bias)
            if isinstance(mirror, nn.Linear):
                mirror.weight.copy_(machine.weights.T)

    def _encoding(self) -> list[nn.Linear]:
        """Return the encoder's layers, from the image to the code."""
        return [layer for layer in self.encoder if isinstance(layer, nn.Linear)]

    def _decoding(self) -> list[nn.Linear | Mirror]:
        """Return the decoder's layers, from the code to the image."""
        return [layer for layer in self.decoder if isinstance(layer, (nn.Linear, Mirror))]
