"""`assess`: what a model's limits say of one case: intervals, probabilities of lesions, likeness, need for review."""

from __future__ import annotations

from dataclasses import replace

from striate.measure.finding import CaseFindings, LabelFindings, Quantity
from striate.trust.evidence import CaseEvidence, LabelEvidence
from striate.trust.trust import Trust


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
    ood = trust.training.ood(evidence) if calibrated else None
    advice = "Its numbers may mean nothing; look at scan and mask."
    cautions = [*findings.warnings, *trust.training.cautions(evidence, ood, advice)]
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
