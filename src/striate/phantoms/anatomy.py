"""The anatomy that all phantoms share: tissue fractions of the ICBM 152 template, and maps that guide lesions.

World coordinates are those of the template (mm, RAS+, MNI space). The asset and its notice lie in ``assets/``.
"""

from __future__ import annotations

import functools
import importlib.resources
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from striate.core.errors import FormatError, expected

ASSET = "icbm152_tissue.npz"
GREY, WHITE, CSF = 0, 1, 2
"""Order of the tissues."""
GUIDE_STEP = 2
"""Guide maps are kept at every second voxel of the template (2 mm)."""
GUIDE_PAD = 8
"""Guide voxels added around the template, so that the brain's surface never touches the border."""

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """Tissue fractions of one average brain.

    Attributes
    ----------
    levels
        (3, I, J, K) uint8: grey matter, white matter, CSF, each 0 … `top` (1 mm voxels).
    top
        The level that means a fraction of 1.
    origin_mm
        World coordinate of voxel (0, 0, 0).
    ventricle_mm
        Distance to the lateral ventricles on the guide grid, mm; negative inside.
    depth_mm
        Distance to the brain's surface on the guide grid, mm; negative outside.
    normals
        (3, …) gradient of `ventricle_mm`: unit vectors away from the ventricles.
    white
        Fraction of white matter on the guide grid.
    """

    levels: NDArray[np.uint8]
    top: int
    origin_mm: NDArray[np.float64]
    ventricle_mm: Array
    depth_mm: Array
    normals: Array
    white: Array

    @property
    def centre_mm(self) -> NDArray[np.float64]:
        """World coordinate of the middle of the brain's bounding box."""
        size = np.array(self.levels.shape[1:], dtype=np.float64)
        return np.asarray(self.origin_mm + (size - 1) / 2)

    def tissue(self, points_mm: Array, depth_mm: Array) -> Array:
        """Return the fractions (3, N) of grey matter, white matter and CSF at world points (3, N).

        Grey and white matter are interpolated linearly; CSF is the rest of the brain, whose edge is where `depth_mm`
        (N,) passes zero.
        """
        at = points_mm - self.origin_mm.astype(np.float32)[:, None]
        parts = np.empty((3, at.shape[1]), dtype=np.float32)
        for which in (GREY, WHITE):
            ndimage.map_coordinates(self.levels[which], at, output=parts[which], order=1, prefilter=False)
        parts[:CSF] /= self.top
        np.clip(depth_mm + 0.5, 0, 1, out=parts[CSF])
        parts[CSF] -= parts[GREY] + parts[WHITE]
        np.maximum(parts[CSF], 0, out=parts[CSF])
        return parts

    def guide(self, guide: Array, points_mm: Array) -> Array:
        """Return a guide map at world points (3, …), linearly interpolated; the nearest value outside."""
        at = (
            points_mm - self.origin_mm.astype(np.float32).reshape(3, *[1] * (points_mm.ndim - 1))
        ) / GUIDE_STEP + GUIDE_PAD
        return np.asarray(
            ndimage.map_coordinates(guide, at, order=1, mode="nearest", prefilter=False), dtype=np.float32
        )


def _signed_distance_mm(inside: NDArray[np.bool_]) -> Array:
    """Return the distance to the border of `inside` (guide grid), negative inside."""
    outer = ndimage.distance_transform_edt(~inside) - 0.5
    inner = ndimage.distance_transform_edt(inside) - 0.5
    return np.asarray(np.where(inside, -inner, outer) * GUIDE_STEP, dtype=np.float32)


@functools.cache
def template() -> Template:
    """Load the template (once per process).

    Raises
    ------
    FormatError
        When the asset is missing from the installation or broken.
    """
    path = importlib.resources.files("striate.phantoms") / "assets" / ASSET
    try:
        with np.load(io.BytesIO(path.read_bytes())) as asset:
            levels, lateral = asset["levels"], asset["ventricles"]
            top, origin = int(asset["top"]), asset["origin_mm"].astype(np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(
            expected(path, f"the tissue map cannot be read ({error})", "a whole installation is needed",
                     "Install again: pip install --force-reinstall striate"), path=path,
        ) from error  # fmt: skip
    every = (slice(None, None, GUIDE_STEP),) * 3
    depth = -_signed_distance_mm(np.pad((levels.sum(axis=0) > top // 2)[every], GUIDE_PAD))
    ventricle = ndimage.gaussian_filter(_signed_distance_mm(np.pad(lateral[every], GUIDE_PAD)), 0.7)
    white = np.pad(levels[WHITE][every] / np.float32(top), GUIDE_PAD).astype(np.float32)
    normals = np.stack([np.gradient(ventricle, GUIDE_STEP, axis=axis) for axis in range(3)]).astype(np.float32)
    return Template(levels, top, origin, ventricle, depth, normals, white)
