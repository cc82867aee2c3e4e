"""What every network promises, whatever its architecture."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from striate.core.config import Config
from striate.core.errors import UsageError, expected
from striate.core.task_kind import TaskKind


class Network(nn.Module, abc.ABC):
    """A network for images of one kind; what goes in and comes out is decided by its `task`.

    ================  ======================  ==========================================================
    task              in                      out
    ================  ======================  ==========================================================
    segmentation      (B, C, *S)              logits (B, K, *S), each side shorter by `margin`
    classification    (B, C, *S)              logits (B, K)
    reconstruction    (B, C, *S)              the image (B, C, *S)
    sequence          (B, T, C, *S)           logits (B, T, K): of each image, with what it saw before (and after)
    ================  ======================  ==========================================================

    While training, ``forward`` may give a list of such outputs, the main one first: heads of deep supervision, auxiliary
    classifiers. In ``eval()`` it always gives one tensor.

    Sizes that fit are ``least + i · divisor``, i = 0, 1, 2 … per axis, up to `most`.

    Attributes
    ----------
    config_type
        The options of the architecture, with its defaults: those of the paper.
    task
        See above.
    dims
        The numbers of spatial axes that the architecture exists for.
    divisor
        Step between the input sizes that fit, per axis.
    least
        The smallest input size, per axis.
    most
        The largest input size per axis, or None where any is possible; equal to `least` for networks of one size, whose
        ``Config`` then has a field ``input_size``.
    margin
        Voxels that a segmentation loses on each side of each axis (unpadded convolutions).
    output_strides
        Per output and per axis, input voxels per output voxel (segmentation only).
    output_weights
        Weight of each training output in the total error.
    fixed_features
        True: all layers but `readout` are not learned by gradient descent. Such a network has ``features(x)`` → (B, F),
        so that they are computed once, and ``readout`` (a module), which learns.
    """

    config_type: ClassVar[type[Config]]
    task: ClassVar[TaskKind] = "segmentation"
    dims: ClassVar[tuple[int, ...]] = (2, 3)
    fixed_features: ClassVar[bool] = False
    divisor: tuple[int, ...]
    least: tuple[int, ...]
    most: tuple[int, ...] | None
    margin: tuple[int, ...]
    output_strides: tuple[tuple[int, ...], ...]
    readout: nn.Module

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Any) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.config = c
        self.margin = (0,) * spatial_dims
        self.divisor = self.least = (1,) * spatial_dims
        self.most = None
        self.output_strides = ((1,) * spatial_dims,)

    @property
    def output_weights(self) -> tuple[float, ...]:
        """Weight of each training output in the total error; by default ½^i, made to sum to 1 (deep supervision)."""
        raw = [0.5**i for i in range(len(self.output_strides))]
        return tuple(w / sum(raw) for w in raw)

    def organise(self, images: Tensor, generator: torch.Generator) -> None:
        """Learn what is learned without a teacher, before gradient descent begins; most networks learn nothing so.

        Parameters
        ----------
        images
            Training images (N, C, *S), as `forward` takes them.
        generator
            Source of everything that is drawn.
        """

    def features(self, x: Tensor) -> Tensor:
        """Return the features (B, F) that `readout` learns from; only networks with `fixed_features` have them.

        Raises
        ------
        UsageError
            When the network has none.
        """
        raise UsageError(f"{type(self).__name__}: it has no fixed features.")

    def fitting(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Return the nearest size that fits and is not smaller than `size` (or the largest there is)."""
        grown = tuple(
            max(low, low + -(-(n - low) // step) * step)
            for n, low, step in zip(size, self.least, self.divisor, strict=True)
        )
        return grown if self.most is None else tuple(min(g, m) for g, m in zip(grown, self.most, strict=True))

    def check_input(self, x: Tensor) -> None:
        """Refuse what cannot pass through.

        Raises
        ------
        UsageError
            When the number of axes or channels is wrong, or a size does not fit; the message names the size that would
            work.
        """
        name = type(self).__name__
        lead = ("B", "T") if self.task == "sequence" else ("B",)
        if x.ndim != self.spatial_dims + len(lead) + 1 or x.shape[len(lead)] != self.in_channels:
            axes = ", ".join((*lead, str(self.in_channels), *"IJK"[: self.spatial_dims]))
            raise UsageError(expected(name, f"input of shape {tuple(x.shape)}", f"({axes}) is needed"))
        size = tuple(x.shape[len(lead) + 1 :])
        works = self.fitting(size)
        if works != size:
            raise UsageError(
                expected(name, f"input size {size}", self._needed(), f"The size {works} would work.")
            )  # fmt: skip

    def _needed(self) -> str:
        """Return which sizes fit, in words."""
        if self.most == self.least:
            return f"{self.least} is needed: the network was built for one size (option input_size)"
        if self.least == self.divisor:
            return f"multiples of {self.divisor} are needed, because the maps are halved and doubled again"
        step = f", in steps of {self.divisor}" if max(self.divisor) > 1 else ""
        return f"at least {self.least}{step} is needed"

    @abc.abstractmethod
    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return the output; see the class."""
