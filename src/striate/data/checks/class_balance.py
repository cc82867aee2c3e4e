"""Classes of very unequal size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from striate.data.checks.facts import CohortFacts
from striate.data.checks.problem import Problem

RATIO = 10


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report a class with more than ten times the cases of another; cases kept for testing are not counted."""
    counts = Counter(name for case in cohort.cases if case.split != "test" for name in case.classes or ())
    if len(counts) < 2:
        return
    (most, many), *_, (least, few) = counts.most_common()
    if many > RATIO * few:
        yield Problem(
            "class_imbalance", None, "warning", f"class {most} has {many} cases, class {least} only {few}",
            f"up to {RATIO} times learns well; beyond, a high accuracy may mean that the rare class is never told",
            "Add cases of the rare class, or judge by its own sensitivity and not by the accuracy.",
        )  # fmt: skip
