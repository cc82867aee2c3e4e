"""An image continued beyond its border by its own reflection."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional


def mirrored(x: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """Return `x` (B, C, *S) with voxels added before and after each axis, mirrored about its first and last voxel.

    The reflection is reflected again where more voxels are asked for than there are; a single voxel is repeated.
    """
    size = x.shape[2:]
    left = [list(pair) for pair in zip(before, after, strict=True)]
    while any(n for pair in left for n in pair):
        steps = [[min(n, max(s - 1, 0)) for n in pair] for s, pair in zip(size, left, strict=True)]
        repeats = [pair if s == 1 else [0, 0] for s, pair in zip(size, left, strict=True)]
        x = _padded(_padded(x, steps, "reflect"), repeats, "replicate")
        left = [[n - a - b for n, a, b in zip(*three, strict=True)] for three in zip(left, steps, repeats, strict=True)]
    return x


def _padded(x: Tensor, pairs: list[list[int]], mode: str) -> Tensor:
    pads = [n for pair in reversed(pairs) for n in pair]  # torch lists the last axis first
    return functional.pad(x, pads, mode) if any(pads) else x
