"""Images without contrast: constant, or of a handful of values."""

from __future__ import annotations

from collections.abc import Iterator

from striate.data.checks.facts import CohortFacts
from striate.data.checks.problem import Problem

FEW_LEVELS = 16


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report constant channels (error) and channels with at most 16 values (a mask in the place of an image?)."""
    for case in cohort.cases:
        for name, channel in case.channels.items():
            if channel.not_finite:
                continue
            if channel.maximum <= channel.minimum:
                yield Problem(
                    "constant", case.case, "error", f"every voxel of channel {name} is {channel.minimum:.6g}"
                    if channel.background is None else
                    f"channel {name} holds only {channel.background:.6g} and {channel.minimum:.6g}",
                    "an image with contrast is needed", "Export the scan again; the file may be a mask.",
                )  # fmt: skip
            elif channel.levels <= FEW_LEVELS and not channel.small:
                yield Problem(
                    "few_levels", case.case, "warning", f"channel {name} has only {channel.levels} different values",
                    "an image has hundreds", "Look whether a mask or a label map was given in the place of the image.",
                )  # fmt: skip
