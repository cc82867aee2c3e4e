"""Affines, axes and spacing: where a voxel lies in the body.

World coordinates are millimetres in RAS+ (first axis to the subject's Right, then Anterior, then Superior), as in
NIfTI. An affine is a 4 × 4 float64 matrix that maps voxel indices (i, j, k, 1) to world (x, y, z, 1), for 2D images too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import GeometryError, expected

Affine = NDArray[np.float64]
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From RAS+ to LPS+ (ITK, DICOM), and back."""
AXIS_NAMES = ("L", "R"), ("P", "A"), ("I", "S")


def valid_affine(affine: object, where: object = "affine") -> Affine:
    """Return `affine` as a read-only 4 × 4 float64 matrix.

    Raises
    ------
    GeometryError
        When the shape is not (4, 4), a value is not finite, the last row is not (0, 0, 0, 1), or the matrix is singular.
    """
    matrix = np.array(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise GeometryError(expected(where, f"affine of shape {matrix.shape}", "a 4 × 4 affine is needed"))
    if not np.isfinite(matrix).all():
        raise GeometryError(
            expected(where, "affine holds NaN or infinity", "finite numbers are needed to place voxels in the body",
                     "Repair the header (qform and sform) with the tool that wrote the file.")
        )  # fmt: skip
    if not np.allclose(matrix[3], (0, 0, 0, 1)):
        raise GeometryError(expected(where, f"last affine row {matrix[3].tolist()}", "it must be (0, 0, 0, 1)"))
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
        spacing = spacing_mm_of(matrix)
        raise GeometryError(
            expected(where, f"affine is singular (column lengths {spacing} mm)", "three independent axes are needed")
        )
    matrix.setflags(write=False)
    return matrix


def spacing_mm_of(affine: Affine, spatial_dims: int = 3) -> tuple[float, ...]:
    """Return the voxel size in mm along each of the first `spatial_dims` array axes."""
    lengths = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return tuple(float(v) for v in lengths[:spatial_dims])


def voxel_volume_ml_of(affine: Affine) -> float:
    """Return the volume of one voxel in mL (1 mL = 1000 mm³)."""
    return float(abs(np.linalg.det(affine[:3, :3])) / 1000.0)


def affine_of(spacing_mm: tuple[float, ...], origin_mm: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Affine:
    """Return the diagonal affine with `spacing_mm` (2 or 3 values; a missing third is 1 mm) and `origin_mm`."""
    affine = np.eye(4)
    for axis, value in enumerate(spacing_mm):
        affine[axis, axis] = value
    affine[: len(origin_mm), 3] = origin_mm
    return valid_affine(affine)


def closest_axes(affine: Affine) -> tuple[tuple[int, int], ...]:
    """Return for each array axis (world axis it lies closest to, +1 or -1), each world axis used once.

    Oblique affines are assigned greedily by the largest direction cosine.
    """
    cosines = affine[:3, :3] / np.maximum(np.linalg.norm(affine[:3, :3], axis=0), 1e-12)
    left = np.abs(cosines).copy()
    found: dict[int, tuple[int, int]] = {}
    for _ in range(3):
        world, axis = np.unravel_index(int(np.argmax(left)), left.shape)
        found[int(axis)] = (int(world), 1 if cosines[world, axis] >= 0 else -1)
        left[world, :] = -1
        left[:, axis] = -1
    return tuple(found[axis] for axis in range(3))


def axis_codes(affine: Affine) -> str:
    """Return the three letters of the directions in which array indices grow, for instance ``RAS`` or ``LPS``."""
    return "".join(AXIS_NAMES[world][sign > 0] for world, sign in closest_axes(affine))


def same_grid(
    shape_a: tuple[int, ...], affine_a: Affine, shape_b: tuple[int, ...], affine_b: Affine, tolerance_mm: float = 0.1
) -> bool:
    """Tell whether two grids have equal shape and no corner further apart than `tolerance_mm`."""
    if tuple(shape_a) != tuple(shape_b):
        return False
    size = (*shape_a, 1)[:3]
    corners = np.array([[i * (n - 1) for i, n in zip(bits, size, strict=True)] + [1] for bits in np.ndindex(2, 2, 2)])
    apart = corners @ (affine_a - affine_b).T
    return bool(np.abs(apart[:, :3]).max() <= tolerance_mm)
