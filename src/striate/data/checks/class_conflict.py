"""The same image with different classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from striate.data.checks.facts import CaseFacts, CohortFacts
from striate.data.checks.problem import Problem


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report cases whose images are equal in all channels (see `duplicates`) and whose classes differ.

    An error, unless there are label maps to learn from.
    """
    same: dict[tuple[str, ...], list[CaseFacts]] = defaultdict(list)
    for case in cohort.cases:
        signatures = [c.signature for c in case.channels.values()]
        if case.classes is not None and signatures and all(s is not None for s in signatures):
            same[tuple(s.voxel_hash for s in signatures if s is not None)].append(case)
    labelled = any(c.has_label for c in cohort.cases)
    for cases in same.values():
        first, *others = cases
        for case in others:
            if case.classes != first.classes:
                yield Problem(
                    "classes_disagree", case.case, "warning" if labelled else "error",
                    f"its image equals that of case {first.case}, but it has {_named(case)} and the other {_named(first)}",
                    "one truth for one image is needed",
                    "Decide which is right; if it is both, keep one case with both, joined by ';'.",
                )  # fmt: skip


def _named(case: CaseFacts) -> str:
    names = case.classes or ()
    return f"class {names[0]}" if len(names) == 1 else f"classes {', '.join(names)}" if names else "no class"
