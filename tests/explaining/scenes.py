"""Scenes that can be computed by hand: networks with known weights and images on a plain grid."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from striate.core.image import Grid, Image, to_ras
from striate.data.prepare import Preparation, Prepared, prepare_images
from striate.explaining.scene import Scene
from striate.explaining.score import Score, Tile


def plain(array) -> Prepared:
    """Return `array` (C, *shape) as a prepared case on its own grid."""
    array = np.asarray(array, dtype=np.float32)
    grid = Grid(array.shape[1:], np.eye(4))
    turn, _ = to_ras(grid)
    return Prepared(array, None, grid, grid, grid, turn, tuple(slice(0, n) for n in grid.shape), "c")


def scene_of(network: nn.Module, array, inside, channel: int = 0, *, exclusive: bool = False, tiles=None) -> Scene:
    """Return the scene of one channel over `inside`, in one window (or in `tiles`)."""
    prepared = plain(array)
    size = prepared.grid.shape
    inside = np.asarray(inside, dtype=bool)
    if tiles is None:
        tiles = [Tile(tuple(slice(0, n) for n in size), torch.from_numpy(inside.astype(np.float32)))]
    score = Score(network, tiles, channel, exclusive=exclusive)
    return Scene._of(score, prepared, (0,) * len(size), prepared.array, inside, 1.0)


class Linear(nn.Module):
    """The logit of each voxel is a weighted sum over channels: w · x + 1."""

    def __init__(self, weights) -> None:
        super().__init__()
        self.weights = torch.as_tensor(weights, dtype=torch.float32)

    def forward(self, x):
        shape = (1, -1, *(1,) * (x.ndim - 2))
        return (x * self.weights.reshape(shape)).sum(1, keepdim=True) + 1


def conv(weight, bias=0.0) -> nn.Module:
    """Return a convolution with the given (out, in, *kernel) weight, the image padded with 0."""
    weight = torch.as_tensor(weight, dtype=torch.float32)
    made = {4: nn.Conv2d, 5: nn.Conv3d}[weight.ndim]
    layer = made(weight.shape[1], weight.shape[0], weight.shape[2:], padding="same")
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.fill_(bias)
    return layer


def prepared_from(image: Image, spacing_mm, *, crop: bool = True) -> Prepared:
    """Prepare one channel as it is, cut and resampled."""
    preparation = Preparation(spacing_mm=spacing_mm, normalisation=("none",), intensities=(None,), crop=crop)
    return prepare_images([image], preparation, "c")
