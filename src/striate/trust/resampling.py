"""Looking one scan up on the grid of another, through a transform of mm; averaging to coarser voxels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from striate.core.geometry import Affine
from striate.core.image import Grid, Image, to_ras
from striate.data.resample import new_shape, resample


def isotropic(image: Image, spacing_mm: float) -> Image:
    """Return a 3D image in RAS order with voxels of about `spacing_mm`, averaged; finer than it is it does not become."""
    turn, grid = to_ras(image.grid)
    array = turn.apply(image.array)
    wanted = tuple(max(spacing_mm, s) if s > spacing_mm else spacing_mm for s in grid.spacing_mm)
    shape = new_shape(grid.shape, grid.spacing_mm, wanted)
    scale = np.array([n / m for n, m in zip(grid.shape, shape, strict=True)])
    place = np.eye(4)
    place[:3, :3] = np.diag(scale)
    place[:3, 3] = scale / 2 - 0.5
    return Image(resample(np.ascontiguousarray(array), shape, "area"), grid.affine @ place)


def looked_up(image: Image, grid: Grid, matrix: Affine) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the first channel of `image` at each voxel of `grid`, linearly, and where the image reaches.

    Parameters
    ----------
    image
        (C, I, J, K).
    grid
        Whose voxels are asked for.
    matrix
        mm of `grid` → mm of `image`.

    Returns
    -------
    values
        (*grid) float32; 0 outside.
    inside
        (*grid) bool.
    """
    index = np.linalg.inv(image.affine) @ matrix @ grid.affine
    shape = image.array.shape[1:]
    values: Any = ndimage.affine_transform(
        image.array[0].astype(np.float32),
        index[:3, :3],
        index[:3, 3],
        output_shape=grid.shape,
        order=1,
        mode="constant",
    )
    inside = np.ones(grid.shape, dtype=bool)
    axes = np.ogrid[tuple(slice(n) for n in grid.shape)]
    for row, size in zip(index[:3], shape, strict=True):
        at = row[0] * axes[0] + row[1] * axes[1] + row[2] * axes[2] + row[3]
        inside &= (at >= -0.5) & (at <= size - 0.5)
    return np.asarray(values, dtype=np.float32), inside
