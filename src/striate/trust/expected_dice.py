"""`DiceModel`: the Dice that a mask is expected to have, without the truth.

The calibrated probabilities expect a Dice (`striate.trust.expected`). It is the same network that speaks, so it is
wrong alike where the network is: a correction is fitted to cases with known truth,

    Dice ≈ d + a + b (d − mean d) + Σ c · z,

with z standardised: the logarithms of the mask's volume, of the mean volume of its lesions, and of how unlike the
training data the case is; how certain the lesions are (the largest logit of each, weighted by their volumes); and how
blurred the images are. It is monotone: b ≥ −1, more volume or certainty never lowers it, unlikeness or blur never raises
it. A ridge pulls it to no correction at all: priors of standard deviation 0.2 on a, 0.5 on b, 0.05 on the first three c
and 0.03 on the others, against errors of 0.1. Each subject weighs the same. Below `LEAST` subjects nothing is corrected.

Certainty and blur were chosen among 36 measures on calibration cases alone, cross-fitted by subject (docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.trust.conformal import subject_weights
from striate.trust.evidence import CaseEvidence
from striate.trust.expected import Table, expect

LEAST = 3
"""Subjects that a correction needs."""
ERROR = 0.1
ANY = np.inf
TERMS = (  # standard deviation of the prior, lowest, highest
    (0.20, -ANY, ANY),  # 1
    (0.50, -1.0, ANY),  # the Dice that the probabilities expect
    (0.05, 0.0, ANY),  # volume of the mask
    (0.05, 0.0, ANY),  # mean volume of its lesions
    (0.05, -ANY, 0.0),  # unlikeness
    (0.03, 0.0, ANY),  # certainty of the lesions
    (0.03, -ANY, 0.0),  # blur of the images
)
PRIOR, LOWEST, HIGHEST = np.array(TERMS).T
FEATURES = len(TERMS) - 1

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the expected Dice of one case is computed from.

    Attributes
    ----------
    subject
        Whose case it is.
    features
        (6,): Dice that the probabilities expect, ln volume of the mask in mL, ln mean volume of its lesions in mL, ln of
        how unlike the training data it is, largest logit of each lesion (mean, weighted by volume), blur of the most blurred
        image (0 to 1). NaN where one is not known.
    dice
        The real one; NaN where it is not known.
    """

    subject: str
    features: Floats
    dice: float = float("nan")


def see(case: CaseEvidence, name: str, table: Table, unlikeness: float | None = None) -> Seen | None:
    """Return what the expected Dice is computed from; None for an empty mask.

    Parameters
    ----------
    case, name
        The case, and which label or region of it.
    table
        Calibrated probability of each bin.
    unlikeness
        Out-of-distribution score of the case divided by its threshold.
    """
    evidence = case.labels[name]
    expected = expect(evidence.counts, table, evidence.voxel_ml).dice
    if expected is None or evidence.predicted_ml <= 0:
        return None
    volume = np.log(evidence.predicted_ml)
    lesion = volume - np.log(max(evidence.predicted_lesions, 1))
    unlike = np.nan if unlikeness is None else np.log(max(unlikeness, 1e-6))
    tops, volumes = ([getattr(found, key) for found in evidence.lesions] for key in ("top_logit", "volume_ml"))
    certain = np.average(tops, weights=volumes) if tops else np.nan
    blurs = [float(known["blur"]) for known in case.facts.values() if known.get("blur") is not None]
    features = np.array([expected, volume, lesion, unlike, certain, max(blurs, default=np.nan)])
    return Seen(case.subject, features, np.nan if evidence.dice is None else evidence.dice)


