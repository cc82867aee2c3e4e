"""Labels that lie outside the head (or whatever object the scan shows): shifted or mirrored masks."""

from __future__ import annotations

from collections.abc import Iterator

from striate.data.checks.facts import CohortFacts
from striate.data.checks.problem import Problem

FORGIVEN_SHARE = 0.01
FORGIVEN_VOXELS = 10
WRONG_SHARE = 0.3


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report masks of which more than 1 % lies more than about 2 mm outside the object; above 30 % it is an error."""
    for case in cohort.cases:
        label = case.label
        if label is None or label.outside_head is None or not label.voxels:
            continue
        share = label.outside_head / label.voxels
        if label.outside_head <= FORGIVEN_VOXELS or share <= FORGIVEN_SHARE:
            continue
        mirrored = label.outside_mirrored is not None and label.outside_mirrored < 0.2 * label.outside_head
        yield Problem(
            "label_outside", case.case, "error" if share > WRONG_SHARE else "warning",
            f"{label.outside_head} of {label.voxels} labelled voxels ({100 * share:.0f} %) lie outside the object"
            + (", but not when mirrored left to right" if mirrored else ""),
            "labels must lie on tissue",
            "Left and right of the mask are probably exchanged: flip it." if mirrored
            else "Look whether the mask belongs to this image and is not shifted.",
        )  # fmt: skip
