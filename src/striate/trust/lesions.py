"""`LesionModel`: the probability that a predicted lesion is real.

A logistic regression for each label, on the logarithm of the lesion's volume in mL, the mean and the largest logit of
its voxels; each standardised. The coefficients of the logits are not negative: more belief never makes a lesion less
likely. A Gaussian prior of unit variance on the coefficients (ridge: le Cessie and van Houwelingen, Applied Statistics
41:191, 1992) keeps them small where lesions are few; the intercept is free.

Lesions of one subject are alike. Each weighs 1 / √(lesions of its subject), between counting lesions and counting
subjects; the weights add up to their effective number (Σw)² / Σw² (Kish, Survey Sampling, 1965).

A voxel's calibrated probability is no substitute where there is no model: whether any voxel of a lesion is true is
another question than whether one of them is, and its largest voxel was chosen for being the largest. So below `LEAST`
real or `LEAST` false lesions, or below 2 subjects with either, there is no probability, and `reason` says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.counted import counted
from striate.measure.roc import auc
from striate.trust.evidence import CaseEvidence, LesionEvidence

LEAST = 10
"""Real and false lesions that a model needs, each."""
BINS = 5
"""Bins of equal counts of the reliability."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Logistic:
    """A fitted logistic regression.

    Attributes
    ----------
    mean, scale
        (3,) of the features: ln volume, mean logit, largest logit.
    intercept, coefficients
        Of the standardised features, (3,).
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    intercept: float
    coefficients: tuple[float, ...]

    def probability(self, features: Floats) -> Floats:
        """Return the probability of each row: (N, 3) → (N,)."""
        from scipy.special import expit

        standard = (features - np.array(self.mean)) / np.array(self.scale)
        return np.asarray(expit(self.intercept + standard @ np.array(self.coefficients)))


@dataclass(frozen=True, slots=True)
class LabelLesions:
    """What is known of the lesions of one label.

    Attributes
    ----------
    n_subjects, n_cases
        With at least one predicted lesion.
    n_lesions, n_real
        Predicted lesions, and those of them that are real.
    model
        None where there are too few.
    auroc, brier
        Of lesions of subjects that were left out; the Brier score is that of one class, 0 to 1.
    brier_of_share
        Brier score of giving each of these lesions the share of real ones among the others: what there is to beat.
    reliability
        (mean probability, share of real lesions, lesions) of left-out lesions, in bins of equal counts, rising.
    """

    n_subjects: int
    n_cases: int
    n_lesions: int
    n_real: int
    model: Logistic | None = None
    auroc: float | None = None
    brier: float | None = None
    brier_of_share: float | None = None
    reliability: tuple[tuple[float, float, int], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> LabelLesions:
        """Read the JSON form (lists for tuples)."""
        known = dict(document)
        if (held := known["model"]) is not None:
            numbers = {key: tuple(held[key]) for key in ("mean", "scale", "coefficients")}
            known["model"] = Logistic(intercept=float(held["intercept"]), **numbers)
        known["reliability"] = tuple((float(p), float(share), int(n)) for p, share, n in known["reliability"])
        return cls(**known)


@dataclass(frozen=True, slots=True)
class LesionModel:
    """Probabilities of lesions of every label.

    Attributes
    ----------
    labels
        Label or region → what is known of its lesions.
    """

    labels: Mapping[str, LabelLesions]

    @classmethod
    def fit(cls, cases: Sequence[CaseEvidence]) -> LesionModel:
        """Fit to cases with known truth; lesions of which the truth is not known are left out."""
        names = dict.fromkeys(name for case in cases for name in case.labels)
        return cls({name: _fit(cases, name) for name in names})

    def probability(self, label: str, lesion: LesionEvidence) -> float | None:
        """Return the probability that a lesion is real; None where that is not known (see `reason`)."""
        known = self.labels.get(label)
        if known is None or known.model is None:
            return None
        return float(known.model.probability(_features([lesion]))[0])

    def reason(self, label: str) -> str | None:
        """Return why the lesions of a label have no probability, in one sentence; None where they have."""
        known = self.labels.get(label) or LabelLesions(0, 0, 0, 0)
        if known.model is not None:
            return None
        false = known.n_lesions - known.n_real
        return (
            f"No probability of lesions of '{label}': {known.n_real} real and {false} false ones in "
            f"{counted(known.n_subjects, 'subject')}; "
            f"{LEAST} of each are needed, each in at least 2 subjects."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"labels": {name: known.to_dict() for name, known in self.labels.items()}}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> LesionModel:
        """Read the JSON form."""
        return cls({str(name): LabelLesions.from_dict(known) for name, known in document["labels"].items()})


def left_out(
    cases: Sequence[CaseEvidence], name: str, candidates: Mapping[str, Sequence[LesionEvidence]] | None = None
) -> list[list[float]] | None:
    """Return the probabilities of the lesions of a label, each from a model of the other subjects, case by case.

    Parameters
    ----------
    cases
        Models are fitted to the lesions of their masks. Cases that do not have the label are passed over.
    name
        The label.
    candidates
        Case → what is given probabilities; by default the lesions of its mask.

    Returns
    -------
    list
        None where there are too few lesions for a model, or the truth of one is not known.
    """
    cases = [case for case in cases if name in case.labels]
    lesions = [(case.subject, case.labels[name].lesions) for case in cases]
    every = [(subject, lesion) for subject, own in lesions for lesion in own]
    real = np.array([lesion.real is True for _, lesion in every], dtype=bool)
    subjects = np.array([subject for subject, _ in every], dtype=str)
    if any(lesion.real is None for _, lesion in every) or not _enough(real, subjects):
        return None
    features = _features([lesion for _, lesion in every])
    everyone = _logistic(features, real, subjects)
    models = {s: _without(s, features, real, subjects, everyone) for s in {case.subject for case in cases}}
    asked = [case.labels[name].lesions if candidates is None else candidates[case.case] for case in cases]
    return [models[c.subject].probability(_features(own)).tolist() for c, own in zip(cases, asked, strict=True)]


def _fit(cases: Sequence[CaseEvidence], name: str) -> LabelLesions:
    found = [
        (case, lesion)
        for case in cases
        if name in case.labels
        for lesion in case.labels[name].lesions
        if lesion.real is not None
    ]
    features = _features([lesion for _, lesion in found])
    real = np.array([lesion.real for _, lesion in found], dtype=bool)
    subjects = np.array([case.subject for case, _ in found], dtype=str)
    known = LabelLesions(
        n_subjects=len(set(subjects)),
        n_cases=len({case.case for case, _ in found}),
        n_lesions=len(found),
        n_real=int(real.sum()),
    )
    if not _enough(real, subjects):
        return known
    model = _logistic(features, real, subjects)
    left, share = _left_out(features, real, subjects, model)
    return replace(
        known,
        model=model,
        auroc=auc(left, real),
        brier=float(((left - real) ** 2).mean()),
        brier_of_share=float(((share - real) ** 2).mean()),
        reliability=_reliability(left, real),
    )


def _left_out(
    features: Floats, real: NDArray[np.bool_], subjects: NDArray[np.str_], model: Logistic
) -> tuple[Floats, Floats]:
    """Return, of each lesion, the probability by a model of the other subjects, and the share of real ones among theirs.

    Both kinds are in at least 2 subjects (`_enough`), so that those that are left always have both.
    """
    left, share = np.empty(len(real)), np.empty(len(real))
    for subject in sorted(set(subjects)):
        own = subjects == subject
        left[own] = _without(subject, features, real, subjects, model).probability(features[own])
        share[own] = real[~own].mean()
    return left, share


def _without(
    subject: str, features: Floats, real: NDArray[np.bool_], subjects: NDArray[np.str_], everyone: Logistic
) -> Logistic:
    """Return the model of the other subjects: that of everyone, where the subject has no lesion."""
    others = subjects != subject
    return everyone if others.all() else _logistic(features[others], real[others], subjects[others], everyone)


def _enough(real: NDArray[np.bool_], subjects: NDArray[np.str_]) -> bool:
    return all(int(kind.sum()) >= LEAST and len(set(subjects[kind])) >= 2 for kind in (real, ~real))


def _features(lesions: Sequence[LesionEvidence]) -> Floats:
    """Return (N, 3): ln volume in mL, mean logit, largest logit."""
    rows = [(lesion.volume_ml, lesion.mean_logit, lesion.top_logit) for lesion in lesions]
    features = np.array(rows, dtype=np.float64).reshape(-1, 3)
    features[:, 0] = np.log(np.maximum(features[:, 0], np.finfo(np.float64).tiny))
    return features


def _logistic(
    features: Floats, real: NDArray[np.bool_], subjects: NDArray[np.str_], start: Logistic | None = None
) -> Logistic:
    """Fit the regression: minimise Σ w · log loss + ½ ‖coefficients‖², the last two coefficients ≥ 0."""
    from scipy.optimize import minimize  # here: whoever only predicts does not wait for it
    from scipy.special import expit

    weights = _weights(subjects)
    mean = np.average(features, axis=0, weights=weights)
    scale = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weights))
    scale[scale < 1e-9] = 1.0
    design = np.column_stack([np.ones(len(features)), (features - mean) / scale])
    signs = np.where(real, 1.0, -1.0)
    ridge = np.array([0.0, 1.0, 1.0, 1.0])

    def loss(beta: Floats) -> tuple[float, Floats]:
        margin = signs * (design @ beta)
        slope = -weights * signs * expit(-margin)
        return float(weights @ np.logaddexp(0, -margin) + ridge @ beta**2 / 2), design.T @ slope + ridge * beta

    first = np.zeros(4) if start is None else np.array([start.intercept, *start.coefficients])
    bounds = [(None, None), (None, None), (0, None), (0, None)]
    found = minimize(
        loss, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000}
    ).x
    numbers = [tuple(float(v) for v in row) for row in (mean, scale, found[1:])]
    return Logistic(numbers[0], numbers[1], float(found[0]), numbers[2])


def _weights(subjects: NDArray[np.str_]) -> Floats:
    _, owner, lesions = np.unique(subjects, return_inverse=True, return_counts=True)
    raw = 1 / np.sqrt(lesions[owner])
    return np.asarray(raw * raw.sum() / (raw**2).sum())


def _reliability(probability: Floats, real: NDArray[np.bool_]) -> tuple[tuple[float, float, int], ...]:
    parts = np.array_split(np.argsort(probability, kind="stable"), min(BINS, len(probability)))
    return tuple((float(probability[p].mean()), float(real[p].mean()), len(p)) for p in parts)
