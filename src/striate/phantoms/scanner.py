"""The scanner: field of view, slice thickness, coil sensitivity, noise and units of one examination."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from striate.core.errors import UsageError, expected
from striate.phantoms.anatomy import Array
from striate.phantoms.artefacts import ARTEFACTS, noise_factor

FIELD_OF_VIEW_MM = (168.0, 208.0, 176.0)
FINEST_MM, COARSEST_MM = 0.7, 8.0
NOISE_AT_2MM = (0.03, 0.055)
"""Range of the noise's standard deviation relative to white matter, for voxels of 2 mm."""


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """The fine grid that anatomy is rendered on and the voxels that it is averaged to.

    Attributes
    ----------
    spacing_mm
        Size of a voxel.
    shape
        Voxels along each axis.
    parts
        Fine voxels per voxel along each axis (fine voxels are at most 1 mm, unless voxels are smaller).
    """

    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    parts: tuple[int, int, int]

    @classmethod
    def of(cls, spacing_mm: tuple[float, ...]) -> Raster:
        """Return the raster that covers the field of view.

        Raises
        ------
        UsageError
            When there are not three values between `FINEST_MM` and `COARSEST_MM`.
        """
        if len(spacing_mm) != 3 or not all(FINEST_MM <= s <= COARSEST_MM for s in spacing_mm):
            shown = " ".join(f"{s:g}" for s in spacing_mm)
            raise UsageError(
                expected("spacing", f"{shown} mm", f"three values from {FINEST_MM} to {COARSEST_MM} mm are needed",
                         "For instance 1 1 3.")
            )  # fmt: skip
        i, j, k = (round(fov / s) for fov, s in zip(FIELD_OF_VIEW_MM, spacing_mm, strict=True))
        a, b, c = (max(1, round(s)) for s in spacing_mm)
        x, y, z = (float(s) for s in spacing_mm)
        return cls((x, y, z), (i, j, k), (a, b, c))

    def fine_mm(self, axis: int) -> NDArray[np.float64]:
        """Return the scanner coordinates of fine voxel centres along `axis`, 0 in the middle."""
        count = self.shape[axis] * self.parts[axis]
        return np.asarray((np.arange(count) - (count - 1) / 2) * self.spacing_mm[axis] / self.parts[axis])

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel index → scanner mm, RAS+, the origin in the middle of the field of view."""
        affine = np.diag([*self.spacing_mm, 1.0])
        affine[:3, 3] = [-(n - 1) / 2 * s for n, s in zip(self.shape, self.spacing_mm, strict=True)]
        return affine

    def averaged(self, fine: Array) -> Array:
        """Return the mean over the fine voxels of each voxel: partial volume."""
        (i, j, k), (a, b, c) = self.shape, self.parts
        fine = fine.reshape(i, a, -1).sum(axis=1).reshape(i, j, b, -1).sum(axis=2).reshape(i, j, k, c).sum(axis=3)
        return np.asarray(fine / np.float32(a * b * c), dtype=np.float32)

    def fine(self, voxels: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which fine voxels lie in `voxels`."""
        for axis, parts in enumerate(self.parts):
            voxels = voxels.repeat(parts, axis)
        return voxels


def scan(
    signal: Array,
    raster: Raster,
    artefact: str,
    rng: np.random.Generator,
    *,
    noise: float = 1.0,
    bias: float = 1.0,
    unit: float = 1.0,
) -> NDArray[np.int16]:
    """Return what the scanner stores of a noise-free `signal` (white matter is 1).

    The sum of the coil's sensitivity, the artefact and complex Gaussian noise; its magnitude is Rician (Gudbjartsson
    and Patz, Magnetic Resonance in Medicine 34(6), 1995). Units are arbitrary and differ between scans. `noise`, `bias`
    and `unit` are how strong noise and coil field and how large the unit are, over the usual.
    """
    field = sensitivity(raster.shape, rng, bias)
    texture = 1.0 + 0.035 * _smooth(raster, 7.0, rng)
    level = noise * float(rng.uniform(*NOISE_AT_2MM)) * (8.0 / float(np.prod(raster.spacing_mm))) ** (1 / 3)
    brightness = unit * float(rng.uniform(250.0, 600.0))
    complex_image = ARTEFACTS[artefact](np.asarray(signal * field * texture, dtype=np.float32), rng)
    sigma = np.float32(level * noise_factor(artefact))
    real = complex_image.real + sigma * rng.standard_normal(raster.shape, dtype=np.float32)
    imaginary = complex_image.imag + sigma * rng.standard_normal(raster.shape, dtype=np.float32)
    return np.clip(np.round(brightness * np.hypot(real, imaginary)), 0, 32767).astype(np.int16)


def sensitivity(shape: tuple[int, ...], rng: np.random.Generator, strength: float = 1.0) -> Array:
    """Draw a smooth positive field around 1 (bias field): exponential of a quadratic polynomial, about ± 25 % · `strength`."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij", sparse=True)
    spread = strength * np.array([0.12, 0.12, 0.12, 0.09, 0.09, 0.09, 0.12, 0.12, 0.12])
    a = rng.normal(0, spread).astype(np.float32)
    poly = a[0] * x + a[1] * y + a[2] * z + a[3] * x * y + a[4] * y * z + a[5] * x * z
    poly = poly + a[6] * (x * x - 1 / 3) + a[7] * (y * y - 1 / 3) + a[8] * (z * z - 1 / 3)
    return np.asarray(np.exp(poly), dtype=np.float32)


def _smooth(raster: Raster, width_mm: float, rng: np.random.Generator) -> Array:
    """Draw a smooth random field of mean 0 and standard deviation 1 with details of `width_mm`."""
    coarse = [max(4, round(n * s / width_mm) + 1) for n, s in zip(raster.shape, raster.spacing_mm, strict=True)]
    field = ndimage.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), 0.8)
    field /= max(float(field.std()), 1e-6)
    for axis, count in enumerate(raster.shape):
        field = stretched(field, np.linspace(0, field.shape[axis] - 1, count), axis)
    return field


def stretched(field: Array, at: NDArray[np.float64], axis: int) -> Array:
    """Return `field` linearly interpolated along `axis` at the (fractional) indices `at` (one matrix product)."""
    count = field.shape[axis]
    weights = np.clip(1 - np.abs(np.clip(at, 0, count - 1)[:, None] - np.arange(count)), 0, None).astype(np.float32)
    if axis == field.ndim - 1:
        return np.asarray(field @ weights.T)
    lead = int(np.prod(field.shape[:axis]))
    product = np.matmul(weights, field.reshape(lead, count, -1))
    return np.asarray(product.reshape(*field.shape[:axis], len(at), *field.shape[axis + 1 :]))
