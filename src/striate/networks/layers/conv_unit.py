"""`ConvUnit`: convolution, batch normalisation, rectifier, the unit of which the Inception networks are made."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from striate.networks.layers.batch_norm import BatchNorm
from striate.networks.layers.spatial import PerAxis, conv

EPS = 1e-3
"""Added to the variance, as in the released code of the Inception networks."""


class ConvUnit(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU.

    Parameters
    ----------
    inputs, outputs
        Feature maps.
    kernel
        Voxels per axis; its length is the number of axes.
    stride
        For all axes or per axis.
    padded
        So that stride 1 keeps the size.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, ...], stride: PerAxis = 1, *, padded: bool = True
    ) -> None:
        layers: dict[str, nn.Module] = {
            "conv": conv(inputs, outputs, kernel, stride, bias=False, padded=padded),
            "norm": BatchNorm(outputs, eps=EPS),
            "act": nn.ReLU(inplace=True),
        }
        super().__init__(OrderedDict(layers))
