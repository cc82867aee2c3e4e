"""Voxel sizes that cannot be, or that are unlike the rest of the cohort."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from striate.core.body_scan import impossible, show_mm
from striate.core.image import to_ras
from striate.data.checks.facts import CaseFacts, CohortFacts
from striate.data.checks.problem import Problem

UNLIKE = 2.0
RARE = 0.2
LEAST_CASES = 3


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report impossible voxel sizes, and cases whose voxels are twice or half the cohort's median along an axis."""
    known = [(case, _spacing_ras(case)) for case in cohort.cases if case.grid is not None]
    for case in cohort.cases:
        if case.grid is not None and (wrong := impossible(case.grid)):
            yield Problem("spacing_impossible", case.case, "error", *wrong)
    dims = {len(s) for _, s in known}
    if len(known) < LEAST_CASES or len(dims) != 1:
        if len(dims) > 1:
            flat = [c.case for c, s in known if len(s) == 2]
            yield Problem(
                "dimensions", None, "error", f"{len(flat)} of {len(known)} cases are pictures, the others volumes",
                "a cohort is either 2D or 3D", f"Take one kind out, for instance {flat[0]}.",
            )  # fmt: skip
        return
    middle = np.median([s for _, s in known], axis=0)
    ratio = np.array([np.max(np.maximum(s / middle, middle / s)) for _, s in known])
    unlike = np.flatnonzero(ratio >= UNLIKE)
    if len(unlike) / len(known) > max(RARE, 1 / len(known)):
        return
    for index in unlike:
        case, spacing = known[index]
        yield Problem(
            "spacing", case.case, "warning", f"voxels of {show_mm(spacing)} mm (RAS), {ratio[index]:.1f} times off the cohort's"
            f" median {show_mm(middle)} mm", "voxel sizes alike are needed, all cases are resampled to one spacing",
            "Check the header against the protocol; if it is true, keep the case and look at its results apart.",
        )  # fmt: skip


def _spacing_ras(case: CaseFacts) -> np.ndarray:
    return np.array(to_ras(case.grid)[1].spacing_mm if case.grid is not None else ())
