"""One phantom subject: shape, lesions and contrast are drawn once, then scanned at each visit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from striate.core.image import Image, LabelMap
from striate.measure.components import components
from striate.phantoms import artefacts as kinds
from striate.phantoms.anatomy import CSF, GREY, WHITE, Array, Template, template
from striate.phantoms.contrast import Contrast, draw_contrast
from striate.phantoms.lesions import Change, Lesion, Sites, draw_lesions, evolve
from striate.phantoms.person import Person, draw_person
from striate.phantoms.scanner import Raster, scan, stretched
from striate.phantoms.shape import WARP_MM, Warp, draw_shape, warp, warp_axes
from striate.phantoms.site import USUAL, Site, draw_site

FULL = 0.5
"""Fraction of lesion from which a voxel is labelled."""
COARSE_MM, COARSE_MM3 = 3.0, 54.0
"""In voxels that are larger along every axis, or larger than 3 × 3 × 6 mm, the smaller lesions and ends of others would
fill one voxel alone, a stray one to `striate.data.checks.labels_stray`: there they are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """One examination of a phantom subject.

    Attributes
    ----------
    time
        1 for the first visit.
    flair, label
        Scan and lesion mask (1: lesion) on the same grid.
    artefact
        Its kind, ``none`` for a clean scan.
    lesions
        Connected lesions in the mask (26 neighbours).
    lesion_ml
        Volume of the mask in mL.
    change
        Lesions that are new, grown or vanished since the visit before.
    site
        Where it was scanned.
    person
        Who was scanned; None in cohorts of one site, which have neither age nor sex.
    """

    time: int
    flair: Image
    label: LabelMap
    artefact: str
    lesions: int
    lesion_ml: float
    change: Change
    site: Site = USUAL
    person: Person | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """How the head lies in the scanner: patient = turn @ scanner + shift_mm."""

    turn: NDArray[np.float64]
    shift_mm: NDArray[np.float64]

    def to_patient(self, points_mm: Array) -> Array:
        """Map scanner points (3, …) to patient points."""
        lead = (3, *[1] * (points_mm.ndim - 1))
        turned = np.tensordot(self.turn.astype(np.float32), points_mm, axes=(1, 0))
        return np.asarray(turned + self.shift_mm.reshape(lead).astype(np.float32), dtype=np.float32)


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw a rotation of about 2 degrees and a shift of about 2 mm."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec(np.deg2rad(rng.normal(0, 2.0, size=3))).as_matrix()
    return Pose(np.asarray(turn), np.clip(rng.normal(0, 1.5, size=3), -4, 4))


def stream(seed: int, subject: int, *key: int) -> np.random.Generator:
    """Return the random numbers of one part of one subject; they depend on nothing else."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(subject, *key)))


def visits(
    seed: int,
    subject: int,
    *,
    spacing_mm: tuple[float, ...],
    count: int = 1,
    artefacts: str = "none",
    sites: int = 1,
) -> Iterator[Visit]:
    """Yield the visits of subject number `subject` (0, 1, …), one at a time.

    Parameters
    ----------
    seed
        Of the cohort.
    subject
        Number in the cohort. A subject depends on (`seed`, `subject`) only, not on how many others are made.
    spacing_mm
        Voxel size along x, y, z.
    count
        Number of visits.
    artefacts
        A name of `striate.phantoms.artefacts.ARTEFACTS`, or ``mixed``.
    sites
        Number of scanners; subjects go to them in turn. With one, subjects have neither age nor sex.

    Raises
    ------
    UsageError
        When the spacing is outside its range or the artefact is unknown.
    """
    raster, site, person = Raster.of(spacing_mm), USUAL, None
    alone = min(spacing_mm) <= COARSE_MM and math.prod(spacing_mm) <= COARSE_MM3
    shape, contrast, load = draw_shape(stream(seed, subject, 0)), draw_contrast(stream(seed, subject, 1)), 1.0
    if sites > 1:
        site, person = draw_site(seed, subject % sites), draw_person(stream(seed, subject, 5))
        raster = site.raster(spacing_mm, stream(seed, subject, 6))
        shape, contrast, load = person.shaped(shape), site.shown(person.shown(contrast)), person.load
    warped = warp(shape, template())
    places = lesion_sites(warped, template())
    lesions, change = draw_lesions(stream(seed, subject, 2), places, load), Change()
    for time in range(1, count + 1):
        if time > 1:
            lesions, change = evolve(stream(seed, subject, 2, time), places, lesions)
        rng = stream(seed, subject, 3, time)
        pose = draw_pose(rng)
        artefact = kinds.choose(artefacts, stream(seed, subject, 4, time))
        signal, fraction = render(raster, pose, warped, contrast, lesions, alone=alone)
        label = LabelMap((fraction >= FULL).astype(np.uint8), raster.affine)
        number = components(label.array)[1]
        volume = float(label.array.sum() * label.grid.voxel_volume_ml)
        stored = scan(signal, raster, artefact, rng, noise=site.noise, bias=site.bias, unit=site.unit)
        flair = Image(stored[None], raster.affine)
        yield Visit(time, flair, label, artefact, number, volume, change, site, person)


def lesion_sites(warped: Warp, anatomy: Template) -> Sites:
    """Return the points of a subject's cerebral white matter (3 mm apart) where lesions may be centred."""
    points = np.stack(np.meshgrid(*warp_axes(), indexing="ij")).reshape(3, -1)
    values = warped.values.reshape(6, -1)
    x, _, z, depth, away, _ = values
    # no lesions below the thalami near the midline, nor in the cerebellum
    chosen = (depth > 4) & (away > 0) & (z > -12) & ~((z < 8) & (np.abs(x) < 12))
    chosen[chosen] = anatomy.guide(anatomy.white, values[:3, chosen]) > 0.75
    at = values[:3, chosen]
    normals = np.stack([anatomy.guide(normal, at) for normal in anatomy.normals])
    return Sites(points[:, chosen], away[chosen], depth[chosen], normals)


