"""U-Net with a residual encoder, the form that nnU-Net v2 calls ResidualEncoderUNet (its presets M, L and XL), 2D and 3D.

Papers
    F. Isensee et al.: nnU-Net Revisited: A Call for Rigorous Validation in 3D Medical Image Segmentation. MICCAI 2024.
    The block: K. He et al.: Deep Residual Learning for Image Recognition, CVPR 2016; its shortcut: T. He et al.: Bag of
    Tricks for Image Classification with Convolutional Neural Networks, CVPR 2019 (ResNet-D).
Form
    Layer for layer that network, so that parameters and multiply-accumulates are equal to the unit: a stem convolution,
    stages of 1, 3, 4, 6, 6, 6 … residual blocks, and a decoder with one convolution per stage. The presets differ in
    patch and batch only.
Input
    Each size a multiple of the product of the strides along its axis (`divisor`).
"""

from __future__ import annotations

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import nn

from striate.core import config
from striate.networks.layers.pooling import average_pool
from striate.networks.layers.spatial import (
    Norm,
    PerAxis,
    conv,
    cumulative,
    enlarging_conv,
    initialise,
    normalisation,
    per_stage,
)
from striate.networks.network import Network
from striate.networks.unet import ConvNormAct, refuse_other_lengths

BLOCKS = (1, 3, 4, 6)
"""Residual blocks of the first stages; later ones have as many as the last."""


class Config(config.Config):
    """Options of `ResidualUNet`.

    Attributes
    ----------
    features
        Feature maps per stage, finest first; its length is the number of stages.
    blocks
        Residual blocks per stage of the encoder; 1, 3, 4, 6, 6, 6 … where not given.
    strides
        Stride of the first convolution of each stage, for all axes or per axis; 2 where not given, 1 in the first.
    kernels
        Kernel size of each stage, for all axes or per axis; 3 where not given. nnU-Net takes 1 along thick slices.
    convs_per_stage
        Convolutions in each stage of the decoder; several numbers: finest first.
    deep_supervision
        While training, predict at every stage of the decoder.
    norm
        ``instance`` (per case and map) or ``batch`` (running statistics when predicting), as nnU-Net's trainer BN has it.
    norm_eps
        Added to the variance.
    negative_slope
        Of the leaky rectifier.
    """

    features: tuple[PositiveInt, ...] = Field((32, 64, 128, 256, 320, 320), min_length=2)
    blocks: tuple[PositiveInt, ...] | None = None
    strides: tuple[PerAxis, ...] | None = None
    kernels: tuple[PerAxis, ...] | None = None
    convs_per_stage: PositiveInt | tuple[PositiveInt, ...] = 1
    deep_supervision: bool = True
    norm: Norm = "instance"
    norm_eps: PositiveFloat = 1e-5
    negative_slope: float = Field(0.01, ge=0, lt=1)

    @model_validator(mode="after")
    def _one_per_stage(self) -> Config:
        refuse_other_lengths(self.features, self, "blocks", "strides", "kernels")
        refuse_other_lengths(self.features[1:], self, "convs_per_stage")
        return self


class Block(nn.Module):
    """Two convolutions whose result is added to the input; the shortcut averages where they stride, projects where needed."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, ...], stride: tuple[int, ...], c: Config) -> None:
        super().__init__()
        dims = len(kernel)
        self.first = ConvNormAct(inputs, outputs, kernel, stride, c.norm, c.norm_eps, c.negative_slope)
        self.second = nn.Sequential(conv(outputs, outputs, kernel), normalisation(c.norm, dims, outputs, c.norm_eps))
        self.act = nn.LeakyReLU(c.negative_slope, inplace=True)
        shortcut: list[nn.Module] = []
        if max(stride) > 1:
            shortcut.append(average_pool(dims, stride, stride))
        if inputs != outputs:
            shortcut.append(conv(inputs, outputs, (1,) * dims, bias=False))
            shortcut.append(normalisation(c.norm, dims, outputs, c.norm_eps))
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's maps."""
        out: torch.Tensor = self.act(self.second(self.first(x)) + self.shortcut(x))
        return out


class ResidualUNet(Network):
    """Residual encoder, plain decoder, and a skip from each stage of the one to its mirror in the other.

    Raises
    ------
    UsageError
        When strides or kernels do not give one number per axis.
    """

    config_type = Config

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        stages, f = len(c.features), c.features
        strides = per_stage(c.strides or (1, *(2,) * (stages - 1)), stages, spatial_dims, "strides")
        kernels = per_stage(c.kernels or (3,) * stages, stages, spatial_dims, "kernels")
        blocks = c.blocks or tuple(BLOCKS[min(i, len(BLOCKS) - 1)] for i in range(stages))
        every = cumulative(strides)
        self.divisor = self.least = every[-1]
        self.output_strides = tuple(every[:-1]) if c.deep_supervision else tuple(every[:1])
        self.stem = ConvNormAct(in_channels, f[0], kernels[0], 1, c.norm, c.norm_eps, c.negative_slope)
        self.encoder = nn.ModuleList(
            _stage(f[max(i - 1, 0)], f[i], kernels[i], strides[i], blocks[i], c) for i in range(stages)
        )
        finer = range(stages - 2, -1, -1)  # the decoder goes from coarse to fine
        self.up = nn.ModuleList(enlarging_conv(f[i + 1], f[i], strides[i + 1]) for i in finer)
        back = c.convs_per_stage if isinstance(c.convs_per_stage, tuple) else (c.convs_per_stage,) * stages
        self.decoder = nn.ModuleList(_decoder(f[i], kernels[i], back[i], c) for i in finer)
        pointwise = (1,) * spatial_dims
        self.heads = nn.ModuleList(conv(f[i], out_channels, pointwise) for i in finer if i == 0 or c.deep_supervision)
        self.deep_supervision = c.deep_supervision
        self._initialise()

    def _initialise(self) -> None:
        """Draw He-normal weights; each block begins as its shortcut, because its last normalisation scales by zero."""
        initialise(self, self.config.negative_slope)
        for block in self.modules():
            if isinstance(block, Block):
                scale, _ = block.second[1].parameters()
                nn.init.zeros_(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return logits (B, K, *S); with deep supervision while training, a list, the finest first."""
        self.check_input(x)
        x = self.stem(x)
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        outputs = []
        several = self.deep_supervision and self.training
        for depth, (up, stage) in enumerate(zip(self.up, self.decoder, strict=True)):
            x = stage(torch.cat((up(x), skips[-depth - 2]), dim=1))
            if several:
                outputs.append(self.heads[depth](x))
        return outputs[::-1] if several else self.heads[-1](x)


def _stage(
    inputs: int, outputs: int, kernel: tuple[int, ...], stride: tuple[int, ...], blocks: int, c: Config
) -> nn.Sequential:
    """Return the residual blocks of one stage; the first may stride."""
    once = (1,) * len(kernel)
    return nn.Sequential(
        *(Block(outputs if i else inputs, outputs, kernel, once if i else stride, c) for i in range(blocks))
    )


def _decoder(features: int, kernel: tuple[int, ...], convs: int, c: Config) -> nn.Sequential:
    """Return the convolutions of one stage of the decoder."""
    return nn.Sequential(
        *(
            ConvNormAct(features if i else 2 * features, features, kernel, 1, c.norm, c.norm_eps, c.negative_slope)
            for i in range(convs)
        )
    )
