"""Connected components: what is called a lesion, in the findings as in the lesion-wise measures.

A lesion is a maximal set of mask voxels that touch by a face, an edge or a corner (26 neighbours in 3D, 8 in 2D).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def components(mask: NDArray[Any]) -> tuple[NDArray[np.int32], int]:
    """Number the connected components of `mask`.

    Parameters
    ----------
    mask
        (I, J, K) or (I, J); every non-zero element belongs to it.

    Returns
    -------
    numbers
        Same shape, int32: 0 outside, 1 … count inside.
    count
        Number of components.
    """
    from scipy import ndimage

    numbers = np.zeros(mask.shape, dtype=np.int32)
    count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim, dtype=bool), output=numbers)
    return numbers, int(count)


def in_order(numbers: NDArray[np.int32], voxels: NDArray[Any]) -> list[int]:
    """Return the components in the order of `striate.measure.finding.LabelFindings`, counted from 0.

    By voxels, falling, then by their box; those of one box by their first voxel.

    Parameters
    ----------
    numbers
        As `components` gives them.
    voxels
        Of each component.
    """
    from scipy import ndimage

    corners = [tuple((s.start, s.stop) for s in found) for found in ndimage.find_objects(numbers, len(voxels))]
    return sorted(range(len(voxels)), key=lambda i: (-int(voxels[i]), corners[i]))
