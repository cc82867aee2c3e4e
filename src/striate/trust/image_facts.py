"""Facts of an image: what the input gate compares with the training cases, measured on the prepared array and its grids.

Nothing is read again. Intensities are those after normalisation, shifted so that the air (without air, the darkest part of the
object) is 0, and divided by the contrast (5th to 95th percentile of the object): they do not depend on the scan's unit.
Definitions and sources of the quality measures: `striate.data.checks.quality`.

=================== ======================================================================= ==============
measure             definition                                                              unit
=================== ======================================================================= ==============
spacing_x … z       voxel size of the file along the RAS axes                               mm
fov_x … z           field of view of the file                                               mm
extent_x … z        bounding box of the object                                              mm
faces               faces of the volume that the object touches
stripped            1 where nothing but a constant surrounds the object
filling             that constant, where it is not 0 in the file                            the file's
rim                 75th percentile of what lies 4 to 12 mm deep minus the 60th of what lies
                    deeper than 18 mm, over the contrast: cortex against white matter
tail, dark          94th and 6th percentile minus the median, over the interquartile range
quantiles           25 quantiles, likewise
noise               noise inside the object over the contrast
blur                perceptual blur, 0 to 1
edge                strength of the sharpest edges over the contrast                        per mm
ghost               ghost-to-signal ratio in the air
streaks             99th percentile minus the median of the air over the contrast
spikes              largest ratio of a k-space point to its neighbours
bias                95th over 5th percentile of the coil's field
picture             12 × 12 × 12 high-pass filtered picture in RAS, −127 to 127
=================== ======================================================================= ==============
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.data.checks.dilate import ball, eroded
from striate.data.checks.facts import LEAST_VOXELS
from striate.data.checks.foreground import Foreground, Volume, faces_touched, find_foreground, spread
from striate.data.checks.quality_air import ghost_to_signal
from striate.data.checks.quality_object import bias_strength, blur_crete, edge_strength, spike_ratio
from striate.data.checks.signature import QUANTILES, THUMBNAIL_SIZE, shape_of_histogram, thumbnail
from striate.data.checks.tissue import find_tissues, noise_inside
from striate.data.prepare import Prepared

Facts = dict[str, Any]
LEAST_AIR = 500
"""Coarse voxels of air that ghosts and streaks need."""
BLOCK = 2
"""Blocks of a thumbnail that become one of the picture."""
TAIL, DARK = (int(np.argmin(np.abs(QUANTILES - q))) for q in (0.94, 0.06))


def image_facts(prepared: Prepared, channels: Sequence[str]) -> dict[str, Facts]:
    """Return channel → measure → value of one case; a measure that cannot be had is None.

    Parameters
    ----------
    prepared
        (C, I, J, K) or (C, I, J); masks of a cascade's first stage behind the images are left out.
    channels
        Names of the images, in order.
    """
    shared = _geometry(prepared)
    spacing_mm = (*prepared.grid.spacing_mm, 1.0)[:3]
    found = {}
    for index, (name, channel) in enumerate(zip(channels, prepared.array[: len(channels)], strict=True)):
        volume = channel if channel.ndim == 3 else channel[..., None]
        found[name] = {**shared, **measure(volume, spacing_mm)}
        filling = prepared.backgrounds[index] if prepared.backgrounds else 0.0
        if found[name].get("stripped") and filling:
            found[name]["filling"] = filling
    return found


def _geometry(prepared: Prepared) -> Facts:
    spacing = prepared.cropped.spacing_mm
    facts: Facts = {"axes": prepared.source.axes}
    for axis, size, step in zip("xyz", prepared.turned_shape, spacing, strict=False):
        facts[f"spacing_{axis}"] = round(float(step), 4)
        facts[f"fov_{axis}"] = round(float(size * step), 2)
    return facts


def measure(volume: Volume, spacing_mm: tuple[float, ...]) -> Facts:
    """Return the facts of one finite volume (I, J, K) with voxels of `spacing_mm`; constant or tiny ones have none."""
    if volume.size < LEAST_VOXELS or not float(volume.max()) > float(volume.min()):
        return {}
    found = find_foreground(volume, spacing_mm)
    inside = volume[found.box][found.mask]
    quantiles = shape_of_histogram(inside)
    facts: Facts = {
        f"extent_{axis}": round((part.stop - part.start) * step, 2)
        for axis, part, step in zip("xyz", found.box, spacing_mm, strict=True)
    }
    facts["faces"] = float(faces_touched(found.coarse_mask))
    facts["stripped"] = float(found.stripped)
    facts["quantiles"] = [round(float(q), 4) for q in quantiles]
    facts["tail"], facts["dark"] = (round(float(quantiles[i]), 4) for i in (TAIL, DARK))
    facts["picture"] = _picture(found)
    sample = inside[:: max(1, inside.size // 100_000)]
    low, high = (float(v) for v in np.percentile(sample, (5, 95)))
    contrast = high - low
    if not contrast > 0:
        return facts
    for name, compute in _quality(volume, spacing_mm, found, contrast).items():
        value = compute()
        facts[name] = round(value, 6) if np.isfinite(value) else None
    return facts


def _quality(
    volume: Volume, spacing_mm: tuple[float, ...], found: Foreground, contrast: float
) -> dict[str, Callable[[], float]]:
    """Return what measures each quality; NaN where there is nothing to measure."""
    nothing = float("nan")
    air = found.coarse[found.coarse_air]
    if found.background is not None:
        air = air[air != np.float32(found.background)]
    noisy = not found.stripped and air.size >= LEAST_AIR
    sample = volume[found.box][found.mask][::7]
    zero = float(np.median(air)) if noisy else float(np.percentile(sample, 0.5))
    shifted = _shifted(found, zero)
    crop = volume[found.box]
    tissues = find_tissues(shifted, spacing_mm)

    def edge() -> float:
        if tissues is None:
            return nothing
        core = spread(tissues.core, found.factors, volume.shape)[found.box]
        return edge_strength(crop, core, spacing_mm, tissues)

    def streaks() -> float:
        return float(np.subtract(*np.percentile(air, (99, 50)))) / contrast if noisy else nothing

    return {
        "rim": lambda: _rim(shifted, spacing_mm) / contrast,
        "noise": lambda: noise_inside(crop, found.mask, spacing_mm) / contrast or nothing,
        "blur": lambda: blur_crete(crop, found.mask, spacing_mm),
        "edge": edge,
        "ghost": lambda: ghost_to_signal(shifted) if noisy else nothing,
        "streaks": streaks,
        "spikes": lambda: spike_ratio(found.coarse),
        "bias": lambda: bias_strength(tissues) if tissues is not None else nothing,
    }


def _shifted(found: Foreground, zero: float) -> Foreground:
    """Return the same with `zero` taken from the intensities of the coarse copy."""
    background = None if found.background is None else found.background - zero
    return replace(found, coarse=found.coarse - np.float32(zero), background=background)


def _rim(found: Foreground, spacing_mm: tuple[float, ...]) -> float:
    """Return how much brighter the rim of the object is than its depth; NaN where it has no depth."""
    steps = tuple(s * f for s, f in zip(spacing_mm, found.factors, strict=True))
    mask = found.coarse_mask
    beyond_4, beyond_12, beyond_18 = (
        eroded(mask, ball(mm, steps, mask.shape), outside=True) for mm in (4.0, 12.0, 18.0)
    )
    rim, deep = found.coarse[beyond_4 & ~beyond_12], found.coarse[beyond_18]
    if min(rim.size, deep.size) < LEAST_AIR:
        return float("nan")
    return float(np.percentile(rim, 75) - np.percentile(deep, 60))


def _picture(found: Foreground) -> list[int]:
    if not found.coarse_bright.any():
        return []
    fine = thumbnail(found.coarse, found.coarse_bright).astype(np.float32)
    half = THUMBNAIL_SIZE // BLOCK
    if fine.shape != (THUMBNAIL_SIZE,) * 3:
        return []
    blocks: NDArray[np.float32] = fine.reshape(half, BLOCK, half, BLOCK, half, BLOCK).mean(axis=(1, 3, 5))
    return [round(float(v)) for v in blocks.ravel()]
