"""The limits of a classifier in the verbs: what it said as evidence, the training cases beside it, its judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import nn

from striate.core.case import Case
from striate.core.caution import Caution
from striate.core.progress import Progress, each
from striate.data.cohort import Cohort
from striate.data.prepare import Prepared
from striate.inference.warn import nothing_to_see
from striate.inference.whole import WholePrediction, form_of, predict_whole
from striate.measure.class_findings import ClassCase, ClassFindings
from striate.measure.class_table import ClassTable
from striate.model.model import Model
from striate.planning.plan import Plan
from striate.trust.class_calibration import ClassScores
from striate.trust.class_evidence import ClassEvidence
from striate.trust.class_sets import measure_sets
from striate.trust.class_trust import ClassTrust
from striate.trust.conformal import subject_weights
from striate.trust.evidence import CaseEvidence
from striate.trust.image_facts import image_facts
from striate.workflows.referred import referred

NAMING = ("classification", "sequence")
"""Kinds of task whose models name classes."""
MOST_REFERENCE = 200
"""Training cases that likeness looks at; images of many classes differ more than scans of one organ."""

LIMITS_S = 2e-4
"""Seconds for gate and likeness, times the square of the training cases that they look at, and the channels; measured."""

Truth = Callable[[str, int | None], tuple[str, ...] | None]
"""Case and slice (None: the whole case) → its true classes; None where they are not known."""


class Looking:
    """Keeps the facts of the images that it is shown, by case.

    Parameters
    ----------
    channels
        Names of the images, in order.
    """

    def __init__(self, channels: Sequence[str]) -> None:
        self.channels, self.facts = tuple(channels), dict[str, Mapping[str, Any]]()

    def __call__(self, name: str, prepared: Prepared) -> None:
        """Measure the images of one case."""
        self.facts[name] = image_facts(prepared, self.channels)


def evidence_of(
    plan: Plan, found: WholePrediction, truth: Truth, facts: Mapping[str, Mapping[str, Any]] | None = None
) -> ClassEvidence:
    """Return what a network said of a case, with its truth where that of every row is known.

    Parameters
    ----------
    plan
        Of the model.
    found
        What it said.
    truth
        Tells the true classes.
    facts
        Of the images, where they were measured.
    """
    case, planes = found.case, found.slices or (None,)
    named = [truth(case.name, plane) for plane in planes]
    known = [names for names in named if names is not None]
    hot = np.array([[name in names for name in plan.task.classes] for names in known], dtype=bool)
    return ClassEvidence(
        case.name,
        case.subject,
        found.probabilities.astype(np.float64),
        hot if len(known) == len(named) else None,
        planes,
        np.zeros(0, np.float32) if found.features is None else found.features,
        facts or {},
    )


def seen_cases(plan: Plan, cohort: Cohort, taught: Sequence[str]) -> list[Case]:
    """Return the training cases that gate and likeness are fitted to; of time points all those of a subject."""
    names = referred(cohort, taught, MOST_REFERENCE)
    if form_of(plan).times:
        subjects = {cohort.case(name).subject for name in names}
        return [case for case in map(cohort.case, taught) if case.subject in subjects]
    return [cohort.case(name) for name in names]


def seen_in_training(plan: Plan, network: nn.Module, cases: Sequence[Case], progress: Progress) -> list[CaseEvidence]:
    """Return facts and features of cases that a network learned from."""
    looking, seen = Looking(plan.task.channels), list[CaseEvidence]()
    told = predict_whole(plan, network, cases, look=looking, listen=True)
    for one in each(progress, "Reference", told, len(cases)):
        features = np.zeros(0, np.float32) if one.features is None else one.features
        seen.append(CaseEvidence(one.case.name, one.case.subject, {}, features, looking.facts.pop(one.case.name)))
    return seen


def findings_of(trust: ClassTrust, cases: Sequence[ClassCase]) -> ClassFindings:
    """Return the findings of cases that were judged by `trust`."""
    found = trust.calibration
    return ClassFindings(
        trust.classes,
        trust.exclusive,
        tuple(cases),
        trust.calibrated_on,
        None if trust.sets.reach is None or not found.calibrated else trust.sets.coverage,
    )


def how_limits_did(table: ClassTable, findings: ClassFindings) -> dict[str, Any]:
    """Return how calibrated probabilities and sets did on rows of known truth; nothing where none was calibrated.

    Each subject counts alike. ``uncalibrated`` and ``calibrated``: the scores of `ClassScores`; ``sets``: the wanted
    ``coverage``, ``held``, ``held_by_class``, ``size`` and ``single`` (`ClassSets`); ``n_subjects``, ``n_samples``.
    """
    said = {(case.case, one.slice): one for case in findings.cases for one in case.samples}
    rows = [
        (n, names, one)
        for n, names in enumerate(table.truth)
        if names is not None and (one := said.get((table.cases[n], table.slices[n]))) and one.probabilities is not None
    ]
    if not rows or findings.classes != table.classes:
        return {}
    hot = np.array([[name in names for name in table.classes] for _, names, _ in rows], dtype=bool)
    told = np.array([[(one.probabilities or {})[name] for name in table.classes] for *_, one in rows])
    owners = [table.subjects[n] for n, *_ in rows]
    weights, raw = subject_weights(owners), table.probabilities[[n for n, *_ in rows]]
    before, after = (ClassScores.of(p, hot, weights, exclusive=table.exclusive) for p in (raw, told))
    found: dict[str, Any] = {
        "n_subjects": len(set(owners)), "n_samples": len(rows), "calibrated_on": findings.calibrated_on,
        "uncalibrated": asdict(before), "calibrated": asdict(after),
    }  # fmt: skip
    if findings.coverage is not None:
        inside = np.array([[name in (one.set or ()) for name in table.classes] for *_, one in rows], dtype=bool)
        found["sets"] = {"coverage": findings.coverage, **measure_sets(inside, hot, weights, table.classes)}
    return found


class ClassJudge:
    """Judges what one classifier says.

    Parameters
    ----------
    model
        Whose limits are read.
    progress
        Is told what is not known.

    Attributes
    ----------
    trust
        The limits; None where they were never measured.
    limits
        What is not known or not guaranteed, in sentences.
    look
        To be shown the prepared images of each case.
    cases
        What was judged so far.

    Raises
    ------
    ModelError
        When the limits are broken or of other weights.
    """

    def __init__(self, model: Model, progress: Progress) -> None:
        self.trust = ClassTrust.read(model.folder, str(model.facts.get("weights_sha256", "")))
        self._plan, self._looking, self._doubts = model.plan, Looking(model.channels), dict[str, tuple[Caution, ...]]()
        self.cases = list[ClassCase]()
        self.limits = [
            "Probabilities of classes are uncalibrated: the limits of this model were never measured. Do so on cases with"
            f" known classes: striate calibrate {model.folder} COHORT --out NEW"
        ] if self.trust is None else self.trust.limits  # fmt: skip
        for sentence in self.limits:
            progress.note(sentence)

    @property
    def listens(self) -> bool:
        """Whether facts and features of the images are needed."""
        return self.trust is not None and self.trust.training.asks

    def look(self, name: str, prepared: Prepared) -> None:
        """Note what speaks against the images of a case, and measure them where that is needed."""
        doubts = [Caution("prepared", text) for text in prepared.notes]
        blind = nothing_to_see(self._plan, prepared, f"case {name}", "its class means nothing")
        if blind is not None:
            doubts.append(blind)
        self._doubts[name] = tuple(doubts)
        if self.listens:
            self._looking(name, prepared)

    def add(self, found: WholePrediction, warnings: tuple[Caution, ...] = ()) -> tuple[Caution, ...]:
        """Judge a case, where anything is known to judge it by; return `warnings` and what was found beside them."""
        warnings = (*warnings, *self._doubts.pop(found.case.name, ()))
        if self.trust is None:
            return warnings
        facts = self._looking.facts.pop(found.case.name, {})
        evidence = evidence_of(self._plan, found, lambda name, plane: None, facts)
        self.cases.append(self.trust.assess(evidence, warnings, images=self.listens))
        return self.cases[-1].warnings

    @property
    def findings(self) -> ClassFindings | None:
        """What was judged; None where nothing is known of the limits."""
        return None if self.trust is None else findings_of(self.trust, self.cases)
