"""Individual shape: every subject's brain is the template, scaled and smoothly deformed.

Patient space is millimetres around the middle of the brain. A `Shape` maps patient points to template points (the
direction that rendering needs): p ↦ c + diag(s) p + u(p), where u is a sum of cubic B-spline fields (free-form
deformation, Rueckert et al., IEEE TMI 18(8), 1999), then a shift along the normal of the ventricles that widens them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from striate.phantoms.anatomy import Array, Template

REACH_MM = 132.0
"""Half the side of the cube that deformation fields cover."""
FIELDS = ((26.0, 2.6), (11.0, 0.8))
"""Knot distance in mm and standard deviation of the displacement in mm, for each field."""
WARP_MM = 3.0
"""Distance of the points at which a shape is evaluated; linear in between (error below 0.15 mm)."""
WARP_HALF = (30, 36, 32)
"""Points from the middle to each end of the evaluated box (± 90, 108, 96 mm)."""
WIDENING_REACH_MM = 14.0
FOLD_RADIUS_MM, FOLD_MM, BENDING = 66.0, 6.5, 4.0
"""Radius of the sphere on which the subject's own sulci are drawn, their smoothness, and how much they are bent."""
_SPREAD = 0.354
"""Standard deviation at its knots of a 3D cubic B-spline field whose coefficients have standard deviation 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """How one subject differs from the template.

    Attributes
    ----------
    scale
        Template mm per patient mm along each axis.
    fields
        For each of `FIELDS` the spline coefficients (3, N, N, N) in mm.
    widening_mm
        How far the walls of the lateral ventricles are moved outwards.
    folding
        (N, N, N) smooth noise, 3 mm apart, on which the subject's own sulci run (see `folds_mm`).
    """

    scale: NDArray[np.float64]
    fields: tuple[Array, ...]
    widening_mm: float
    folding: Array


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """A shape evaluated on a grid of patient space.

    Attributes
    ----------
    values
        (6, I, J, K): template coordinates x, y, z in mm, depth below the brain's surface and distance to the lateral
        ventricles (template mm), signed distance to the subject's own sulci (mm), at patient points `WARP_MM` apart,
        the middle of the grid at 0.
    """

    values: Array

    def at(self, points_mm: Array) -> Array:
        """Return the six values at patient points (3, …), linearly interpolated."""
        index = points_mm / np.float32(WARP_MM)
        index += np.array(WARP_HALF, dtype=np.float32).reshape(3, *[1] * (points_mm.ndim - 1))
        return np.stack([
            ndimage.map_coordinates(value, index, order=1, mode="nearest", prefilter=False) for value in self.values
        ])  # fmt: skip


def draw_shape(rng: np.random.Generator) -> Shape:
    """Draw one subject's shape: size and aspect by a few percent, smooth deformation, ventricles from slim to wide."""
    scale = 1.0 / (rng.normal(1.0, 0.03) * np.clip(rng.normal(1.0, 0.02, size=3), 0.95, 1.05))
    fields = []
    for knots_mm, spread_mm in FIELDS:
        knots = int(np.ceil(2 * REACH_MM / knots_mm)) + 1
        fields.append(rng.normal(0.0, spread_mm / _SPREAD, size=(3, knots, knots, knots)).astype(np.float32))
    knots = int(np.ceil(2 * FOLD_RADIUS_MM / WARP_MM)) + 7
    folding = ndimage.gaussian_filter(rng.standard_normal((knots, knots, knots), dtype=np.float32), FOLD_MM / WARP_MM)
    return Shape(np.clip(scale, 0.93, 1.09), tuple(fields), float(rng.uniform(-0.5, 3.0)), folding)


def warp_axes() -> list[Array]:
    """Return the patient coordinates in mm of the grid of a `Warp`, one array per axis."""
    return [np.arange(-half, half + 1, dtype=np.float32) * np.float32(WARP_MM) for half in WARP_HALF]


def warp(shape: Shape, template: Template) -> Warp:
    """Evaluate `shape` on the grid of patient space."""
    axes = warp_axes()
    moved = np.stack(np.meshgrid(*axes, indexing="ij"))
    lead = (3, 1, 1, 1)
    bent = moved.copy()
    moved = moved * shape.scale.reshape(lead).astype(np.float32) + template.centre_mm.reshape(lead).astype(np.float32)
    for (knots_mm, _), coefficients in zip(FIELDS, shape.fields, strict=True):
        a, b, c = (spline_basis((axis + REACH_MM) / knots_mm, coefficients.shape[1]) for axis in axes)
        field = np.einsum("ia,jb,kc,dabc->dijk", a, b, c, coefficients, optimize=True)
        moved += field
        bent += field
    away = template.guide(template.ventricle_mm, moved)
    strength = shape.widening_mm * np.exp(-((np.maximum(away, 0) / WIDENING_REACH_MM) ** 2))
    moved -= strength * np.stack([template.guide(normal, moved) for normal in template.normals])
    guides = [template.guide(guide, moved)[None] for guide in (template.depth_mm, template.ventricle_mm)]
    return Warp(np.concatenate([moved, *guides, folds_mm(shape, bent)[None]]).astype(np.float32))


def folds_mm(shape: Shape, moved: Array) -> Array:
    """Return the distance to sheets that run from the surface inwards, as sulci do, on the grid of a `Warp`.

    The sheets are where the noise `Shape.folding`, seen in the direction of a point from the middle of the brain,
    crosses zero; the distance is the noise divided by its slope. `moved`, the points after deformation (3, …) around
    the middle, bends the sheets.
    """
    points = np.stack(np.meshgrid(*warp_axes(), indexing="ij"))
    points = points + np.float32(BENDING) * (moved - points)
    radius = np.maximum(np.linalg.norm(points, axis=0), 1.0)
    index = points / radius * np.float32(FOLD_RADIUS_MM / WARP_MM) + (len(shape.folding) - 1) / 2
    noise = ndimage.map_coordinates(shape.folding, index, order=1, mode="nearest")
    slope = np.sqrt(sum(part**2 for part in np.gradient(noise, WARP_MM)))
    usual = np.median(slope)
    return np.asarray(noise / np.maximum(slope, 0.8 * usual), dtype=np.float32)


def spline_basis(at: Array, knots: int) -> Array:
    """Return the (N, knots) weights of uniform cubic B-splines at positions `at`, in units of the knot distance."""
    t = np.abs(at[:, None] - np.arange(knots, dtype=np.float32))
    near = 2 / 3 - t**2 + t**3 / 2
    far = np.clip(2 - t, 0, None) ** 3 / 6
    return np.where(t < 1, near, far).astype(np.float32)
