"""Connected components: what is called a lesion, in the findings as in the lesion-wise measures.

A lesion is a maximal set of mask voxels that touch by a face, an edge or a corner (26 neighbours in 3D, 8 in 2D).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


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
    numbers = np.zeros(mask.shape, dtype=np.int32)
    count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim, dtype=bool), output=numbers)
    return numbers, int(count)
