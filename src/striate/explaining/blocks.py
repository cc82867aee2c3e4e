"""Cubes of tissue: what is deleted and inserted at once, and what maps are compared by.

Single voxels are too fine for both: a random order of them turns the image into noise that no scan has, and attributions of
gradients change their sign from voxel to voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ABOUT = 1000
"""Blocks that the tissue is divided into, about."""


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Tissue, divided.

    Attributes
    ----------
    numbers
        (*region) int32, number of each voxel's block; −1 outside of the tissue.
    count
        How many blocks there are.
    """

    numbers: NDArray[np.int32]
    count: int

    @classmethod
    def of(cls, tissue: NDArray[np.bool_], about: int = ABOUT) -> Blocks:
        """Divide `tissue` (*region) into cubes of one size, so that about `about` of them hold some of it."""
        axes = sum(n > 1 for n in tissue.shape)
        edge = max(1, round((np.count_nonzero(tissue) / about) ** (1 / max(axes, 1))))
        number = np.zeros(tissue.shape, dtype=np.int64)
        for axis, n in enumerate(tissue.shape):
            places = np.arange(n) // edge
            along = places.reshape([-1 if a == axis else 1 for a in range(tissue.ndim)])
            number = number * (int(places[-1]) + 1) + along
        found = np.full(tissue.shape, -1, dtype=np.int32)
        _, inverse = np.unique(number[tissue], return_inverse=True)
        found[tissue] = inverse
        return cls(found, int(inverse.max(initial=-1)) + 1)

    def means(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the mean of `values` (*region) in each block, (count,)."""
        inside = self.numbers >= 0
        which = self.numbers[inside]
        sums = np.bincount(which, weights=values[inside].astype(np.float64), minlength=self.count)
        return np.asarray(sums / np.bincount(which, minlength=self.count))
