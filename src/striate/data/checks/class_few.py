"""Classes of too few subjects, and cohorts with nothing to tell apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from striate.data.checks.facts import CohortFacts
from striate.data.checks.problem import Problem

LEAST_SUBJECTS = 2


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report classes that fewer than two subjects have outside of the split ``test``, and those that every case has."""
    known = [c for c in cohort.cases if c.classes is not None]
    subjects: dict[str, set[str]] = defaultdict(set)
    for case in known:
        for name in case.classes or ():
            subjects[name] |= {case.subject} if case.split != "test" else set()
    for name, those in subjects.items():
        if len(those) < LEAST_SUBJECTS:
            got = (
                f"only subject {next(iter(those))} has class {name}"
                if those
                else f"class {name} is in the split test alone"
            )
            yield Problem(
                "class_few", None, "warning", got, f"at least {LEAST_SUBJECTS} subjects are needed, one to learn from and one to"
                " validate on", "Add a subject of this class, or leave the class out.",
            )  # fmt: skip
        if len(known) > 1 and all(name in (c.classes or ()) for c in known):
            alone = len(subjects) == 1 and not any(c.has_label for c in cohort.cases)
            yield Problem(
                "class_constant", None, "error" if alone else "warning", f"all {len(known)} cases have class {name}",
                "a class is learned from cases that have it and cases that have not", "Add cases without it, or leave it out.",
            )  # fmt: skip
