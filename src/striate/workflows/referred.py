"""Training cases that input gate and likeness are fitted to: one per subject, as many as time allows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from striate.data.cohort import Cohort
from striate.io.read import read_header

REFERENCE_S_PER_VOXEL = 3e-7
"""Seconds per voxel for the facts of a training case that the input gate is fitted to; measured."""
REFERENCE_S = 30.0
"""Time for these facts, but at least `LEAST_REFERENCE` cases."""
LEAST_REFERENCE, MOST_REFERENCE = 20, 60


def referred(cohort: Cohort, taught: Sequence[str], most: int = MOST_REFERENCE) -> list[str]:
    """Return at most `most` of the cases `taught`, one per subject, as many as time allows, spread over the cohort."""
    firsts = list({cohort.case(name).subject: name for name in reversed(taught)}.values())[::-1]
    per_case_s = REFERENCE_S_PER_VOXEL * max(1, max(voxels(cohort, name) for name in firsts[:3]))
    count = min(len(firsts), most, max(LEAST_REFERENCE, int(REFERENCE_S / per_case_s)))
    return [firsts[i * len(firsts) // count] for i in range(count)]


def reference_s(cohort: Cohort, names: Sequence[str]) -> float:
    """Return the seconds that the facts of these cases take."""
    return REFERENCE_S_PER_VOXEL * sum(voxels(cohort, name) for name in names)


def voxels(cohort: Cohort, name: str) -> int:
    """Return the voxels of a case's first channel."""
    return math.prod(read_header(next(iter(cohort.case(name).channels.values()))).grid.shape)
