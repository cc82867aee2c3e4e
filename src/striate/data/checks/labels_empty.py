"""Label maps without a labelled voxel, cases without a label map."""

from __future__ import annotations

from collections.abc import Iterator

from striate.core.counted import has_or_have
from striate.data.checks.facts import CohortFacts
from striate.data.checks.problem import Problem

MANY = 0.5


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report empty label maps (an error when all are), and how many cases of a labelled cohort have none."""
    labelled = [c for c in cohort.cases if c.label is not None]
    empty = [c.case for c in labelled if c.label is not None and not c.label.voxels]
    if empty and len(empty) == len(labelled):
        yield Problem(
            "label_empty", None, "error", f"all {len(empty)} label maps are empty", "labelled voxels are needed to learn from",
            "Check that the masks were exported with their values.",
        )  # fmt: skip
    else:
        for name in empty:
            yield Problem(
                "label_empty", name, "warning", "the label map is empty", "at least one labelled voxel is expected",
                "Keep it if the subject is truly healthy, otherwise add the missing mask.",
            )  # fmt: skip
    without = [c.case for c in cohort.cases if not c.has_label and c.split != "test"]
    if without and any(c.has_label for c in cohort.cases):
        shown = ", ".join(without[:5]) + (" …" if len(without) > 5 else "")
        got = f"{len(without)} of {len(cohort.cases)} cases {has_or_have(len(without))} no label map ({shown})"
        yield Problem(
            "label_absent", None, "note", got,
            "only labelled cases are learned from", "Add their masks, or mark them with split 'test'.",
        )  # fmt: skip
