"""A small U-Net that learns something useful in minutes on two processor cores, 2D and 3D.

Papers
    The shape is that of O. Ronneberger et al., MICCAI 2015; residual stages as K. He et al., CVPR 2016.
Form
    Own design: what was measured on two cores decided (``docs/networks/small_unet.md`` has the figures). A strided
    stem, so that no layer but the head works at full resolution; a transposed-convolution head, so that the prediction
    still is at full resolution; normalisation with an epsilon that does not amplify the noise of blank tiles.
Input
    Each size a multiple of the product of the strides along its axis (`divisor`).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import nn

from striate.core import config
from striate.core.counted import counted, is_or_are
from striate.networks.layers.instance_norm import InstanceNorm
from striate.networks.layers.spatial import (
    PerAxis,
    batch_norm,
    conv,
    cumulative,
    enlarging_conv,
    initialise,
    per_axis,
    per_stage,
)
from striate.networks.network import Network


class Config(config.Config):
    """Options of `SmallUNet`.

    Attributes
    ----------
    features
        Feature maps per stage, finest first; its length is the number of stages.
    stem
        Stride of the first convolution, for all axes or per axis: 2 halves the image before anything else happens, 1
        keeps full resolution (several times slower).
    strides
        Stride into each later stage, for all axes or per axis; 2 where not given. One entry less than `features`.
    kernels
        Kernel size of each stage, for all axes or per axis; 3 where not given.
    convs_per_stage
        Convolutions in each stage of the encoder; the decoder has one less, at least one.
    norm
        ``instance`` (per case and map) or ``batch`` (running statistics when predicting).
    norm_eps
        Added to the variance; at least 1e-3, so that a blank tile stays blank.
    deep_supervision
        While training, predict at every stage of the decoder.
    negative_slope
        Of the leaky rectifier.
    """

    features: tuple[PositiveInt, ...] = Field((16, 32, 64, 128), min_length=2)
    stem: PerAxis = 2
    strides: tuple[PerAxis, ...] | None = None
    kernels: tuple[PerAxis, ...] | None = None
    convs_per_stage: PositiveInt = 2
    norm: Literal["instance", "batch"] = "instance"
    norm_eps: float = Field(1e-3, ge=1e-3)
    deep_supervision: bool = False
    negative_slope: float = Field(0.01, ge=0, lt=1)

    @model_validator(mode="after")
    def _one_per_stage(self) -> Config:
        for option, needed in (("strides", len(self.features) - 1), ("kernels", len(self.features))):
            given = getattr(self, option)
            if given is not None and len(given) != needed:
                raise ValueError(
                    f"{option} has {counted(len(given), 'entry', 'entries')}, {needed} {is_or_are(needed)} needed for"
                    f" {counted(len(self.features), 'feature')}"
                )
        return self


class Stage(nn.Module):
    """Convolution, normalisation and rectifier, several times; from the second on, the input is added."""

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, ...], stride: tuple[int, ...] | int, convs: int, c: Config
    ) -> None:
        super().__init__()
        strides = (stride, *(1,) * (convs - 1))
        sizes = (inputs, *(outputs,) * (convs - 1))
        self.convs = nn.ModuleList(conv(n, outputs, kernel, s, bias=False) for n, s in zip(sizes, strides, strict=True))
        self.norms = nn.ModuleList(_norm(len(kernel), outputs, c) for _ in range(convs))
        self.act = nn.LeakyReLU(c.negative_slope, inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the stage's maps."""
        first, last = None, len(self.convs) - 1
        for i, (layer, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = norm(layer(x))
            if i == last and first is not None:
                x = x + first
            x = self.act(x)
            first = x if first is None else first
        return x


def _norm(dims: int, features: int, c: Config) -> nn.Module:
    """Return the normalisation."""
    if c.norm == "batch":
        return batch_norm(dims, features, c.norm_eps)
    return InstanceNorm(features, c.norm_eps)


class SmallUNet(Network):
    """Strided stem, encoder, decoder with skips, and a head that brings the logits back to full resolution.

    Raises
    ------
    UsageError
        When stem, strides or kernels do not give one number per axis.
    """

    config_type = Config

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        stages = len(c.features)
        stem = per_axis(c.stem, spatial_dims, "stem")
        strides = [stem, *per_stage(c.strides or (2,) * (stages - 1), stages - 1, spatial_dims, "strides")]
        kernels = per_stage(c.kernels or (3,) * stages, stages, spatial_dims, "kernels")
        every = cumulative(strides)
        self.divisor = self.least = every[-1]
        self.deep_supervision = c.deep_supervision
        self.output_strides = ((1,) * spatial_dims, *(every[1:-1] if c.deep_supervision else ()))
        inputs = (in_channels, *c.features)
        self.encoder = nn.ModuleList(
            Stage(inputs[i], f, kernels[i], strides[i], c.convs_per_stage, c) for i, f in enumerate(c.features)
        )
        finer = range(stages - 2, -1, -1)  # the decoder goes from coarse to fine
        self.up = nn.ModuleList(enlarging_conv(c.features[i + 1], c.features[i], strides[i + 1]) for i in finer)
        convs = max(1, c.convs_per_stage - 1)
        self.decoder = nn.ModuleList(Stage(2 * c.features[i], c.features[i], kernels[i], 1, convs, c) for i in finer)
        self.head = enlarging_conv(c.features[0], out_channels, stem)
        pointwise = (1,) * spatial_dims
        self.coarse_heads = nn.ModuleList(
            conv(c.features[i], out_channels, pointwise) for i in finer if i > 0 and c.deep_supervision
        )
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
            if several and depth < len(self.coarse_heads):
                outputs.append(self.coarse_heads[depth](x))
        if torch.is_inference_mode_enabled() and not torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            # the same numbers; with 120 classes in bf16 nine times as fast as from maps that lie one behind the other
            x = x.contiguous(memory_format=torch.channels_last_3d if x.ndim == 5 else torch.channels_last)
        finest = self.head(x)
        return [finest, *outputs[::-1]] if several else finest
