"""Label values that the cohort does not name, and named labels that never occur; masks that had to be understood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from striate.core.counted import counted
from striate.data.checks.facts import CohortFacts
from striate.data.checks.problem import Problem
from striate.io.labels import WHITE

RARE = 0.05
LEAST_CASES = 10


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report unnamed values (per case), named values without a voxel, values that few cases have, and reading notes."""
    labelled = [c for c in cohort.cases if c.label is not None]
    names = {v: n for v, n in cohort.label_names.items() if v != 0}
    seen: Counter[int] = Counter()
    whites = {v: c.case for c in labelled if c.label is not None for v in WHITE if v in c.label.values}
    for case in labelled:
        others = [f"{other} holds {value}" for value, other in whites.items()]
        values = case.label.values if case.label is not None else {}
        seen.update(values.keys())
        unknown = [v for v in values if names and v not in names]
        if unknown:
            voxels = sum(values[v].voxels for v in unknown)
            yield Problem(
                "label_unknown", case.case, "error", f"label value {_list(unknown)} in {counted(voxels, 'voxel')}",
                f"only {_list(sorted(names))} are named ({', '.join(names[v] for v in sorted(names))})",
                "Name the value in the cohort's description, or correct the mask.",
            )  # fmt: skip
        for note in case.label.notes if case.label is not None else ():
            if "taken as 0 and 1" in note and others:
                yield _ambiguous(case.case, note, others)
            elif "gaps" not in note and "no orientation" not in note:
                yield Problem(
                    "label_understood", case.case, "note", f"the mask was understood: {note}",
                    "whole numbers from 0 are clearest", "Nothing to do if this is what was meant.",
                )  # fmt: skip
    for value in names if labelled else ():
        if not seen[value]:
            yield Problem(
                "label_missing", None, "warning", f"label {value} ({names[value]}) has no voxel in {len(labelled)} label maps",
                "a label must occur to be learned", "Remove it from the cohort's description, or leave it out of --regions.",
            )  # fmt: skip
    for value, count in sorted(seen.items()) if len(labelled) >= LEAST_CASES and not names else ():
        if count / len(labelled) < RARE:
            where = next(c.case for c in labelled if c.label is not None and value in c.label.values)
            yield Problem(
                "label_rare", where, "warning", f"label value {value} occurs in only {count} of {len(labelled)} cases",
                "values that hardly any case has are often mistakes", "Look at the mask; name the labels to settle it.",
            )  # fmt: skip


def _ambiguous(case: str, note: str, others: list[str]) -> Problem:
    """One mask was read as black and white, while the same white is a label among several in another."""
    return Problem(
        "label_ambiguous", case, "error", f"the mask was understood: {note}, but the mask of case {others[0]} as a label"
        " of its own", "a number must mean the same in every mask", "Write the masks with labels 0, 1, 2 …",
    )  # fmt: skip


def _list(values: list[int]) -> str:
    return ", ".join(str(v) for v in values[:8]) + (" …" if len(values) > 8 else "")
