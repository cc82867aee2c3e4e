"""The fingerprint of whole images: shapes, intensities and how often each class occurs; each case is read once."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from striate.core.case import Case
from striate.core.errors import DataError, expected
from striate.core.image import to_ras
from striate.core.in_threads import in_threads
from striate.core.progress import Progress, Silent, each
from striate.data.background import background_value, bounding_box
from striate.data.cohort import Cohort
from striate.io.read import largest, read_channels
from striate.planning.fingerprint import FACTS_BYTES, CaseShape, Fingerprint, Intensity

SAMPLES = 20_000
"""Voxels that are kept of each channel of a case, or up to twice as many."""
TOTAL = 20_000_000
"""Voxels that are kept of each channel of all cases; with many cases each keeps fewer."""


def measure_images(cohort: Cohort, cases: Sequence[Case], progress: Progress | None = None) -> Fingerprint:
    """Measure `cases`, whatever truth they have.

    Raises
    ------
    DataError
        When there is no case, or 2D and 3D images are mixed.
    """
    if not cases:
        raise DataError(expected(cohort.name, "no case to learn from", "at least one is needed"))
    shapes, voxels, zero = [], [], []
    most = max(1, min(SAMPLES, TOTAL // len(cases)))
    job = functools.partial(_measure, most=most)
    with closing(in_threads(job, cases, FACTS_BYTES * largest(cases)[0])) as measured:
        for shape, picked, share in each(progress or Silent(), "Fingerprint", measured, len(cases)):
            shapes.append(shape)
            voxels.append(picked)
            zero.append(share)
    counts = Counter(name for case in cases for name in case.classes or ())
    dims = {len(s.shape) for s in shapes}
    if len(dims) > 1:
        raise DataError(expected(cohort.name, "2D and 3D images in one cohort", "one kind is needed"))
    pooled = [_intensity(np.concatenate(channel)) for channel in zip(*voxels, strict=True)]
    return Fingerprint(
        cohort=cohort.name, channels=cohort.channels, label_names=cohort.label_names, spatial_dims=dims.pop(),
        cases=tuple(shapes), intensities=tuple(pooled), zero_background=float(np.median(zero)) > 0.25, objects={},
        classes={name: counts[name] for name in cohort.class_names if name in counts},
        examinations=max(Counter(c.subject for c in cohort.cases).values()),
    )  # fmt: skip


def _measure(case: Case, most: int) -> tuple[CaseShape, list[NDArray[np.float32]], float]:
    """Return the geometry of a case, about `most` voxels of each channel within it, and the share of background."""
    images = list(read_channels(case).values())
    turn, grid = to_ras(images[0].grid)
    channels = [turn.apply(channel) for image in images for channel in image.array]
    inside = np.logical_or.reduce([c != background_value(c) for c in channels])
    cropped = tuple(s.stop - s.start for s in bounding_box(inside))
    where = np.flatnonzero(inside) if inside.any() else np.arange(inside.size)
    step = max(1, len(where) // most)
    shape = CaseShape(
        name=case.name, subject=case.subject, shape=grid.shape, cropped=cropped, spacing_mm=grid.spacing_mm
    )
    return shape, [c.ravel()[where[::step]].astype(np.float32) for c in channels], 1 - float(inside.mean())


def _intensity(values: NDArray[np.float32]) -> Intensity:
    low, middle, high = np.percentile(values, (0.5, 50, 99.5))
    return Intensity(
        mean=float(values.mean(dtype=np.float64)), std=float(values.std(dtype=np.float64)),
        p005=float(low), median=float(middle), p995=float(high),
    )  # fmt: skip
