"""The fully connected CRF after the sliding window: rows of probabilities in, the same rows in agreement out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.targets import Targets
from striate.data.prepare import Prepared


def refined(
    rows: Iterable[tuple[int, NDArray[Any]]], prepared: Prepared, images: int, targets: Targets, axis: int
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Collect the probabilities of a case, refine them and yield them as one block of rows.

    Parameters
    ----------
    rows
        (start, probabilities (K, rows, *other axes)), as `Window.slide` yields them.
    prepared
        The case; the intensities of its images decide which voxels belong together.
    images
        How many channels are images; masks of a cascade's first stage lie behind them.
    targets
        Exclusive labels are refined together, each region by itself.
    axis
        The axis along which rows come.

    Notes
    -----
    All probabilities of the case are held at once: 4 bytes per class and voxel of the grid that the network sees, and about
    100 bytes for each voxel that is in doubt.
    """
    from striate.inference.crf import refine  # slow to import, and seldom asked for

    blocks = [part.astype(np.float32) for _, part in rows]
    probabilities = np.moveaxis(np.concatenate(blocks, axis=1), 1, axis + 1)
    spacing_mm, seen = prepared.grid.spacing_mm, prepared.array[:images]
    if targets.exclusive:
        found = refine(probabilities, seen, spacing_mm)
    else:
        found = np.stack([refine(np.stack([1 - p, p]), seen, spacing_mm)[1] for p in probabilities])
    yield 0, np.ascontiguousarray(np.moveaxis(found, axis + 1, 1))
