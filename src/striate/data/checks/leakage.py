"""One subject on both sides of a split that the cohort brings along."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from striate.data.checks.facts import CaseFacts, CohortFacts
from striate.data.checks.problem import Problem


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report subjects, and equal scans, that occur in more than one of train, validation and test."""
    by_subject: dict[str, list[CaseFacts]] = defaultdict(list)
    by_voxels: dict[str, list[CaseFacts]] = defaultdict(list)
    for case in cohort.cases:
        if case.split is None:
            continue
        by_subject[case.subject].append(case)
        for channel in case.channels.values():
            if channel.signature is not None and case not in by_voxels[channel.signature.voxel_hash]:
                by_voxels[channel.signature.voxel_hash].append(case)
    for subject, cases in by_subject.items():
        if len({c.split for c in cases}) > 1:
            where = ", ".join(f"{c.case} in {c.split}" for c in cases[:4]) + (" …" if len(cases) > 4 else "")
            yield Problem(
                "leakage", None, "error", f"subject {subject} is on both sides of the split ({where})",
                "a subject must be on one side, otherwise the model is tested on people it has seen",
                "Move all cases of the subject to one side.",
            )  # fmt: skip
    told: set[tuple[str, ...]] = set()
    for cases in by_voxels.values():
        pair = tuple(sorted(c.case for c in cases))
        if len({c.split for c in cases}) > 1 and len({c.subject for c in cases}) > 1 and pair not in told:
            told.add(pair)
            where = ", ".join(f"{c.case} in {c.split}" for c in cases[:4])
            yield Problem(
                "leakage", None, "error", f"one scan is on both sides of the split under different subjects ({where})",
                "a scan must be on one side, otherwise the model is tested on what it has seen", "Remove the copies.",
            )  # fmt: skip
