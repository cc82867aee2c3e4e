"""Volumes in mL, and how far a predicted volume is from the true one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.image import Grid


def volume_ml(voxels: int, grid: Grid) -> float:
    """Return the volume of `voxels` voxels of `grid` in mL (1 mL = 1000 mm³).

    In 2D the third axis of the affine is the thickness, 1 mm where nothing else was known.
    """
    return voxels * grid.voxel_volume_ml


def volume_error_ml(predicted: NDArray[Any], truth: NDArray[Any], voxel_volume_ml: float) -> float:
    """Return predicted minus true volume in mL: positive where too much was found.

    Parameters
    ----------
    predicted, truth
        Masks; every non-zero element belongs to the mask.
    voxel_volume_ml
        Volume of one voxel in mL.
    """
    return (int(np.count_nonzero(predicted)) - int(np.count_nonzero(truth))) * voxel_volume_ml
