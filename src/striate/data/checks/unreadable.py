"""Files that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from striate.data.checks.facts import CohortFacts
from striate.data.checks.problem import Problem


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report each file that could not be read, with the sentence of the reader."""
    for case in cohort.cases:
        for failure in case.failures:
            message = failure.message.replace(failure.path, Path(failure.path).name).rstrip(".")
            yield Problem(
                "unreadable", case.case, "error", f"{failure.role} cannot be read ({message})",
                "every file of a case must be readable", "Repair or copy the file again, or take the case out of the cohort.",
            )  # fmt: skip
