"""Truth of slices from label maps: which axial slices contain a region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import UsageError, expected
from striate.core.names import did_you_mean
from striate.core.targets import Targets


def region_named(
    region: str, label_names: Mapping[int, str], targets: Targets | None = None
) -> tuple[str, tuple[int, ...]]:
    """Return a name and the label values of a region.

    Parameters
    ----------
    region
        A name of `targets`, the name of a label, or label values such as ``1+2`` or ``edema+core``.
    label_names
        Label value → name.
    targets
        Named regions, where there are any.

    Returns
    -------
    name
        As it was written; ``+`` becomes ``_``, so that it can name a class.
    values
        Label values, rising.

    Raises
    ------
    UsageError
        When the region is unknown.
    """
    name = region.replace("+", "_")
    regions = targets.sets if targets is not None else {}
    if region in regions:
        return name, regions[region]
    try:
        return name, Targets.parse([f"region={region}"], label_names).sets["region"]
    except UsageError as error:
        known = {*regions, *(n for v, n in label_names.items() if v)}
        raise UsageError(f"unknown region '{region}'. {did_you_mean(region, known)}") from error


def slices_containing(labels: NDArray[np.integer], values: Sequence[int], minimal_voxels: int = 1) -> NDArray[np.bool_]:
    """Return for each axial slice whether it holds at least `minimal_voxels` of `values`.

    Parameters
    ----------
    labels
        (I, J, K) label values, turned to RAS (`striate.core.image.to_ras`): K is inferior to superior.
    values
        Label values that count, taken together.
    minimal_voxels
        From how many voxels on a slice contains the region.

    Returns
    -------
    (K,) bool, from the lowest slice.

    Raises
    ------
    UsageError
        When the array is not 3D, or `minimal_voxels` is below 1.
    """
    if labels.ndim != 3 or minimal_voxels < 1:
        got = f"shape {labels.shape}, minimal_voxels {minimal_voxels}"
        raise UsageError(expected("slices", got, "a label map (I, J, K) and at least 1 voxel are needed"))
    counts = np.count_nonzero(np.isin(labels, list(values)), axis=(0, 1))
    return np.asarray(counts >= minimal_voxels)
