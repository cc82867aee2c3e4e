"""What is measured of a case, once, while its files are read; every check decides on these facts alone.

The facts of a case take a few ten kilobytes whatever the size of its scans, so that memory stays flat over a cohort.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.image import Grid

LEAST_VOXELS = 48 * 48
"""Voxels of an image below which near copies, clipping and quality cannot be told: two for each of a thumbnail's pixels."""


@dataclass(frozen=True, slots=True)
class Forms:
    """The two places that a NIfTI header gives a volume.

    Attributes
    ----------
    apart_mm
        Largest distance between the corners of the volume as placed by the qform and by the sform.
    qform_axes, sform_axes
        Orientation letters of each.
    """

    apart_mm: float
    qform_axes: str
    sform_axes: str


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """What recognises an image among others; not written to disk.

    Attributes
    ----------
    voxel_hash
        Hash of the voxels of the object's bounding box in RAS order.
    thumbnail
        High-pass filtered low-resolution image (int8, `signature.THUMBNAIL_SIZE` along each axis), in RAS; empty for
        small images.
    quantiles
        Quantiles of the object's intensities, shifted by the median and divided by the interquartile range.
    """

    voxel_hash: str
    thumbnail: NDArray[np.int8]
    quantiles: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ChannelFacts:
    """One channel of a case.

    Attributes
    ----------
    grid
        Where it lies.
    minimum, maximum, mean, std, p01, p99
        Of the finite voxels of the object (what is not background).
    not_finite
        Number of voxels that are NaN or infinite.
    background
        The one value that fills the background, or None where the background holds noise.
    stripped
        True where nothing but that value surrounds the object.
    at_maximum, at_minimum
        Share of the object's voxels that have exactly the largest (smallest) value.
    top_excess, bottom_excess
        How many times more voxels that value has than its neighbourhood of equal width would let expect.
    levels
        Number of different values seen in a sample of the object, at most 1000.
    quality
        Measure → value, None where it cannot be measured.
    unmeasured
        Measure → why it cannot be measured.
    forms
        qform against sform, where both are set.
    notes
        What reading had to understand or assume.
    signature
        What recognises it; None when read back from disk or not finite.
    """

    grid: Grid
    minimum: float
    maximum: float
    mean: float
    std: float
    p01: float
    p99: float
    not_finite: int = 0
    background: float | None = None
    stripped: bool = False
    at_maximum: float = 0.0
    at_minimum: float = 0.0
    top_excess: float = 0.0
    bottom_excess: float = 0.0
    levels: int = 1000
    quality: Mapping[str, float | None] = field(default_factory=dict)
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    forms: Forms | None = None
    notes: tuple[str, ...] = ()
    signature: Signature | None = None

    @property
    def small(self) -> bool:
        """Whether the image has fewer than `LEAST_VOXELS`."""
        return math.prod(self.grid.shape) < LEAST_VOXELS

    def to_dict(self) -> dict[str, Any]:
        """Return what is written to disk."""
        return {
            "min": self.minimum, "max": self.maximum, "mean": self.mean, "std": self.std, "p01": self.p01, "p99": self.p99,
            "not_finite": self.not_finite, "background": self.background, "stripped": self.stripped,
            "quality": dict(self.quality), "not_measurable": dict(self.unmeasured),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ValueFacts:
    """One label value of a case: voxels, volume in mL, 26-connected components, and how many of those are one voxel."""

    voxels: int
    volume_ml: float
    components: int
    single_voxels: int


@dataclass(frozen=True, slots=True, eq=False)
class LabelFacts:
    """The label map of a case.

    Attributes
    ----------
    grid
        Where it lies.
    values
        Label value → facts.
    stray_voxels
        Voxels that touch no other labelled voxel, whatever its value.
    outside_head
        Labelled voxels that lie outside the object in all channels; None where that is not known.
    outside_mirrored
        The same after the mask was mirrored left to right.
    voxel_hash
        Hash of the voxels.
    notes
        What reading had to understand (0/255, fractional edges …).
    forms
        qform against sform, where both are set.
    """

    grid: Grid
    values: Mapping[int, ValueFacts]
    stray_voxels: int = 0
    outside_head: int | None = None
    outside_mirrored: int | None = None
    voxel_hash: str = ""
    notes: tuple[str, ...] = ()
    forms: Forms | None = None

    @property
    def voxels(self) -> int:
        """Labelled voxels of all values."""
        return sum(v.voxels for v in self.values.values())

    def to_dict(self) -> dict[str, Any]:
        """Return what is written to disk."""
        return {
            str(value): {"voxels": f.voxels, "volume_ml": f.volume_ml, "components": f.components}
            for value, f in self.values.items()
        }


@dataclass(frozen=True, slots=True)
class RaterFacts:
    """Agreement of one rater with the case's label map: Dice per value, None where both have none."""

    grid: Grid
    fits: bool
    dice: Mapping[int, float | None]


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be read: what it was to be, where it is, the sentence of the error."""

    role: str
    path: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class CaseFacts:
    """All that the checks know of a case.

    Attributes
    ----------
    joint
        (channel a, channel b) → joint histogram of their intensities; see `signature.joint_histogram`.
    classes
        Classes of the whole image; None where they are not known.
    """

    case: str
    subject: str
    channels: Mapping[str, ChannelFacts]
    label: LabelFacts | None = None
    raters: Mapping[str, RaterFacts] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    split: str | None = None
    has_label: bool = False
    joint: Mapping[tuple[str, str], NDArray[np.float32]] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None

    @property
    def grid(self) -> Grid | None:
        """Grid of the first channel that could be read."""
        return next((c.grid for c in self.channels.values()), None)

    def to_dict(self) -> dict[str, Any]:
        """Return what is written to disk."""
        grid = self.grid
        return {
            "case": self.case,
            "subject": self.subject,
            "shape": None if grid is None else list(grid.shape),
            "spacing_mm": None if grid is None else list(grid.spacing_mm),
            "axes": None if grid is None else grid.axes,
            "channels": {name: channel.to_dict() for name, channel in self.channels.items()},
            "label": None if self.label is None else self.label.to_dict(),
            "classes": None if self.classes is None else list(self.classes),
        }


@dataclass(frozen=True, slots=True)
class CohortFacts:
    """Facts of all cases, and what the cohort says about itself."""

    cases: tuple[CaseFacts, ...]
    label_names: Mapping[int, str] = field(default_factory=dict)
