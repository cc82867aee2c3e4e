"""`Windows`: the windows that the cells of a smaller map see, laid side by side."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Windows(nn.Module):
    """Windows of a map whose centres are spread evenly, so that a convolution can see maps of any ratio of sizes.

    The window of cell n of `after` is centred on (n + ½) · before / after − ½, rounded; outside of the map is 0. Where
    the maps are of one size, the windows overlap by all but one voxel and the map is only padded; else they are copied
    side by side. A convolution with kernel `size` and stride `stride` then sees one window per cell.

    Parameters
    ----------
    before, after
        Sizes of the map that is seen and of the map that sees, per axis (2 axes).
    size
        Of a window, per axis.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, before: tuple[int, ...], after: tuple[int, ...], size: tuple[int, ...]) -> None:
        super().__init__()
        firsts = [_firsts(*numbers) for numbers in zip(before, after, size, strict=True)]
        low = [max(0, -first[0]) for first in firsts]
        high = [max(0, first[-1] + s - n) for first, s, n in zip(firsts, size, before, strict=True)]
        self.pads = (low[1], high[1], low[0], high[0])
        self.copied = before != after
        self.stride = size if self.copied else (1,) * len(size)
        for axis, name in enumerate(("rows", "columns")):
            voxels = [first + low[axis] + t for first in firsts[axis] for t in range(size[axis])]
            self.register_buffer(name, torch.tensor(voxels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the windows of (B, C, I, J), side by side."""
        x = F.pad(x, self.pads)
        return x.index_select(2, self.rows).index_select(3, self.columns) if self.copied else x


def _firsts(before: int, after: int, size: int) -> list[int]:
    """Return the first voxel of each window."""
    return [math.floor((n + 0.5) * before / after - size / 2 + 0.5) for n in range(after)]
