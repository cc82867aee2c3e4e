"""Wavelet scattering: a two-layer network of fixed wavelets and moduli, with a read-out that learns; 2D.

Papers
    J. Bruna, S. Mallat: Invariant Scattering Convolution Networks. IEEE TPAMI 35(8):1872-1886, 2013.
    S. Mallat: Group Invariant Scattering. Communications on Pure and Applied Mathematics 65(10):1331-1398, 2012.
Form
    The coefficients of `striate.networks.layers.scattering` (two scales and eight angles to the second order: 81 per
    place, one place per 4×4 pixels), of each channel by itself. Adapted: the paper classifies by affine models of each
    class, here a linear read-out learns by gradient descent from features that are brought to mean 0 and one spread by
    what `organise` measures; or another network learns from the maps of coefficients (``classifier``).
Input
    One size (option ``input_size``), at least 2 to the power of ``scales`` + 1 per axis.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from striate import networks
from striate.core import config
from striate.core.errors import UsageError, expected
from striate.networks.layers.scattering import Scattering
from striate.networks.network import Network

AT_ONCE = 16
"""Images at a time while organising; few, so that what is between stays near the processor."""

FLOOR = 0.1
"""Part of the mean spread that is added to each: what hardly varies in a few images is not blown up."""


class Config(config.Config):
    """Options of `ScatteringNetwork`.

    Attributes
    ----------
    input_size
        Pixels per axis of every image.
    scales
        J: wavelets of widths 1 to 2^(J−1), averages over 2^J pixels.
    angles
        L: angles of the wavelets in half a turn.
    order
        1: wavelets of the image; 2: also wavelets of their moduli.
    classifier
        Name of a network for classification that learns from the maps of coefficients; a linear layer when not given.
    classifier_options
        Options of that network.
    """

    input_size: tuple[PositiveInt, ...] = (32, 32)
    scales: PositiveInt = 2
    angles: PositiveInt = 8
    order: PositiveInt = Field(2, le=2)
    classifier: str | None = None
    classifier_options: dict[str, Any] = Field(default_factory=dict)


class ScatteringNetwork(Network):
    """Scattering coefficients, brought to one spread, and a read-out.

    Raises
    ------
    UsageError
        When ``input_size`` has not two axes or is too small, or the classifier cannot be built for the maps.
    """

    config_type = Config
    task = "classification"
    dims = (2,)
    fixed_features = True
    centre: Tensor
    spread: Tensor

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        least = 2 ** (c.scales + 1)
        if len(c.input_size) != 2 or min(c.input_size) < least:
            want = f"2 numbers of at least {least} are needed for {c.scales} scales"
            raise UsageError(expected("option input_size", f"{c.input_size}", want))
        self.least = self.most = c.input_size
        self.scattering = Scattering((c.input_size[0], c.input_size[1]), c.scales, c.angles, c.order)
        shape = (in_channels * self.scattering.channels, *self.scattering.places)
        count = shape[0] * shape[1] * shape[2]
        self.register_buffer("centre", torch.zeros(count))
        self.register_buffer("spread", torch.ones(count))
        self.readout = _linear(count, out_channels) if c.classifier is None else _network(shape, out_channels, c)

    @property
    def output_weights(self) -> tuple[float, ...]:
        """Weight of each training output in the total error: those of the classifier."""
        last = self.readout[-1] if isinstance(self.readout, nn.Sequential) else None
        return last.output_weights if isinstance(last, Network) else (1.0,)

    @torch.no_grad()
    def organise(self, images: Tensor, generator: torch.Generator) -> None:
        """Measure mean and spread of each feature over the images (N, C, I, J); nothing is drawn."""
        self.check_input(images)
        starts = range(0, len(images), AT_ONCE)
        coefficients = torch.cat([self.scattering(images[i : i + AT_ONCE]).flatten(1) for i in starts])
        spread = coefficients.std(0, correction=0)
        self.centre.copy_(coefficients.mean(0))
        self.spread.copy_(spread + FLOOR * spread.mean() + torch.finfo(spread.dtype).tiny)

    def features(self, x: Tensor) -> Tensor:
        """Return the coefficients (B, F) of (B, C, I, J), standardised with what `organise` measured."""
        self.check_input(x)
        coefficients: Tensor = self.scattering(x).flatten(1)
        return (coefficients - self.centre) / self.spread

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, K); while training, the list of a classifier that gives one."""
        logits: Tensor | list[Tensor] = self.readout(self.features(x))
        return logits


def _linear(features: int, classes: int) -> nn.Module:
    """Return a linear layer with weights drawn from a normal distribution of 0.01, biases 0."""
    layer = nn.Linear(features, classes)
    if not layer.weight.is_meta:
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)
    return layer


def _network(shape: tuple[int, ...], classes: int, c: Config) -> nn.Module:
    """Return the network ``classifier`` for maps of `shape` (C, I, J).

    Raises
    ------
    UsageError
        When it is unknown, not for classification, of fixed features itself, or does not take the maps.
    """
    name = str(c.classifier)
    kind = networks.load(name)
    if kind.task != "classification" or kind.fixed_features:
        want = "a network for classification that learns all of its layers is needed"
        raise UsageError(expected("option classifier", f"{name}", want))
    options = networks.sized(name, shape[1:], c.classifier_options)
    network = networks.create(name, spatial_dims=2, in_channels=shape[0], out_channels=classes, **options)
    if network.fitting(shape[1:]) != shape[1:]:
        want = f"it takes {network.fitting(shape[1:])}"
        hint = "Fewer scales or a larger input_size give larger maps."
        raise UsageError(expected(f"option classifier: {name}", f"maps of {shape[1:]}", want, hint))
    return nn.Sequential(nn.Unflatten(1, shape), network)
