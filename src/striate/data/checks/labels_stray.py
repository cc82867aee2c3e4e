"""Single labelled voxels that touch no other: slips of the brush, or what thresholding leaves."""

from __future__ import annotations

from collections.abc import Iterator

from striate.data.checks.facts import CohortFacts
from striate.data.checks.problem import Problem

MANY = 10
MANY_SHARE = 0.01


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report stray voxels; few of them are a note, ten or 1 % of the mask a warning."""
    for case in cohort.cases:
        label = case.label
        if label is None or not label.stray_voxels:
            continue
        stray, voxels = label.stray_voxels, label.voxels
        many = stray >= MANY or stray > MANY_SHARE * voxels
        them = "voxel touches" if stray == 1 else "voxels touch"
        yield Problem(
            "label_stray", case.case, "warning" if many else "note",
            f"{stray} single labelled {them} no other label (of {voxels} labelled)",
            "labels of connected voxels are expected, each stray voxel counts as a lesion of its own",
            "Remove them if they are slips of the brush.",
        )  # fmt: skip
