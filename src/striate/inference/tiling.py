"""`Tiling`: where the windows of a sliding window lie, and how their predictions are blended.

Windows are spread evenly, as in nnU-Net (Isensee et al., Nat Methods 2021): the fewest whose steps are at most
``patch · (1 − overlap)``. A prediction counts most at the centre of its window: Gaussian with σ = patch / 8 along each
axis. Because windows form a grid, the sum of weights is a product over axes; each axis is divided by its own sum
beforehand, so that the weights of all windows add up to one everywhere and nothing needs dividing later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIGMA = 1 / 8
"""Standard deviation of the Gaussian, as a share of the patch."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """Windows over an array of spatial shape `size`.

    Attributes
    ----------
    size
        Voxels of the array along each axis.
    patch
        Voxels of a window along each axis; where it exceeds `size`, windows reach over the border equally on both sides.
    starts
        Per axis, first voxel of each window (negative where it reaches over the border), rising.
    """

    size: tuple[int, ...]
    patch: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, size: tuple[int, ...], patch: tuple[int, ...], overlap: float = 0.5) -> Tiling:
        """Spread windows of `patch` over `size`, neighbours overlapping by at least `overlap` (a share of the patch)."""
        return cls(size, patch, tuple(_starts(n, p, overlap) for n, p in zip(size, patch, strict=True)))

    @property
    def count(self) -> int:
        """Number of windows."""
        return math.prod(len(s) for s in self.starts)

    @property
    def rolling_axis(self) -> int:
        """The axis along which the fewest rows are unfinished at a time, in relation to its length."""
        shares = [min(p, n) / n for n, p in zip(self.size, self.patch, strict=True)]
        return int(np.argmin(shares))

    def weights(self, axis: int) -> NDArray[np.float32]:
        """Return (windows, patch) weights along `axis`; over each voxel of the array they add up to one."""
        length, starts = self.patch[axis], self.starts[axis]
        gauss = bell(length)
        low, high = starts[0], starts[-1] + length
        total = np.zeros(high - low)
        for start in starts:
            total[start - low : start - low + length] += gauss
        return np.stack([gauss / total[s - low : s - low + length] for s in starts]).astype(np.float32)


def bell(length: int) -> NDArray[np.float64]:
    """Return (length,) how much each voxel along an axis of a window counts, 1 in its middle."""
    places = np.arange(length) - (length - 1) / 2
    return np.asarray(np.exp(-0.5 * (places / max(length * SIGMA, 1e-6)) ** 2))


def _starts(size: int, patch: int, overlap: float) -> tuple[int, ...]:
    if size <= patch:
        return (-((patch - size) // 2),)
    steps = math.ceil((size - patch) / max(1.0, patch * (1 - overlap)))
    return tuple(round(i * (size - patch) / steps) for i in range(steps + 1))
