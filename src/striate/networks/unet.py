"""U-Net in the plain-convolution form of nnU-Net v2, 2D and 3D.

Papers
    O. Ronneberger, P. Fischer, T. Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation. MICCAI 2015.
    F. Isensee et al.: nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation.
    Nature Methods 18:203-211, 2021.
Form
    Written from the published description; layer for layer the network that nnU-Net v2 calls PlainConvUNet, so that
    parameters and multiply-accumulates are equal to the unit (tests assert six of its published plans).
Input
    Each size a multiple of the product of the strides along its axis (`divisor`).
"""

from __future__ import annotations

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import nn

from striate.core import config
from striate.core.counted import counted
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


class Config(config.Config):
    """Options of `UNet`.

    Attributes
    ----------
    features
        Feature maps per stage, finest first; its length is the number of stages.
    strides
        Stride of the first convolution of each stage, for all axes or per axis; 2 where not given, 1 in the first.
    kernels
        Kernel size of each stage, for all axes or per axis; 3 where not given. nnU-Net takes 1 along thick slices.
    convs_per_stage
        Convolutions in each stage of encoder and decoder; several numbers are those of the encoder, finest first.
    decoder_convs
        Convolutions in each stage of the decoder, finest first, where they are not those of the encoder's.
    deep_supervision
        While training, predict at every stage of the decoder.
    norm
        ``instance`` (per case and map) or ``batch`` (running statistics when predicting), as nnU-Net's trainer BN has it.
    norm_eps
        Added to the variance. nnU-Net's 1e-5 is kept; blank tiles are then
        ill-conditioned (DESIGN of `small_unet` uses 1e-3).
    negative_slope
        Of the leaky rectifier.
    """

    features: tuple[PositiveInt, ...] = Field((32, 64, 128, 256, 320, 320), min_length=2)
    strides: tuple[PerAxis, ...] | None = None
    kernels: tuple[PerAxis, ...] | None = None
    convs_per_stage: PositiveInt | tuple[PositiveInt, ...] = 2
    decoder_convs: tuple[PositiveInt, ...] | None = None
    deep_supervision: bool = True
    norm: Norm = "instance"
    norm_eps: PositiveFloat = 1e-5
    negative_slope: float = Field(0.01, ge=0, lt=1)

    @model_validator(mode="after")
    def _one_per_stage(self) -> Config:
        refuse_other_lengths(self.features, self, "strides", "kernels", "convs_per_stage")
        refuse_other_lengths(self.features[1:], self, "decoder_convs")
        return self

    def convs(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the convolutions per stage of encoder and decoder, finest first."""
        stages, given = len(self.features), self.convs_per_stage
        encoder = (given,) * stages if isinstance(given, int) else given
        return encoder, self.decoder_convs or encoder[:-1]


def refuse_other_lengths(features: tuple[int, ...], c: config.Config, *options: str) -> None:
    """Refuse options of several numbers that are not as many as `features`, those of the stages that they are for.

    Raises
    ------
    ValueError
        Which pydantic turns into a sentence on the options.
    """
    for option in options:
        given = getattr(c, option)
        if isinstance(given, tuple) and len(given) != len(features):
            entries = counted(len(given), "entry", "entries")
            raise ValueError(f"{option} has {entries}, features has {len(features)} of such stages")


class ConvNormAct(nn.Sequential):
    """Convolution with bias, normalisation, leaky rectifier."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, ...],
        stride: tuple[int, ...] | int,
        norm: Norm,
        eps: float,
        slope: float,
    ) -> None:
        super().__init__(
            conv(inputs, outputs, kernel, stride),
            normalisation(norm, len(kernel), outputs, eps),
            nn.LeakyReLU(slope, inplace=True),
        )


class Stage(nn.Sequential):
    """Some convolutions at one resolution; the first may stride."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, ...],
        stride: tuple[int, ...] | int,
        convs: int,
        c: Config,
    ) -> None:
        super().__init__(
            *(
                ConvNormAct(
                    inputs if i == 0 else outputs,
                    outputs,
                    kernel,
                    stride if i == 0 else 1,
                    c.norm,
                    c.norm_eps,
                    c.negative_slope,
                )
                for i in range(convs)
            )
        )


class UNet(Network):
    """Encoder, decoder, and a skip from each stage of the one to its mirror in the other.

    Raises
    ------
    UsageError
        When strides or kernels do not give one number per axis.
    """

    config_type = Config

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        stages = len(c.features)
        strides = per_stage(c.strides or (1, *(2,) * (stages - 1)), stages, spatial_dims, "strides")
        kernels = per_stage(c.kernels or (3,) * stages, stages, spatial_dims, "kernels")
        every = cumulative(strides)
        self.divisor = self.least = every[-1]
        self.output_strides = tuple(every[:-1]) if c.deep_supervision else tuple(every[:1])
        inputs, (down, back) = (in_channels, *c.features), c.convs()
        self.encoder = nn.ModuleList(
            Stage(inputs[i], f, kernels[i], strides[i], down[i], c) for i, f in enumerate(c.features)
        )
        finer = range(stages - 2, -1, -1)  # the decoder goes from coarse to fine
        self.up = nn.ModuleList(enlarging_conv(c.features[i + 1], c.features[i], strides[i + 1]) for i in finer)
        self.decoder = nn.ModuleList(Stage(2 * c.features[i], c.features[i], kernels[i], 1, back[i], c) for i in finer)
        pointwise = (1,) * spatial_dims
        self.heads = nn.ModuleList(
            conv(c.features[i], out_channels, pointwise) for i in finer if i == 0 or c.deep_supervision
        )
        self.deep_supervision = c.deep_supervision
        initialise(self, c.negative_slope)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return logits (B, K, *S); with deep supervision while training, a list, the finest first."""
        self.check_input(x)
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
