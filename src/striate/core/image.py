"""`Image` and `LabelMap`: arrays that know where they lie in the body.

They stand in `core` because `io` (which makes them) and `reporting` (which shows them) both need them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import GeometryError, LabelError, expected
from striate.core.geometry import (
    Affine,
    axis_codes,
    closest_axes,
    same_grid,
    spacing_mm_of,
    valid_affine,
    voxel_volume_ml_of,
)


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Shape and affine of an image, without its voxels.

    Attributes
    ----------
    shape
        Spatial shape (I, J, K) or (I, J).
    affine
        4 × 4, voxel index → mm in RAS+.
    """

    shape: tuple[int, ...]
    affine: Affine

    def __post_init__(self) -> None:
        if len(self.shape) not in (2, 3) or min(self.shape) < 1:
            raise GeometryError(expected("grid", f"shape {self.shape}", "2 or 3 axes of at least one voxel are needed"))
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "affine", valid_affine(self.affine, "grid"))

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Voxel size in mm along each spatial axis."""
        return spacing_mm_of(self.affine, len(self.shape))

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in mL."""
        return voxel_volume_ml_of(self.affine)

    @property
    def axes(self) -> str:
        """Orientation letters, for instance ``RAS``."""
        return axis_codes(self.affine)

    def matches(self, other: Grid, tolerance_mm: float = 0.1) -> bool:
        """Tell whether `other` is the same grid within `tolerance_mm`."""
        return same_grid(self.shape, self.affine, other.shape, other.affine, tolerance_mm)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Intensities (C, I, J, K) or (C, I, J) with an affine in mm (RAS+).

    Raises
    ------
    GeometryError
        When the array has not 3 or 4 axes, an axis is empty, or the affine is impossible.
    """

    array: NDArray[Any]
    affine: Affine
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.array.ndim not in (3, 4) or min(self.array.shape) < 1:
            raise GeometryError(
                expected(
                    "image",
                    f"array of shape {self.array.shape}",
                    "(C, I, J, K) or (C, I, J) without empty axes is needed",
                )
            )
        object.__setattr__(self, "affine", valid_affine(self.affine, "image"))

    @property
    def grid(self) -> Grid:
        """The grid that the voxels lie on."""
        return Grid(self.array.shape[1:], self.affine)

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return int(self.array.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """Integer labels (I, J, K) or (I, J) with an affine in mm (RAS+); 0 is background.

    Raises
    ------
    LabelError
        When the array is not of an integer type or holds a negative value.
    GeometryError
        When the array has not 2 or 3 axes, an axis is empty, or the affine is impossible.
    """

    array: NDArray[Any]
    affine: Affine
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.array.ndim not in (2, 3) or min(self.array.shape) < 1:
            raise GeometryError(
                expected(
                    "label map",
                    f"array of shape {self.array.shape}",
                    "(I, J, K) or (I, J) without empty axes is needed",
                )
            )
        if self.array.dtype.kind not in "iub":
            raise LabelError(expected("label map", f"type {self.array.dtype}", "whole numbers are needed as labels"))
        if self.array.dtype.kind == "b":
            object.__setattr__(self, "array", self.array.astype(np.uint8))
        if self.array.dtype.kind == "i" and self.array.size and self.array.min() < 0:
            raise LabelError(
                expected("label map", f"smallest value {self.array.min()}", "labels start at 0 (background)")
            )
        object.__setattr__(self, "affine", valid_affine(self.affine, "label map"))

    @property
    def grid(self) -> Grid:
        """The grid that the voxels lie on."""
        return Grid(self.array.shape, self.affine)

    def values(self) -> tuple[int, ...]:
        """Label values that occur, background left out, in rising order."""
        top = int(self.array.max())
        if top < 65536:
            found = np.flatnonzero(np.bincount(self.array.ravel(), minlength=top + 1))
        else:
            found = np.unique(self.array)
        return tuple(int(v) for v in found if v != 0)


@dataclass(frozen=True, slots=True)
class Reorientation:
    """How an array was turned to RAS+, so that it can be turned back exactly (no interpolation).

    Attributes
    ----------
    order
        ``turned axis a = original axis order[a]``.
    flipped
        Original axes that were reversed before the transpose.
    """

    order: tuple[int, ...]
    flipped: tuple[int, ...]

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Turn the trailing spatial axes of `array` to RAS+; a view, not a copy."""
        return self._moved(np.flip(array, self._axes(array, self.flipped)), array, self.order)

    def invert(self, array: NDArray[Any]) -> NDArray[Any]:
        """Turn the trailing spatial axes of `array` back; a view, not a copy."""
        back = tuple(int(a) for a in np.argsort(self.order))
        moved = self._moved(array, array, back)
        return np.flip(moved, self._axes(moved, self.flipped))

    def _axes(self, array: NDArray[Any], axes: tuple[int, ...]) -> tuple[int, ...]:
        lead = array.ndim - len(self.order)
        return tuple(lead + a for a in axes)

    def _moved(self, array: NDArray[Any], like: NDArray[Any], order: tuple[int, ...]) -> NDArray[Any]:
        lead = like.ndim - len(order)
        return np.transpose(array, (*range(lead), *(lead + a for a in order)))


def to_ras(grid: Grid) -> tuple[Reorientation, Grid]:
    """Return how to turn `grid` so that its axes grow to Right, Anterior, Superior, and the turned grid.

    2D images keep their axes: their third world axis is not known.
    """
    dims = len(grid.shape)
    if dims == 2:
        return Reorientation((0, 1), ()), grid
    axes = closest_axes(grid.affine)
    order = tuple(int(a) for a in np.argsort([world for world, _ in axes]))
    flipped = tuple(a for a, (_, sign) in enumerate(axes) if sign < 0)
    flip = np.eye(4)
    for axis in flipped:
        flip[axis, axis] = -1
        flip[axis, 3] = grid.shape[axis] - 1
    permute = np.zeros((4, 4))
    permute[3, 3] = 1
    for new, old in enumerate(order):
        permute[old, new] = 1
    turned = Grid(tuple(grid.shape[a] for a in order), grid.affine @ flip @ permute)
    return Reorientation(order, flipped), turned
