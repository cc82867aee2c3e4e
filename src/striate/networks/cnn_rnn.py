"""Convolutional network with a recurrent one on top: it reads the slices of a scan (or its dates) in order; 2D and 3D.

Papers
    J. Donahue et al.: Long-term Recurrent Convolutional Networks for Visual Recognition and Description. CVPR 2015. On
    slices: J. Chen, L. Yang, Y. Zhang, M. Alber, D. Z. Chen: Combining Fully Convolutional and Recurrent Neural Networks
    for 3D Biomedical Image Segmentation. NIPS 2016. Cells: S. Hochreiter, J. Schmidhuber: Long Short-Term Memory. Neural
    Computation 9(8):1735-1780, 1997, with the forget gate of F. A. Gers, J. Schmidhuber, F. Cummins, Neural Computation
    12(10):2451-2471, 2000; K. Cho et al.: Learning Phrase Representations using RNN Encoder-Decoder for Statistical
    Machine Translation. EMNLP 2014.
Form
    Own design, after the idea that these papers share: one encoder for every image, a recurrent layer over what it says
    of each, one prediction per image. The encoder is small, for few images; the cells are PyTorch's, exact but for their
    second bias, and in the GRU the reset gate multiplies after the matrix product, as PyTorch and cuDNN have it.
Input
    Each size a multiple of 2^L, with L the number of `features`; any number of images.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from striate.core import config
from striate.networks.layers.pooling import max_pool
from striate.networks.layers.spatial import conv, initialise
from striate.networks.network import Network


class Config(config.Config):
    """Options of `CNNRNN`.

    Attributes
    ----------
    features
        Maps of the encoder's convolutions, finest first; each is followed by pooling that halves the image.
    cell
        ``lstm`` or ``gru``.
    hidden
        Units of the recurrent layer, per direction.
    layers
        Recurrent layers on top of each other.
    bidirectional
        Read the images in both directions; each prediction then knows what comes after, too.
    """

    features: tuple[PositiveInt, ...] = Field((16, 32, 64, 128), min_length=1)
    cell: Literal["lstm", "gru"] = "lstm"
    hidden: PositiveInt = 64
    layers: PositiveInt = 1
    bidirectional: bool = True


class CNNRNN(Network):
    """An encoder that every image passes, a recurrent network over the images, and one linear head.

    Attributes
    ----------
    encoder
        The module (B·T, C, *S) → maps, whose weights can come from another network (`striate.model.transfer`).
    """

    config_type = Config
    task = "sequence"

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        self.divisor = self.least = (2 ** len(c.features),) * spatial_dims
        stages: list[nn.Module] = []
        for inputs, outputs in pairwise((in_channels, *c.features)):
            stages += [conv(inputs, outputs, (3,) * spatial_dims), nn.ReLU(), max_pool(spatial_dims, 2, 2)]
        self.encoder = nn.Sequential(*stages)
        kind = nn.LSTM if c.cell == "lstm" else nn.GRU
        self.recurrent = kind(
            c.features[-1], c.hidden, num_layers=c.layers, batch_first=True, bidirectional=c.bidirectional
        )
        self.head = nn.Linear(c.hidden * (2 if c.bidirectional else 1), out_channels)
        initialise(self, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, T, K), one row per image."""
        self.check_input(x)
        images = x.flatten(0, 1)
        described = self.encoder(images).flatten(2).mean(2).unflatten(0, x.shape[:2])
        directions = 2 if self.recurrent.bidirectional else 1
        start = described.new_zeros(directions * self.recurrent.num_layers, x.shape[0], self.recurrent.hidden_size)
        state = (start, start) if isinstance(self.recurrent, nn.LSTM) else start  # stated, so that ONNX takes any batch
        logits: Tensor = self.head(self.recurrent(described, state)[0])
        return logits
