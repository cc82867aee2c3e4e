"""Places: from a voxel of the files to one that the network sees and back, and the middle of a lesion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from striate.core.errors import UsageError
from striate.core.image import LabelMap
from striate.data.prepare import Prepared
from striate.measure.components import components

Place = tuple[int, ...]
AXES = "IJK"


def place_of(text: str) -> Place:
    """Read ``I,J,K`` or ``I,J``.

    Raises
    ------
    UsageError
        When the text has another form.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise UsageError(f"--at {text}: the numbers of a voxel are needed, from 0, for instance 90,110,75.")
    return tuple(int(part) for part in parts)


def check_place(at: Sequence[int], shape: Sequence[int], case: str) -> Place:
    """Return `at`, which is a voxel of a scan of `shape`.

    Raises
    ------
    UsageError
        When it is none.
    """
    told = ",".join(str(i) for i in at)
    if len(at) != len(shape):
        axes = ",".join(AXES[: len(shape)])
        raise UsageError(
            f"--at {told}: {len(at)} numbers were given, case {case} needs {len(shape)} ({axes}).", case=case
        )
    if any(not 0 <= i < n for i, n in zip(at, shape, strict=True)):
        most = ",".join(str(n - 1) for n in shape)
        size = " × ".join(str(n) for n in shape)
        raise UsageError(f"--at {told}: case {case} has {size} voxels, 0 to {most}.", case=case)
    return tuple(int(i) for i in at)


def seen_at(at: Place, prepared: Prepared) -> Place | None:
    """Return the voxel of the working grid that holds the middle of voxel `at` of the files; None where it was cut off."""
    turned = to_turned(at, prepared)
    found = []
    for i, cut, n in zip(turned, prepared.crop, prepared.grid.shape, strict=True):
        if not cut.start <= i < cut.stop:
            return None
        found.append(min(n - 1, int((i - cut.start + 0.5) * n / (cut.stop - cut.start))))
    return tuple(found)


def file_at(seen: Place, prepared: Prepared) -> Place:
    """Return the voxel of the files that holds the middle of voxel `seen` of the working grid."""
    turned = []
    for i, cut, n in zip(seen, prepared.crop, prepared.grid.shape, strict=True):
        have = cut.stop - cut.start
        turned.append(cut.start + min(have - 1, int((min(max(i, 0), n - 1) + 0.5) * have / n)))
    order, flipped, shape = prepared.reorientation.order, prepared.reorientation.flipped, prepared.source.shape
    stored = [0] * len(shape)
    for i, axis in zip(turned, order, strict=True):
        stored[axis] = shape[axis] - 1 - i if axis in flipped else i
    return tuple(stored)


def to_turned(at: Place, prepared: Prepared) -> Place:
    """Return a voxel of the files as it is counted along the turned axes (of scans: from right, back and bottom on)."""
    order, flipped, shape = prepared.reorientation.order, prepared.reorientation.flipped, prepared.source.shape
    return tuple(shape[axis] - 1 - at[axis] if axis in flipped else at[axis] for axis in order)


def world_mm(at: Place, prepared: Prepared) -> list[float]:
    """Return where voxel `at` of the files lies: (x, y, z) in mm, RAS+, or (x, y) of a picture."""
    point = np.zeros(4)
    point[: len(at)], point[3] = at, 1
    return [round(float(v), 2) for v in (prepared.source.affine @ point)[: len(at)]]


def middle_of_largest(mask: NDArray[Any], label: LabelMap) -> tuple[Place, int]:
    """Return the voxel of the largest connected part of `mask` that lies deepest in it, and the number of its voxels.

    Of several voxels it is the nearest to the centre; `label` says how large voxels are.
    """
    numbers, count = components(mask)
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    chosen = int(sizes.argmax()) + 1
    box = ndimage.find_objects(numbers)[chosen - 1]
    part = np.pad(numbers[box] == chosen, 1)
    spacing = label.grid.spacing_mm
    depth = ndimage.distance_transform_edt(part, sampling=spacing)
    deepest = np.argwhere(depth >= depth.max() * (1 - 1e-6))
    centre = np.argwhere(part).mean(axis=0)
    nearest = deepest[(((deepest - centre) * np.asarray(spacing)) ** 2).sum(axis=1).argmin()]
    return tuple(int(i) - 1 + s.start for i, s in zip(nearest, box, strict=True)), int(sizes.max())
