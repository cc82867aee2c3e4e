"""Images too small for what is measured on scans."""

from __future__ import annotations

from collections.abc import Iterator

from striate.core.counted import has_or_have
from striate.data.checks.facts import LEAST_VOXELS, CohortFacts
from striate.data.checks.problem import Problem


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Say once which checks were left out, and for how many cases."""
    small = [c for c in cohort.cases if any(channel.small for channel in c.channels.values())]
    if small:
        grid = small[0].grid
        shape = " × ".join(str(n) for n in grid.shape) if grid is not None else ""
        got = f"{len(small)} of {len(cohort.cases)} cases {has_or_have(len(small))} small images ({shape})"
        yield Problem(
            "small_images", None, "note", got,
            f"at least {LEAST_VOXELS} voxels are needed to look for near copies, clipping, few values and poor quality",
            "Nothing to do; equal copies and constant images are still found.",
        )  # fmt: skip
