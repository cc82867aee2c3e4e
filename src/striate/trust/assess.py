"""`assess`: what a model's limits say of one case: intervals, probabilities of lesions, likeness, need for review."""

from __future__ import annotations

from dataclasses import replace

from striate.core.caution import Caution
from striate.measure.finding import CaseFindings, LabelFindings, Quantity
from striate.trust.evidence import CaseEvidence, LabelEvidence
from striate.trust.trust import Trust

UNLIKE = "unlike-training"


def assess(findings: CaseFindings, evidence: CaseEvidence, trust: Trust, *, calibrated: bool = True) -> CaseFindings:
    """Return the findings of a case with all that is known of how far they can be trusted.

    Parameters
    ----------
    findings
        Of its mask.
    evidence
        Of the same prediction.
    trust
        Of the model.
    calibrated
        Whether the probabilities are those that `trust` was fitted to; where they are not, intervals, probabilities of
        lesions and the expected Dice are left out.
    """
    cautions = [*findings.warnings, *(trust.gate.cautions(findings.case, evidence.facts) if trust.gate else ())]
    ood = trust.ood(evidence) if calibrated else None
    if ood is not None and ood.outside:
        text = (
            f"case {findings.case} is unlike the {trust.n_reference_subjects} training subjects: score {ood.score:.3g},"
            f" threshold {ood.threshold:.3g}. Its numbers may mean nothing; look at scan and mask."
        )
        cautions.append(Caution(UNLIKE, text))
    if not calibrated:
        return replace(findings, warnings=tuple(cautions))
    labels = {name: _label(name, found, evidence.labels[name], trust) for name, found in findings.labels.items()}
    review = trust.review.judge(evidence, ood=ood, cautions=cautions)
    return replace(findings, labels=labels, warnings=tuple(cautions), ood=ood, review=review)


def _label(name: str, found: LabelFindings, evidence: LabelEvidence, trust: Trust) -> LabelFindings:
    coverage = trust.intervals.coverage
    volume = _within(found.volume_ml, trust.intervals.volume_ml(name, evidence), coverage)
    count = _within(found.count, trust.intervals.count(name, evidence), coverage)
    told = replace(found, volume_ml=volume, count=count)
    return told.with_probabilities([trust.lesions.probability(name, lesion) for lesion in evidence.lesions])


def _within(quantity: Quantity, bounds: tuple[float, float] | None, coverage: float) -> Quantity:
    """Return the quantity with its interval, which always holds the value."""
    if bounds is None:
        return quantity
    low, high = bounds
    return Quantity(quantity.value, min(low, quantity.value), max(high, quantity.value), coverage)