def render(
    raster: Raster, pose: Pose, warped: Warp, contrast: Contrast, lesions: list[Lesion], *, alone: bool = True
) -> tuple[Array, Array]:
    """Return the noise-free signal and the fraction of lesion in each voxel, both on the raster.

    Not `alone`: what would fill a single voxel is left out of both.
    """
    fine = [raster.fine_mm(axis) for axis in range(3)]
    coarse = [np.arange(f[0], f[-1] + WARP_MM, WARP_MM, dtype=np.float32) for f in fine]
    dense = warped.at(pose.to_patient(np.stack(np.meshgrid(*coarse, indexing="ij"))))
    for axis in range(3):
        dense = stretched(dense, (fine[axis] - fine[axis][0]) / WARP_MM, axis + 1)
    inside = dense[3] > -1.5
    points, depth, away = dense[:3, inside], dense[3, inside], dense[4, inside]
    tissue = template().tissue(points, depth)
    add_sulci(tissue, points, depth, away, dense[5, inside])
    fraction, glow = render_lesions(fine, pose, lesions)
    room = np.clip(tissue[WHITE] + 0.6 * tissue[GREY], 0, 1) * (depth > 1.0)
    lesion = fraction[inside] * room
    fraction[...] = 0
    fraction[inside] = lesion
    if not alone:
        fraction *= ~raster.fine(_single(raster.averaged(fraction) >= FULL))
        lesion = fraction[inside]
    signal = np.zeros_like(fraction)
    signal[inside] = contrast.signal(tissue, depth, away, lesion, glow[inside])
    return raster.averaged(signal), raster.averaged(fraction)


def _single(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels of `mask` that touch no other."""
    numbers, count = components(mask)
    return np.asarray((np.bincount(numbers.ravel(), minlength=count + 1) == 1)[numbers] & mask)


def add_sulci(tissue: Array, points_mm: Array, depth_mm: Array, ventricle_mm: Array, fold_mm: Array) -> None:
    """Cut the subject's own sulci into the cerebral cortex of `tissue` (3, N), lined with grey matter, in place."""
    apart = np.abs(fold_mm)
    cerebrum = np.clip((points_mm[2] + 22) / 6, 0, 1) * np.clip((ventricle_mm - 12) / 4, 0, 1)
    cerebrum *= np.clip((np.hypot(points_mm[0], np.maximum(points_mm[2] + 10, 0)) - 16) / 6, 0, 1)  # not at the base
    bank = cerebrum * np.clip(3.4 - apart, 0, 1) * np.clip(16.5 - depth_mm, 0, 1)
    cleft = cerebrum * np.clip(1.2 - apart, 0, 1) * np.clip((14.0 - depth_mm) / 8, 0, 1)
    moved = tissue[WHITE] * bank
    tissue[WHITE] -= moved
    tissue[GREY] += moved
    for which in (GREY, WHITE):
        tissue[which] *= 1 - cleft
    tissue[CSF] += (1 - tissue[CSF]) * cleft


def render_lesions(fine: list[NDArray[np.float64]], pose: Pose, lesions: list[Lesion]) -> tuple[Array, Array]:
    """Return fraction and relative brightness of lesions on the fine grid, not yet cut by tissue borders."""
    shape = tuple(len(f) for f in fine)
    fraction, glow = np.zeros(shape, dtype=np.float32), np.ones(shape, dtype=np.float32)
    for lesion in lesions:
        centre = pose.turn.T @ (lesion.centre_mm - pose.shift_mm)
        box = tuple(
            slice(*np.searchsorted(f, (c - lesion.reach_mm, c + lesion.reach_mm)))
            for f, c in zip(fine, centre, strict=True)
        )
        near = np.stack(np.meshgrid(*(f[b].astype(np.float32) for f, b in zip(fine, box, strict=True)), indexing="ij"))
        if near.size == 0:
            continue
        part, bright = lesion.render(pose.to_patient(near))
        stronger = part > fraction[box]
        fraction[box][stronger] = part[stronger]
        glow[box][stronger] = bright[stronger]
    return fraction, glow
