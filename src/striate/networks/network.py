"""What every network promises, whatever its architecture."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import torch
from torch import nn

from striate.core.config import Config
from striate.core.errors import UsageError, expected


class Network(nn.Module, abc.ABC):
    """A segmentation network: (B, C, *S) in, logits (B, K, *S) out.

    While training with deep supervision, ``forward`` gives a list of logits instead, the finest first, whose strides
    are `output_strides`; otherwise (and always in ``eval()``) one tensor.

    Attributes
    ----------
    config_type
        The options of the architecture, with its defaults.
    divisor
        Input sizes must be multiples of these, per axis.
    output_strides
        Per output and per axis, input voxels per output voxel.
    """

    config_type: ClassVar[type[Config]]
    divisor: tuple[int, ...]
    output_strides: tuple[tuple[int, ...], ...]

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Any) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.config = c

    def check_input(self, x: torch.Tensor) -> None:
        """Refuse what cannot pass through.

        Raises
        ------
        UsageError
            When the number of axes or channels is wrong, or a size is not a multiple of `divisor`; the message names
            the size that would work.
        """
        name = type(self).__name__
        if x.ndim != self.spatial_dims + 2 or x.shape[1] != self.in_channels:
            axes = ", ".join(("B", str(self.in_channels), *"IJK"[: self.spatial_dims]))
            raise UsageError(expected(name, f"input of shape {tuple(x.shape)}", f"({axes}) is needed"))
        size = tuple(x.shape[2:])
        if any(n % d for n, d in zip(size, self.divisor, strict=True)):
            works = tuple(-(-n // d) * d for n, d in zip(size, self.divisor, strict=True))
            raise UsageError(
                expected(name, f"input size {size}", f"multiples of {self.divisor} are needed, because the maps are"
                         " halved and doubled again", f"The size {works} would work.")
            )  # fmt: skip

    @abc.abstractmethod
    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return logits; see the class."""
