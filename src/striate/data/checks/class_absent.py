"""Cases of which the class is not known."""

from __future__ import annotations

from collections.abc import Iterator

from striate.core.counted import has_or_have
from striate.data.checks.facts import CohortFacts
from striate.data.checks.problem import Problem


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report how many cases of a cohort with classes have none given."""
    without = [c.case for c in cohort.cases if c.classes is None and c.split != "test"]
    if without and any(c.classes is not None for c in cohort.cases):
        shown = ", ".join(without[:5]) + (" …" if len(without) > 5 else "")
        got = f"{len(without)} of {len(cohort.cases)} cases {has_or_have(len(without))} no class ({shown})"
        yield Problem(
            "class_absent", None, "note", got,
            "only cases with a class are learned from",
            "Add their classes ('none' says none of them), or mark them with split 'test'.",
        )  # fmt: skip
