"""The same voxels twice: between channels of a case, cases, subjects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from striate.data.checks.facts import CaseFacts, CohortFacts
from striate.data.checks.problem import Problem


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report images with equal voxels (hash of the object's box in RAS order), and label maps that differ on them."""
    places: dict[str, list[tuple[CaseFacts, str]]] = defaultdict(list)
    for case in cohort.cases:
        for name, channel in case.channels.items():
            if channel.signature is not None:
                places[channel.signature.voxel_hash].append((case, name))
    told: set[tuple[str, str]] = set()
    for same in places.values():
        for index, (case, name) in enumerate(same[1:], start=1):
            first, first_name = same[0] if same[0][0] is not case else same[index - 1]
            if (first.case, case.case) in told:
                continue
            told.add((first.case, case.case))
            yield _problem(first, first_name, case, name)
            if case is not first:
                yield from _labels(first, case)


def _problem(first: CaseFacts, first_name: str, case: CaseFacts, name: str) -> Problem:
    if case is first:
        return Problem(
            "channel_twice", case.case, "error", f"channels {first_name} and {name} hold the same image",
            "each channel must be a scan of its own", "Put the right file in the place of one of them.",
        )  # fmt: skip
    if case.subject != first.subject:
        return Problem(
            "duplicate", case.case, "error", f"{name} holds the same voxels as {first_name} of case {first.case}"
            f" (subjects {case.subject} and {first.subject})", "each subject must occur once, a copy in training and"
            " validation makes results look better than they are", "Remove one of them, or give both the same subject.",
        )  # fmt: skip
    return Problem(
        "duplicate", case.case, "warning", f"{name} holds the same voxels as {first_name} of case {first.case} of the same"
        " subject", "each scan must occur once", "Remove one of them.",
    )  # fmt: skip


def _labels(first: CaseFacts, case: CaseFacts) -> Iterator[Problem]:
    """Report duplicates whose label maps disagree."""
    if first.label is None or case.label is None or first.label.voxel_hash == case.label.voxel_hash:
        return
    ours, theirs = case.label.voxels, first.label.voxels
    yield Problem(
        "duplicates_disagree", case.case, "error", f"its scan equals that of case {first.case}, but the label maps differ"
        f" ({ours} and {theirs} labelled voxels)", "one truth for one image is needed", "Decide which label map is right.",
    )  # fmt: skip
