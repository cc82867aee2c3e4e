"""NaN and infinity among the intensities."""

from __future__ import annotations

from collections.abc import Iterator

from striate.data.checks.facts import CohortFacts
from striate.data.checks.problem import Problem


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report channels with voxels that are not finite: one is enough to make every weight NaN."""
    for case in cohort.cases:
        for name, channel in case.channels.items():
            if channel.not_finite:
                yield Problem(
                    "not_finite", case.case, "error", f"channel {name} holds {channel.not_finite} NaN or infinite voxels",
                    "finite numbers are needed, one NaN spoils every weight of a network",
                    "Replace them by the background value (a division by zero outside the brain is the usual cause).",
                )  # fmt: skip
