"""White matter lesions: where they lie, how large they are, which shape they have, and how they change.

The pattern is that of multiple sclerosis: ovoid lesions that touch the lateral ventricles and point away from them
(Dawson's fingers), lesions of the deep white matter, and a few below the cortex. All coordinates are patient space, mm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from striate.phantoms.anatomy import Array

MOST, FEWEST = 40, 3
SMALLEST_ML, LARGEST_ML = 0.02, 10.0
MEDIAN_ML, SPREAD = 0.5, 1.1
"""Median volume and standard deviation of its natural logarithm."""
WAVES = 6
LOAD_ML = 1.5
"""The largest lesion of a subject has at least this volume."""
EDGE_MM = 1.6
"""Width of the ramp from healthy tissue to lesion."""
Vectors = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Lesion:
    """One lesion.

    Attributes
    ----------
    kind
        ``periventricular``, ``deep`` or ``juxtacortical``.
    centre_mm
        Patient space.
    axes
        (3, 3), rows are unit vectors; the first points away from the ventricles.
    radii_mm
        Half axes along `axes`.
    strength
        Brightness relative to other lesions of the subject (1 is usual).
    waves
        (WAVES, 5): direction (3), phase and height of the waves that make shape and brightness irregular.
    """

    kind: str
    centre_mm: Vectors
    axes: Vectors
    radii_mm: Vectors
    strength: float
    waves: Vectors

    @property
    def volume_ml(self) -> float:
        """Volume of the ellipsoid before tissue borders cut it, 4/3 π r₁ r₂ r₃."""
        return float(4 / 3 * np.pi * np.prod(self.radii_mm) / 1000)

    @property
    def reach_mm(self) -> float:
        """Radius of a ball around the centre that holds the whole lesion."""
        return float(self.radii_mm.max() * 1.5 + EDGE_MM)

    def swollen(self, factor: float) -> Lesion:
        """Return the lesion with all radii times `factor`."""
        return replace(self, radii_mm=self.radii_mm * factor)

    def render(self, points_mm: Array) -> tuple[Array, Array]:
        """Return the fraction of lesion (0 … 1) and its relative brightness at patient points (3, …)."""
        lead = (3, *[1] * (points_mm.ndim - 1))
        offset = points_mm - self.centre_mm.reshape(lead).astype(np.float32)
        scaled = np.tensordot((self.axes / self.radii_mm[:, None]).astype(np.float32), offset, axes=(1, 0))
        radius = np.sqrt((scaled**2).sum(axis=0))
        ripple = np.zeros_like(radius)
        bright = np.zeros_like(radius)
        for index, (x, y, z, phase, height) in enumerate(self.waves.astype(np.float32)):
            angle = np.tensordot(np.array([x, y, z], dtype=np.float32), scaled, axes=(0, 0)) + phase
            if index < WAVES - 2:
                ripple += height * np.sin(angle)
            else:
                bright += height * np.sin(angle)
        effective = float(np.prod(self.radii_mm) ** (1 / 3))
        fraction = np.clip(0.5 + (1.0 + ripple - radius) * effective / EDGE_MM, 0, 1)
        glow = self.strength * (0.95 + 0.2 * np.clip(1 - radius, 0, 1) + bright)
        return np.asarray(fraction, dtype=np.float32), np.asarray(glow, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Sites:
    """Candidate centres of lesions (N white matter points of one subject) and what is known there.

    Attributes
    ----------
    points_mm
        (3, N) patient space.
    ventricle_mm, depth_mm
        (N,) distance to the lateral ventricles and to the brain's surface.
    normals
        (3, N) unit vectors away from the ventricles.
    """

    points_mm: Array
    ventricle_mm: Array
    depth_mm: Array
    normals: Array

    def weights(self, kind: str, along_mm: float, across_mm: float) -> Array:
        """Return how likely (up to a factor) a lesion of that kind and those radii lies at each point."""
        away, deep = self.ventricle_mm, self.depth_mm
        if kind == "periventricular":
            return np.asarray(np.exp(-(((away - 0.85 * along_mm - 1.0) / 1.2) ** 2)) * (deep > across_mm + 12))
        if kind == "juxtacortical":
            return np.asarray((away > 18) * np.exp(-(((deep - across_mm - 7) / 2.5) ** 2)))
        return np.asarray(np.exp(-np.maximum(away, 0) / 14) * (away > along_mm + 3) * (deep > across_mm + 9))


KINDS = {"periventricular": 0.45, "deep": 0.40, "juxtacortical": 0.15}


def draw_lesions(rng: np.random.Generator, sites: Sites, load: float = 1.0) -> list[Lesion]:
    """Draw the lesions of one subject: between `FEWEST` and `MOST`, volumes log-normal, largest placed first.

    `load` is how many there are over the usual.
    """
    number = int(np.clip(np.round(np.exp(rng.normal(np.log(14 * load), 0.55))), FEWEST, MOST))
    volumes = np.sort(draw_volumes_ml(rng, number))[::-1]
    volumes[0] = max(volumes[0], LOAD_ML)
    lesions: list[Lesion] = []
    for volume in volumes:
        lesion = draw_lesion(rng, sites, float(volume), lesions)
        if lesion is not None:
            lesions.append(lesion)
    return lesions


def draw_volumes_ml(rng: np.random.Generator, number: int) -> Vectors:
    """Draw volumes in mL from a log-normal distribution, cut to `SMALLEST_ML` … `LARGEST_ML`."""
    return np.clip(np.exp(rng.normal(np.log(MEDIAN_ML), SPREAD, size=number)), SMALLEST_ML, LARGEST_ML)


def draw_lesion(
    rng: np.random.Generator, sites: Sites, volume_ml: float, others: list[Lesion], apart_mm: float = 0.0
) -> Lesion | None:
    """Draw one lesion that keeps `apart_mm` from `others`; None where there is no room for it."""
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if volume_ml > 0.6 and kind == "juxtacortical":
        kind = "deep"
    ball = (3000 * volume_ml / (4 * np.pi)) ** (1 / 3)
    stretch = rng.uniform(1.25, 2.2) if kind == "periventricular" else rng.uniform(0.8, 1.5)
    flat = rng.uniform(0.8, 1.25)
    radii = ball * np.array([stretch, flat, 1 / flat]) / np.array([1.0, *[np.sqrt(stretch)] * 2])
    weights = sites.weights(kind, float(radii[0]), float(radii[1:].max())).astype(np.float64)
    for other in others:
        gap = np.linalg.norm(sites.points_mm - other.centre_mm[:, None].astype(np.float32), axis=0)
        weights[gap < 0.9 * (radii.max() + other.radii_mm.max()) + apart_mm] = 0
    if weights.sum() <= 1e-9:
        return None
    at = int(rng.choice(weights.size, p=weights / weights.sum()))
    centre = sites.points_mm[:, at] + rng.uniform(-1, 1, size=3)
    return Lesion(kind, centre, _frame(rng, sites.normals[:, at]), radii, float(rng.uniform(0.85, 1.15)), _waves(rng))


def _frame(rng: np.random.Generator, normal: Array) -> Vectors:
    """Return three perpendicular unit vectors, the first near `normal` (tilted by a few degrees)."""
    first = normal / max(float(np.linalg.norm(normal)), 1e-6) + rng.normal(0, 0.15, size=3)
    rows = np.linalg.qr(np.stack([first, rng.normal(size=3), rng.normal(size=3)]).T)[0].T
    return np.asarray(rows, dtype=np.float64)


def _waves(rng: np.random.Generator) -> Vectors:
    """Draw waves in units of the radii: directions of 1.5 … 4 rad per radius, heights that sum to a third or so."""
    direction = rng.normal(size=(WAVES, 3))
    direction *= rng.uniform(1.5, 4.0, size=(WAVES, 1)) / np.linalg.norm(direction, axis=1, keepdims=True)
    phase = rng.uniform(0, 2 * np.pi, size=(WAVES, 1))
    height = rng.uniform(0.06, 0.17, size=(WAVES, 1))
    return np.hstack([direction, phase, height])


@dataclass(frozen=True, slots=True)
class Change:
    """How many lesions are new, grown or vanished since the visit before."""

    new: int = 0
    grown: int = 0
    vanished: int = 0


def evolve(rng: np.random.Generator, sites: Sites, lesions: list[Lesion]) -> tuple[list[Lesion], Change]:
    """Return the lesions of the next visit: some grow, few vanish, new ones appear apart from all others."""
    kept: list[Lesion] = []
    grown = vanished = 0
    for lesion in lesions:
        fate = rng.uniform()
        if fate < 0.12 and lesion.volume_ml < 0.5 and len(lesions) - vanished > FEWEST and _alone(lesion, lesions):
            vanished += 1
        elif fate > 0.75 and lesion.volume_ml < 4:
            kept.append(lesion.swollen(float(rng.uniform(1.2, 1.4))))
            grown += 1
        else:
            kept.append(lesion)
    new = 0
    for volume in np.clip(draw_volumes_ml(rng, int(rng.integers(1, 5))), 0.1, 1.5):
        lesion_or_none = draw_lesion(rng, sites, float(volume), kept, apart_mm=4.0)
        if lesion_or_none is not None:
            kept.append(lesion_or_none)
            new += 1
    return kept, Change(new, grown, vanished)


def _alone(lesion: Lesion, lesions: list[Lesion]) -> bool:
    return all(
        other is lesion or np.linalg.norm(other.centre_mm - lesion.centre_mm) > lesion.reach_mm + other.reach_mm
        for other in lesions
    )
