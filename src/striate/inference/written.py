"""How many bytes the files of a prediction take on disk, known from headers: an upper estimate."""

from __future__ import annotations

import math

from striate.core.image import Grid
from striate.planning.plan import Plan

FOUND_BYTES = 200_000
"""Of each case: ``findings.json``, ``findings.csv`` and ``done/CASE.json`` with 200 lesions (measured: 0.8 kB each in all)."""
TOLD_BYTES, CLASS_BYTES = 10_000, 150
"""Of each case of a model of whole images, and of each class of a slice: the same files, and ``predictions.csv``."""
FILE_BYTES = 4096
"""Of each file: header, and what compression adds to what it cannot compress."""
USUAL = 0.25
"""Share of what a mask of noise takes, compressed, that masks of anatomy take at most. Measured: lesions of MS and gliomas 0.01
to 0.02, a brain 0.05, 116 regions of it 0.03, its tissues voxel by voxel 0.14 to 0.16."""
FRAME_BYTES = 600
"""Of what a DICOM segmentation tells of each frame, and of each slice that it refers to (measured: 0.47 to 0.66 kB in all)."""
PANEL_VOXELS = 192
"""Of a panel, along an axis at most."""


def mask_bytes(plan: Plan, grid: Grid, ending: str = ".nii.gz", *, noise: bool = True) -> int:
    """Return the bytes of a mask in a file with this `ending`.

    For ``.nii.gz`` with small values those of a mask of noise: log₂ of the values and one bit more, per voxel (measured: at most
    0.9 of that). Others are taken as they are, uncompressed. Without `noise`, `USUAL` of that where the file is compressed.
    """
    voxels, bytes_each, bits = math.prod(grid.shape), *_values(plan)
    packed = ending == ".nii.gz" and bytes_each == 1
    share = 1.0 if noise or ending == ".nii" else USUAL
    return FILE_BYTES + math.ceil(share * voxels * (bits / 8 if packed else bytes_each))


def dicom_seg_bytes(plan: Plan, grid: Grid, *, noise: bool = True) -> int:
    """Return the bytes of a DICOM segmentation: a bit for each voxel of every frame that holds one of its segment.

    Without `noise`, of as many frames as one segment in every slice has, or `USUAL` of all.
    """
    segments, slices = len(plan.targets.names), grid.shape[2] if len(grid.shape) == 3 else 1
    frames = slices * (segments if noise else max(1.0, USUAL * segments))
    frame_bytes = math.prod(grid.shape[:2]) / 8 + FRAME_BYTES
    return FILE_BYTES * (1 + segments) + math.ceil(frames * frame_bytes) + slices * FRAME_BYTES


def panel_bytes(plan: Plan, grid: Grid, channels: int, *, noise: bool = True) -> int:
    """Return the bytes of a panel: a byte for each voxel of a channel, and two masks, which are `noise` or as usual."""
    voxels = math.prod(min(n, PANEL_VOXELS) for n in grid.shape)
    bytes_each, bits = _values(plan)
    return FILE_BYTES + voxels * channels + math.ceil((1 if noise else USUAL) * 2 * voxels * min(bits / 8, bytes_each))


def map_bytes(grid: Grid) -> int:
    """Return the bytes of a map of probabilities, in single precision."""
    return FILE_BYTES + 4 * math.prod(grid.shape)


def found_bytes(plan: Plan, grid: Grid) -> int:
    """Return the bytes of what is found of a case, or told of it and its slices."""
    if plan.task.kind == "segmentation":
        return FOUND_BYTES
    slices = max(grid.shape) if plan.task.unit == "slice" else 1
    return TOLD_BYTES + CLASS_BYTES * slices * len(plan.task.classes)


def _values(plan: Plan) -> tuple[int, float]:
    """Return the bytes of a voxel of a mask, and the bits of one that could be of any value."""
    targets = plan.targets
    values = {0, *(value for each in targets.sets.values() for value in each), *(targets.region_values or ())}
    bytes_each = 1 if max(values) < 256 else 2 if max(values) < 65536 else 4
    return bytes_each, min(8.0 * bytes_each, math.log2(len(values)) + 1)
