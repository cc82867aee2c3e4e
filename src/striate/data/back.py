"""`back`: from the grid that a network sees to the grid of the files."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.image import Image
from striate.data.prepare import Prepared
from striate.data.resample import resample


def back(values: NDArray[Any], prepared: Prepared) -> Image:
    """Return `values` (C, *grid) on the grid of the files, interpolated linearly; 0 where preparation cut off.

    Parameters
    ----------
    values
        Numbers at each voxel of the prepared image.
    prepared
        How the image came to its grid; its array is not looked at.
    """
    fine = resample(values, prepared.cropped.shape, "linear")
    turned = np.zeros((len(values), *prepared.turned_shape), dtype=np.float32)
    turned[(slice(None), *prepared.crop)] = fine
    return Image(np.ascontiguousarray(prepared.reorientation.invert(turned)), prepared.source.affine)