@dataclass(frozen=True, slots=True)
class DiceModel:
    """The expected Dice of one label.

    Attributes
    ----------
    table
        (BINS,) calibrated probability of each logit bin.
    mean, scale
        (6,) of the features of `Seen`.
    correction
        (7,) a, b and c; zeros where nothing was fitted.
    n_subjects, n_cases
        With a known Dice and a mask that is not empty.
    error, bias
        Mean of |expected − real| and of expected − real Dice, of subjects that were left out; None with too few.
    """

    table: tuple[float, ...]
    mean: tuple[float, ...] = (0.0,) * FEATURES
    scale: tuple[float, ...] = (1.0,) * FEATURES
    correction: tuple[float, ...] = (0.0,) * len(TERMS)
    n_subjects: int = 0
    n_cases: int = 0
    error: float | None = None
    bias: float | None = None

    @classmethod
    def fit(cls, seen: Sequence[Seen | None], table: Table) -> tuple[DiceModel, list[float | None]]:
        """Fit the correction.

        Parameters
        ----------
        seen
            (n,) cases; those that are None or of unknown Dice are not fitted to.
        table
            Calibrated probability of each bin, for the cases to come.

        Returns
        -------
        model
            Fitted to all.
        left_out
            (n,) the Dice that is expected of each case by a correction that never saw its subject; None for empty masks.
        """
        held = tuple(float(p) for p in table)
        known = [case for case in seen if case is not None and np.isfinite(case.dice)]
        left_out: list[float | None] = [None] * len(seen)
        parts: dict[str, DiceModel] = {}
        for i, case in enumerate(seen):
            if case is None:
                continue
            if case.subject not in parts:
                parts[case.subject] = cls(held, *_fitted([k for k in known if k.subject != case.subject]))
            left_out[i] = parts[case.subject].expect(case)
        subjects = [case.subject for case in known]
        judged = [e for case, e in zip(seen, left_out, strict=True) if case is not None and np.isfinite(case.dice)]
        error = bias = None
        if len(set(subjects)) >= 2:
            gaps = np.array(judged, dtype=np.float64) - [case.dice for case in known]
            weights = subject_weights(subjects)
            error = float(np.average(np.abs(gaps), weights=weights))
            bias = float(np.average(gaps, weights=weights))
        return cls(held, *_fitted(known), len(set(subjects)), len(known), error, bias), left_out

    def expect(self, case: Seen) -> float:
        """Return the expected Dice, between 0 and 1."""
        row = _design(case.features[None], np.array(self.mean), np.array(self.scale))[0]
        return float(np.clip(case.features[0] + row @ np.array(self.correction), 0.0, 1.0))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> DiceModel:
        """Read the JSON form (lists for tuples).

        Raises
        ------
        ValueError
            When there are more or fewer features or terms.
        """
        known: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in document.items()}
        found = cls(**known)
        counts = len(found.mean), len(found.scale), len(found.correction)
        if counts != (FEATURES, FEATURES, len(TERMS)):
            raise ValueError(f"expected Dice: {counts[0]} features and {counts[2]} terms")
        return found


def _fitted(cases: Sequence[Seen]) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Return mean and scale of the features and the correction."""
    if len({case.subject for case in cases}) < LEAST:
        return (0.0,) * FEATURES, (1.0,) * FEATURES, (0.0,) * len(TERMS)
    from scipy.optimize import lsq_linear  # here: whoever only predicts does not wait for it

    features = np.stack([case.features for case in cases])
    weights = subject_weights([case.subject for case in cases])
    mean, scale = _standard(features, weights)
    roots = np.sqrt(weights)[:, None]
    rows = np.concatenate([_design(features, mean, scale) * roots, np.diag(ERROR / PRIOR)])
    gaps = np.array([case.dice for case in cases]) - features[:, 0]
    wanted = np.concatenate([gaps * roots[:, 0], np.zeros(len(PRIOR))])
    correction = lsq_linear(rows, wanted, bounds=(LOWEST, HIGHEST), method="bvls").x  # ends on a bound, not beside it
    return tuple(mean.tolist()), tuple(scale.tolist()), tuple(correction.tolist())


def _standard(features: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return (6,) mean and (6,) scale over what is known; the Dice is only centred."""
    mean, scale = np.zeros(FEATURES), np.ones(FEATURES)
    for column in range(FEATURES):
        known = np.isfinite(features[:, column])
        if known.any():
            values, shares = features[known, column], weights[known]
            mean[column] = np.average(values, weights=shares)
            spread = float(np.sqrt(np.average((values - mean[column]) ** 2, weights=shares)))
            scale[column] = spread if spread > 1e-9 and column else 1.0
    return mean, scale


def _design(features: Floats, mean: Floats, scale: Floats) -> Floats:
    """Return (n, 7): 1 and the standardised features; what is not known counts as the mean."""
    standard = np.nan_to_num((features - mean) / scale, nan=0.0)
    return np.column_stack([np.ones(len(features)), standard])
