"""Names of classes that are probably one class, and a few cases that turn single classes into multi-label ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from striate.data.checks.facts import CohortFacts
from striate.data.checks.problem import Problem

RARE = 0.05


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report names that differ by capitals, spaces, dashes or underscores, and cases that few have none or several classes."""
    alike: dict[str, set[str]] = defaultdict(set)
    known = [c for c in cohort.cases if c.classes is not None]
    for case in known:
        for name in case.classes or ():
            alike["".join(c for c in name.casefold() if c not in " _-")].add(name)
    for names in alike.values():
        if len(names) > 1:
            yield Problem(
                "class_names_alike", None, "warning", f"classes {' and '.join(sorted(names))} are told apart",
                "one spelling for one class is needed", "Write them alike, or rename one if they are two classes.",
            )  # fmt: skip
    odd = [c for c in known if len(c.classes or ()) != 1]
    if odd and len(odd) < RARE * len(known):
        shown = ", ".join(c.case for c in odd[:3]) + (" …" if len(odd) > 3 else "")
        yield Problem(
            "multi_label_rare", odd[0].case, "warning", f"{len(odd)} of {len(known)} cases have none or several classes"
            f" ({shown}), so that each class is learned by itself", "either one class for each case or any number is meant",
            "Look at these cases; give each one class if classes exclude each other.",
        )  # fmt: skip
