"""`Detection`: how well the lesions of one label are detected over all cases: sensitivity against false positives per scan.

Which candidate finds which true lesion is told by the rule of `striate.measure.lesions`. Candidates are ranked by their
probability of being real (or, where no model of lesions could be fitted, by the largest probability of their voxels); those
of at least a threshold are kept, and the threshold falls: the free-response characteristic of `striate.measure.froc`. Where
the probabilities of voxels are known, candidates are the lesions of the mask and the fainter ones that it leaves out
(`striate.measure.candidates`). Where only the mask is, they are its lesions, and the curve ends where all are kept: at the
mask as it is, beyond which no lesion can be found that the mask does not hold. Its mean at 1/8, 1/4, 1/2, 1, 2, 4 and 8
false positives per scan is the score of LUNA16 (Setio et al., Medical Image Analysis 42:1, 2017). Lesions are pooled over
cases: a case with many of them weighs more than in the mean of ``lesion_recall``. Without any probability there is no order,
and the mask is the only operating point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from striate.measure.finding import CaseFindings
from striate.measure.froc import CPM_POINTS, FALSE_POSITIVE, Froc, froc
from striate.measure.lesions import LesionOverlap
from striate.measure.resample import Estimate

CURVE = tuple(2.0 ** (n / 4) for n in range(-12, 13))
"""False positives per scan, 1/8 to 8, at which the curve is told."""

Scores = Sequence[Sequence[float]]
"""Of each case the probability of each predicted lesion, in the order of the findings."""

LESION, LARGEST = "lesion", "largest"
"""How candidates are ranked: by their probability of being real lesions, or by the largest probability of their voxels."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """Candidates in their order.

    Attributes
    ----------
    overlaps
        Case → its candidates over its true lesions.
    scores
        Of the candidates of these cases, in their order.
    by
        What the scores are: `LESION` or `LARGEST`.
    """

    overlaps: Mapping[str, LesionOverlap]
    scores: Scores
    by: str = LESION


@dataclass(frozen=True, slots=True)
class Detection:
    """How well lesions are detected.

    Attributes
    ----------
    cases, subjects, lesions
        How many there are; of the lesions the true ones that count.
    found, false_positives
        True lesions that the masks find, and false alarms in them.
    sensitivity
        Found lesions / true lesions of the masks as they are.
    curve
        False positives per scan, of `CURVE` → the largest sensitivity at no more than that. Empty where lesions have no
        probability, as are `at` and `mean_sensitivity`.
    at
        The same at the seven points.
    mean_sensitivity
        Their mean.
    ranked_by
        What the scores of the curve are: `LESION` or `LARGEST`; None where there is no curve.
    candidates, most_found, most_false_positives
        How many candidates there are, how many true lesions they find and how many of them are false, where those that the
        masks leave out were looked at; None where only the masks were, at which the curve then ends. Candidates smaller
        than `minimal_lesion_ml` of the rule are among `candidates`, and true lesions that they find among `most_found`;
        false alarms they never are.
    why
        Why the masks are the only operating point, in one sentence; None where there is a curve.
    """

    cases: int
    subjects: int
    lesions: int
    found: int
    false_positives: int
    sensitivity: Estimate
    curve: Mapping[float, Estimate]
    mean_sensitivity: Estimate | None = None
    why: str | None = None
    ranked_by: str | None = None
    candidates: int | None = None
    most_found: int | None = None
    most_false_positives: int | None = None

    @property
    def at(self) -> dict[float, Estimate]:
        """False positives per scan, of LUNA16's seven → sensitivity."""
        return {n: self.curve[n] for n in CPM_POINTS} if self.curve else {}

    @property
    def false_positives_per_scan(self) -> float:
        """Of the masks as they are."""
        return self.false_positives / self.cases

    @property
    def most_false_positives_per_scan(self) -> float | None:
        """Of all candidates, where those that the masks leave out were looked at: where the curve ends."""
        return None if self.most_false_positives is None else self.most_false_positives / self.cases

    @classmethod
    def of(
        cls,
        overlaps: Mapping[str, LesionOverlap],
        scores: Scores | Ranked | str,
        subjects: Mapping[str, str],
        *,
        seed: int = 0,
    ) -> Detection:
        """Measure one label.

        Parameters
        ----------
        overlaps
            Case → its predicted lesions over its true ones.
        scores
            Of the predicted lesions of these cases, in their order, or of candidates that hold more than these; or why
            they are not known, in one sentence.
        subjects
            Case → subject; intervals are drawn over subjects.
        seed
            Of the bootstrap.
        """
        why, ranked = (scores, None) if isinstance(scores, str) else (None, scores)
        alike = Ranked(overlaps, [[1.0] * len(overlap.predicted_voxels) for overlap in overlaps.values()])
        (found, false), masks = _measured(alike, subjects, (math.inf,), seed)
        if not masks.lesions:
            why, ranked = "No true lesion counts, so none can be found.", None
        told = cls(masks.cases, masks.subjects, masks.lesions, found, false, masks.at[math.inf], {}, why=why)
        if ranked is None:
            return told
        if not isinstance(ranked, Ranked):
            return replace(told, **_curve(_measured(Ranked(overlaps, ranked), subjects, CURVE, seed)[1], LESION))
        (most_found, most_false), curve = _measured(ranked, subjects, CURVE, seed)
        return replace(
            told,
            **_curve(curve, ranked.by),
            candidates=sum(len(overlap.predicted_voxels) for overlap in ranked.overlaps.values()),
            most_found=most_found,
            most_false_positives=most_false,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        counts = {
            "cases": self.cases, "subjects": self.subjects, "lesions": self.lesions, "found": self.found,
            "false_positives": self.false_positives, "false_positives_per_scan": self.false_positives_per_scan,
        }  # fmt: skip
        mean = None if self.mean_sensitivity is None else self.mean_sensitivity.to_dict()
        return {
            **counts, "sensitivity": self.sensitivity.to_dict(), "mean_sensitivity": mean, "at": _rows(self.at),
            "curve": _rows(self.curve), "why": self.why, "ranked_by": self.ranked_by, "candidates": self.candidates,
            "most_found": self.most_found, "most_false_positives": self.most_false_positives,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Detection:
        """Read the JSON form."""
        mean = document["mean_sensitivity"]
        return cls(
            **{name: int(document[name]) for name in ("cases", "subjects", "lesions", "found", "false_positives")},
            sensitivity=Estimate(**document["sensitivity"]),
            curve={float(n): Estimate(**row) for n, row in map(_row, document["curve"])},
            mean_sensitivity=None if mean is None else Estimate(**mean),
            why=document["why"],
            ranked_by=document["ranked_by"],
            candidates=document["candidates"],
            most_found=document["most_found"],
            most_false_positives=document["most_false_positives"],
        )


def scores_of(overlaps: Mapping[str, LesionOverlap], label: str, findings: Mapping[str, CaseFindings]) -> Scores | str:
    """Return the probabilities that findings give to the lesions of one label, or why they are not known.

    Which label of the findings it is, `named_in` tells.

    Parameters
    ----------
    overlaps
        Case → its predicted lesions over its true ones.
    label
        Its name.
    findings
        Case → its findings, as they were written beside the masks.
    """
    missing = next((case for case in overlaps if case not in findings), None)
    if missing is not None:
        return f"No findings lie beside the mask of case {missing}, so its lesions have no probability."
    names = _fitting(findings, label, overlaps)
    if not names:
        other = next((c for c in overlaps if not _fitting(findings, label, {c: overlaps[c]})), None)
        if other is None:
            return f"No one label of the findings has the lesions of '{label}' in the masks of all cases."
        return f"The lesions of '{label}' in the mask of case {other} are not those of its findings."
    if len(names) > 1:
        return (
            f"The lesions of '{label}' may be those of {' or '.join(map(repr, names))} in the findings, which have the same sizes"
            " in all cases. Name it as the findings do: striate evaluate … --regions NAME=VALUE"
        )
    lesions = [findings[case].labels[names[0]].lesions for case in overlaps]
    if any(lesion.probability is None for own in lesions for lesion in own):
        return (
            f"The findings give the lesions of '{label}' no probability: the model was never calibrated for masks made"
            " in this way, or on too few lesions (striate calibrate)."
        )
    return [[float(lesion.probability or 0.0) for lesion in own] for own in lesions]


def named_in(findings: Mapping[str, CaseFindings], label: str, overlaps: Mapping[str, LesionOverlap]) -> str | None:
    """Return how the findings name a label of the masks; None where that is not known.

    Findings name labels as the model does, and the truth may name them otherwise. A label of the findings is that of the masks
    where its lesions have the same sizes, one by one, in every case. The one of the same name comes first; where several
    others fit, as where all masks are empty, none is taken. Parameters as of `scores_of`.
    """
    names = _fitting(findings, label, overlaps)
    return names[0] if len(names) == 1 else None


def _fitting(findings: Mapping[str, CaseFindings], label: str, overlaps: Mapping[str, LesionOverlap]) -> list[str]:
    """Return the labels of the findings that fit in all cases (see `named_in`), or `label` alone, where it does."""
    fitting = list[set[str]]()
    for case, overlap in overlaps.items():
        sizes, own = overlap.predicted_voxels.tolist(), findings[case].labels if case in findings else {}
        fitting.append({name for name, one in own.items() if [lesion.voxels for lesion in one.lesions] == sizes})
    names = sorted(set.intersection(*fitting))
    return [label] if label in names else names


def _measured(
    ranked: Ranked, subjects: Mapping[str, str], at: Sequence[float], seed: int
) -> tuple[tuple[int, int], Froc]:
    """Return how many true lesions are found and how many candidates are false, in all, and the characteristic."""
    values, cases, hits, lesions = list[float](), list[str](), list[int](), dict[str, int]()
    for (case, overlap), own in zip(ranked.overlaps.items(), ranked.scores, strict=True):
        found, false = overlap.detected(own)
        lesions[case] = len(found)
        there = np.flatnonzero(np.isfinite(found))
        values += [*found[there].tolist(), *false.tolist()]
        hits += [*there.tolist(), *[FALSE_POSITIVE] * len(false)]
        cases += [case] * (len(there) + len(false))
    measured = froc(values, cases, hits, lesions, subjects={c: subjects[c] for c in lesions}, at=at, seed=seed)
    false_ones = sum(hit == FALSE_POSITIVE for hit in hits)
    return (len(hits) - false_ones, false_ones), measured


def _curve(measured: Froc, by: str) -> dict[str, Any]:
    """Return the fields of a `Detection` that its curve fills."""
    return {"curve": {n: measured.at[n] for n in CURVE}, "mean_sensitivity": measured.cpm, "ranked_by": by}


def _rows(points: Mapping[float, Estimate]) -> list[dict[str, Any]]:
    return [{"false_positives_per_scan": n, **estimate.to_dict()} for n, estimate in points.items()]


def _row(row: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
    return float(row["false_positives_per_scan"]), {k: v for k, v in row.items() if k != "false_positives_per_scan"}
