"""Individual shape: every subject's brain is the template, scaled and smoothly deformed.

Patient space is millimetres around the middle of the brain. A `Shape` maps patient points to template points (the
direction that rendering needs): p ↦ c + diag(s) p + u(p), where u is a sum of two cubic B-spline fields (free-form
deformation, Rueckert et al., IEEE TMI 18(8), 1999), then a shift along the normal of the ventricles that widens them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from striate.phantoms.anatomy import GUIDE_STEP, Array, Template

REACH_MM = 132.0
"""Half the side of the cube that deformation fields cover."""
FIELDS = ((26.0, 2.6), (11.0, 0.8))
"""Knot distance in mm and standard deviation of the displacement in mm, for each field."""
_SPREAD = 0.354
"""Standard deviation of a 3D cubic B-spline field whose coefficients have standard deviation 1 (at its knots)."""


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
    """

    scale: NDArray[np.float64]
    fields: tuple[Array, ...]
    widening_mm: float

    def to_template(self, points_mm: Array, template: Template) -> Array:
        """Map patient points (3, …) in mm to template points in mm."""
        lead = (3, *[1] * (points_mm.ndim - 1))
        moved = points_mm * self.scale.reshape(lead).astype(np.float32)
        for (knots_mm, _), coefficients in zip(FIELDS, self.fields, strict=True):
            at = (points_mm + REACH_MM) / knots_mm
            for axis in range(3):
                moved[axis] += ndimage.map_coordinates(coefficients[axis], at, order=3, mode="nearest", prefilter=False)
        moved += template.centre_mm.reshape(lead).astype(np.float32)
        return self._widened(moved, template)

    def _widened(self, points_mm: Array, template: Template) -> Array:
        near = template.guide(template.ventricle_mm, points_mm)
        strength = self.widening_mm * np.exp(-((np.maximum(near, 0) / 14.0) ** 2))
        slopes = np.gradient(template.ventricle_mm, GUIDE_STEP)
        pull = np.stack([template.guide(slope.astype(np.float32), points_mm) for slope in slopes])
        return np.asarray(points_mm - strength * pull, dtype=np.float32)


def draw_shape(rng: np.random.Generator) -> Shape:
    """Draw one subject's shape: size ± 4 %, aspect ± 2.5 %, smooth deformation, ventricles from slim to wide."""
    scale = 1.0 / (rng.normal(1.0, 0.03) * np.clip(rng.normal(1.0, 0.02, size=3), 0.95, 1.05))
    fields = []
    for knots_mm, spread_mm in FIELDS:
        knots = int(np.ceil(2 * REACH_MM / knots_mm)) + 1
        fields.append(rng.normal(0.0, spread_mm / _SPREAD, size=(3, knots, knots, knots)).astype(np.float32))
    return Shape(np.clip(scale, 0.93, 1.09), tuple(fields), float(rng.uniform(-0.5, 3.0)))
