"""Axial slices of one phantom subject, with its lesions or as it would be without: small 2D images for quick work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from striate.phantoms.anatomy import template
from striate.phantoms.contrast import draw_contrast
from striate.phantoms.lesions import draw_lesions
from striate.phantoms.scanner import Raster, scan
from striate.phantoms.shape import draw_shape, warp
from striate.phantoms.subject import draw_pose, lesion_sites, render, stream

MIDDLE_MM = 14.0
"""Height of the middle slice above the middle of the head: the bodies of the lateral ventricles, where lesions are."""
FINE_MM = 2.0
"""Anatomy is rendered on voxels of about this size; slices are averages of them."""


def draw_slices(
    seed: int, subject: int, *, count: int = 6, spacing_mm: float = 4.0, lesions: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Draw adjacent axial slices of subject number `subject` (0, 1, …).

    Parameters
    ----------
    seed
        Of the cohort.
    subject
        Number in the cohort. A subject depends on (`seed`, `subject`) only.
    count
        Number of slices, from below upwards.
    spacing_mm
        Side of a voxel, and thickness of a slice.
    lesions
        False: the same subject and scanner, without lesions.

    Returns
    -------
    images, masks
        (count, I, J) float32, mean 0 and standard deviation 1 over all of them, and (count, I, J) with 1 in lesions.

    Raises
    ------
    UsageError
        When `spacing_mm` is outside the scanner's range.
    """
    part = max(1, round(spacing_mm / FINE_MM))
    whole = Raster.of((spacing_mm,) * 3)
    raster = replace(whole, shape=(*whole.shape[:2], count), parts=(part,) * 3)
    warped, contrast = warp(draw_shape(stream(seed, subject, 0)), template()), draw_contrast(stream(seed, subject, 1))
    found = draw_lesions(stream(seed, subject, 2), lesion_sites(warped, template())) if lesions else []
    rng = stream(seed, subject, 3, 1)
    pose = draw_pose(rng)
    pose = replace(pose, shift_mm=pose.shift_mm + pose.turn @ np.array([0.0, 0.0, MIDDLE_MM]))
    signal, fraction = render(raster, pose, warped, contrast, found)
    image = scan(signal, raster, "none", rng).astype(np.float32)
    image = (image - image.mean()) / image.std()
    return np.moveaxis(image, 2, 0), np.moveaxis((fraction >= 0.5).astype(np.uint8), 2, 0)
