"""`TrainingImages`: what the images that a model learned from were like, and whether another one is like them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from striate.core.caution import Caution
from striate.core.counted import counted
from striate.measure.finding import Ood
from striate.trust.evidence import CaseEvidence
from striate.trust.gate import Gate
from striate.trust.likeness import Likeness, likeness_features

UNLIKE = "unlike-training"


@dataclass(frozen=True, slots=True, eq=False)
class TrainingImages:
    """What is known of them.

    Attributes
    ----------
    gate, likeness
        None with fewer than 3 subjects.
    n_subjects
        That both rest on.
    """

    gate: Gate | None = None
    likeness: Likeness | None = None
    n_subjects: int = 0

    @classmethod
    def of(cls, reference: Sequence[CaseEvidence]) -> TrainingImages:
        """Fit to at least one case (`striate.trust.reference`); likeness to those whose features could be had, all but blank."""
        cases = numbered(reference)
        subjects = [case.subject for case in cases]
        rows = [likeness_features(case.facts, case.features) for case in cases]
        longest = max(map(len, rows))
        kept = [i for i, row in enumerate(rows) if len(row) == longest]
        return cls(
            Gate.fit([case.facts for case in cases], subjects),
            Likeness.fit(np.stack([rows[i] for i in kept]), [subjects[i] for i in kept]),
            len(set(subjects)),
        )

    @property
    def asks(self) -> bool:
        """Whether facts and features of an image are looked at."""
        return self.gate is not None or self.likeness is not None

    def ood(self, case: CaseEvidence) -> Ood | None:
        """Return how unlike them a case is; None without a threshold, or where its features could not be had."""
        if self.likeness is None or self.likeness.threshold is None:
            return None
        features = likeness_features(case.facts, case.features)
        if features.shape != self.likeness.features.shape[1:]:
            return None
        return Ood(self.likeness.score(features), self.likeness.threshold)

    def cautions(self, case: CaseEvidence, ood: Ood | None = None, advice: str = "") -> list[Caution]:
        """Return those of the gate, and one with `advice` where the case is unlike them by its `ood`."""
        found = [] if self.gate is None else self.gate.cautions(case.case, case.facts)
        if ood is not None and ood.outside:
            text = (
                f"case {case.case} is unlike the {self.n_subjects} training subjects: score {ood.score:.3g},"
                f" threshold {ood.threshold:.3g}. {advice}"
            )
            found.append(Caution(UNLIKE, text))
        return found

    @property
    def limits(self) -> list[str]:
        """What is not known of them, in sentences."""
        told, subjects = [], counted(self.n_subjects, "training subject")
        if self.gate is None:
            told.append(f"No input gate: {subjects}; 3 are needed.")
        if self.likeness is None or self.likeness.threshold is None:
            told.append(f"No out-of-distribution threshold: {subjects}; 19 are needed.")
        return told

    def summary(self) -> dict[str, Any]:
        """Return what the model card says of gate and likeness, in numbers."""
        return {
            "gate": None if self.gate is None else dict(self.gate.false_alarms),
            "likeness": None if self.likeness is None else self.likeness.summary(),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of gate and likeness."""
        return {
            "gate": None if self.gate is None else self.gate.to_dict(),
            "likeness": None if self.likeness is None else self.likeness.to_dict(),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> TrainingImages:
        """Read them from ``trust.json``, where the number of subjects is called ``n_reference_subjects``."""
        gate, likeness = document["gate"], document["likeness"]
        return cls(
            None if gate is None else Gate.from_dict(gate),
            None if likeness is None else Likeness.from_dict(likeness),
            int(document["n_reference_subjects"]),
        )


def numbered(cases: Sequence[CaseEvidence]) -> list[CaseEvidence]:
    """Return the cases with numbers for the names of subjects."""
    numbers = {subject: str(i) for i, subject in enumerate(sorted({case.subject for case in cases}), 1)}
    return [replace(case, subject=numbers[case.subject]) for case in cases]
