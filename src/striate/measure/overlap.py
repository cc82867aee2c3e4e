"""Dice and intersection over union: how much of two masks is common.

Source: Taha & Hanbury, "Metrics for evaluating 3D medical image segmentation", BMC Medical Imaging 15:29 (2015),
equations 6 and 8. Two empty masks agree fully: 1. One empty mask: 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import GeometryError, expected

Mask = NDArray[Any]


def dice(predicted: Mask, truth: Mask) -> float:
    """Return 2 |P ∩ T| / (|P| + |T|), between 0 and 1; two empty masks give 1.

    Parameters
    ----------
    predicted, truth
        Masks of one shape; every non-zero element belongs to the mask.

    Raises
    ------
    GeometryError
        When the shapes differ.
    """
    common, sizes = _counts(predicted, truth)
    return 1.0 if sizes == 0 else 2.0 * common / sizes


def iou(predicted: Mask, truth: Mask) -> float:
    """Return |P ∩ T| / |P ∪ T| (the Jaccard index), between 0 and 1; two empty masks give 1.

    Parameters
    ----------
    predicted, truth
        Masks of one shape; every non-zero element belongs to the mask.

    Raises
    ------
    GeometryError
        When the shapes differ.
    """
    common, sizes = _counts(predicted, truth)
    return 1.0 if sizes == 0 else common / (sizes - common)


def same_shape(predicted: Mask, truth: Mask) -> None:
    """Refuse masks that cannot be compared voxel by voxel.

    Raises
    ------
    GeometryError
        When the shapes differ.
    """
    if predicted.shape != truth.shape:
        raise GeometryError(
            expected(
                "predicted mask",
                f"shape {predicted.shape}",
                f"the truth's shape {truth.shape} is needed to compare voxels",
            )
        )


def _counts(predicted: Mask, truth: Mask) -> tuple[int, int]:
    same_shape(predicted, truth)
    first, second = predicted.astype(bool, copy=False), truth.astype(bool, copy=False)
    sizes = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return int(np.count_nonzero(first & second)), sizes
