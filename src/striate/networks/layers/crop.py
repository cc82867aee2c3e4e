"""The centre of a map: what unpadded convolutions leave, of maps and of the truth that they are compared with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def centre(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return the middle of the last ``len(size)`` axes of `x`, `size` voxels of each; an odd rest is left at the end."""
    first = x.ndim - len(size)
    for axis, wanted in enumerate(size, first):
        found = x.shape[axis]
        if found != wanted:
            start = (found - wanted) // 2
            x = x.narrow(axis, start, wanted)
    return x
