"""Convolutional autoencoder, plain or denoising, 2D and 3D.

Papers
    J. Masci, U. Meier, D. Cireşan, J. Schmidhuber: Stacked Convolutional Auto-Encoders for Hierarchical Feature
    Extraction. ICANN 2011. P. Vincent, H. Larochelle, Y. Bengio, P.-A. Manzagol: Extracting and Composing Robust
    Features with Denoising Autoencoders. ICML 2008.
Form
    The usual modern form, not that of Masci et al.: strided convolutions in place of max-pooling, rectifiers in place
    of tanh, a decoder with its own weights, all layers trained at once. Noise is Gaussian and added while training; the
    error is to be taken against the clean image.
Input
    Each size a multiple of 2^L, at least `code_kernel` · 2^L, with L the number of `features`: 28, 32, 36 … by default.
    `out_channels` plays no part: the output is the image.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from striate.core import config
from striate.networks.layers.spatial import PerAxis, conv, initialise, per_axis
from striate.networks.network import Network

_TRANSPOSED: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class Config(config.Config):
    """Options of `Autoencoder`.

    Attributes
    ----------
    features
        Maps of the convolutions with stride 2, finest first; each halves the image.
    code
        Maps of the code.
    code_kernel
        Kernel of the unpadded convolution that makes the code, for all axes or per axis; 7 turns 28 × 28 into one
        vector.
    output
        Activation of the output: ``sigmoid`` for images in 0 … 1, ``linear`` for z-scored scans.
    noise
        Standard deviation of the noise added to the input while training; 0: none.
    """

    features: tuple[PositiveInt, ...] = Field((16, 32), min_length=1)
    code: PositiveInt = 64
    code_kernel: PerAxis = 7
    output: Literal["sigmoid", "linear"] = "sigmoid"
    noise: float = Field(0.0, ge=0)


class Autoencoder(Network):
    """Encoder to a small code, decoder back to the image.

    Attributes
    ----------
    encoder
        The module (B, C, *S) → code maps, whose weights can start another network (`striate.model.transfer`).

    Raises
    ------
    UsageError
        When `code_kernel` does not give one number per axis.
    """

    config_type = Config
    task = "reconstruction"

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        kernel = per_axis(c.code_kernel, spatial_dims, "code_kernel")
        step = 2 ** len(c.features)
        self.divisor = (step,) * spatial_dims
        self.least = tuple(k * step for k in kernel)
        self.noise = c.noise
        maps = (in_channels, *c.features)
        down: list[nn.Module] = []
        for inputs, outputs in pairwise(maps):
            down += [conv(inputs, outputs, (3,) * spatial_dims, 2), nn.ReLU()]
        self.encoder = nn.Sequential(*down, conv(maps[-1], c.code, kernel, padded=False), nn.ReLU())
        up: list[nn.Module] = []
        for inputs, outputs in pairwise(maps[::-1]):
            up += [nn.ReLU(), _TRANSPOSED[spatial_dims](inputs, outputs, 3, 2, 1, output_padding=1)]
        last = nn.Sigmoid() if c.output == "sigmoid" else nn.Identity()
        self.decoder = nn.Sequential(_TRANSPOSED[spatial_dims](c.code, maps[-1], kernel), *up, last)
        initialise(self, 0.0)

    def encode(self, x: Tensor) -> Tensor:
        """Return the code maps (B, code, *S / 2^L - code_kernel + 1)."""
        self.check_input(x)
        code: Tensor = self.encoder(x)
        return code

    def forward(self, x: Tensor) -> Tensor:
        """Return the image (B, C, *S), reconstructed; while training, from the image with noise."""
        if self.training and self.noise > 0 and not x.is_meta:
            x = x + self.noise * torch.randn_like(x)
        image: Tensor = self.decoder(self.encode(x))
        return image
