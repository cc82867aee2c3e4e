"""Disagreement between raters of one case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from striate.data.checks.facts import CohortFacts
from striate.data.checks.problem import Problem

LOW_DICE = 0.5


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report raters whose Dice with the case's label map is below 0.5 for a value."""
    for case in cohort.cases:
        for rater, facts in case.raters.items():
            low = {v: d for v, d in facts.dice.items() if d is not None and d < LOW_DICE}
            if low:
                yield Problem(
                    "raters_disagree", case.case, "warning", f"rater {rater} and the label map agree with Dice"
                    f" {_dice(low, cohort.label_names)}", f"at least {LOW_DICE} is expected between two raters",
                    "Look at both; learn from their consensus, or leave the case out.",
                )  # fmt: skip


def _dice(low: Mapping[int, float], names: Mapping[int, str]) -> str:
    return ", ".join(f"{d:.2f} for {names.get(v, f'label {v}')}" for v, d in low.items())
