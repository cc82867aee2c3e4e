"""`Intervals`: between which values the true volume and the true number of lesions lie, for a stated share of subjects.

Volume, split conformal by subject (`striate.trust.conformal`). The centre is the volume that the calibrated
probabilities expect; the scales are how far it moves when the odds of every voxel are halved (below) or doubled
(above), and one voxel. They differ, because a case with many half-believed voxels outside of its mask can be larger
than shown rather than smaller. This is conformalised quantile regression (Romano, Patterson and Candès, NeurIPS 2019)
with the two quantiles replaced by these scales and one score for both sides, so that 9 subjects are enough; two tails
of 5 % each would need 19.

Number of lesions: `striate.trust.count_interval`.

The value shown stays that of the mask, and the interval always holds it; where a mask is biased it lies at one end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import UsageError
from striate.inference.observed import LOGITS
from striate.trust.conformal import ROUNDING, bound, nonconformity, subject_weights, subjects_needed
from striate.trust.count_interval import Counted, conforms, count_interval
from striate.trust.evidence import CaseEvidence, LabelEvidence
from striate.trust.expected import Table, Tables, expect, tables_for

COVERAGE = 0.9


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How intervals did on the subjects of calibration, each left out of what judged it.

    Attributes
    ----------
    coverage
        Share of subjects whose truth the interval held; None where too few are left.
    width
        Median width, in the unit of the quantity.
    """

    coverage: float | None = None
    width: float | None = None


@dataclass(frozen=True, slots=True)
class LabelIntervals:
    """The intervals of one label.

    Attributes
    ----------
    table
        (BINS,) calibrated probability of each logit bin.
    n_subjects, n_cases
        That they rest on.
    reach
        How many scales the interval of the volume reaches from its centre; None with too few subjects.
    counted
        The cases that intervals of numbers of lesions are compared with.
    volume_ml, count
        How they did.
    """

    table: tuple[float, ...]
    n_subjects: int
    n_cases: int
    reach: float | None
    counted: tuple[Counted, ...]
    volume_ml: LeftOut = field(default_factory=LeftOut)
    count: LeftOut = field(default_factory=LeftOut)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "table": list(self.table), "counted": [case.to_list() for case in self.counted]}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> LabelIntervals:
        """Read the JSON form."""
        return cls(
            table=tuple(float(p) for p in document["table"]),
            n_subjects=int(document["n_subjects"]),
            n_cases=int(document["n_cases"]),
            reach=None if document["reach"] is None else float(document["reach"]),
            counted=tuple(Counted(str(s), int(k), float(e), int(t)) for s, k, e, t in document["counted"]),
            volume_ml=LeftOut(**document["volume_ml"]),
            count=LeftOut(**document["count"]),
        )


@dataclass(frozen=True, slots=True)
class Intervals:
    """Conformal intervals of every label.

    Attributes
    ----------
    coverage
        Share of new subjects whose truth an interval shall hold.
    labels
        Label or region → its intervals.
    """

    coverage: float
    labels: Mapping[str, LabelIntervals]

    @classmethod
    def fit(
        cls,
        cases: Sequence[CaseEvidence],
        tables: Tables,
        coverage: float = COVERAGE,
        *,
        left_out: Mapping[str, Tables] | None = None,
    ) -> Intervals:
        """Fit to cases with known truth; others are left out.

        Parameters
        ----------
        cases
            Of subjects that the network has not learned from.
        tables
            Calibrated probabilities.
        coverage
            Between 0.5 and 1.
        left_out
            Subject → tables fitted without it. Where `tables` were fitted to the same subjects, this keeps their scores from
            being too small.

        Raises
        ------
        UsageError
            When the coverage lies outside its range.
        """
        if not 0.5 <= coverage < 1:
            raise UsageError(f"coverage {coverage}: a share from 0.5 to below 1 is needed, for instance 0.9.")
        return cls(coverage, {name: _fit(cases, name, tables, left_out, coverage) for name in tables})

    @property
    def needed(self) -> int:
        """Number of subjects that the coverage needs."""
        return subjects_needed(self.coverage)

    def volume_ml(self, label: str, evidence: LabelEvidence) -> tuple[float, float] | None:
        """Return between which volumes in mL the true one lies; None where that is not known (see `reason`)."""
        known = self.labels.get(label)
        if known is None or known.reach is None:
            return None
        return _volume_interval(evidence, np.array(known.table), known.reach)

    def count(self, label: str, evidence: LabelEvidence) -> tuple[int, int] | None:
        """Return between which numbers the true number of lesions lies; None where that is not known (see `reason`)."""
        known = self.labels.get(label)
        if known is None:
            return None
        return count_interval(_counted("", evidence, np.array(known.table)), known.counted, self.coverage)

    def reason(self, label: str) -> str | None:
        """Return why a label has no intervals, in one sentence; None where it has."""
        known = self.labels.get(label)
        n = known.n_subjects if known else 0
        if n >= self.needed:
            return None
        return f"No intervals of '{label}': {n} subject{'' if n == 1 else 's'}; {self.needed} are needed."

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"coverage": self.coverage, "labels": {name: known.to_dict() for name, known in self.labels.items()}}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Intervals:
        """Read the JSON form."""
        labels = {str(name): LabelIntervals.from_dict(known) for name, known in document["labels"].items()}
        return cls(float(document["coverage"]), labels)


def _fit(
    cases: Sequence[CaseEvidence], name: str, tables: Tables, left_out: Mapping[str, Tables] | None, coverage: float
) -> LabelIntervals:
    known = [(case.subject, case.labels[name]) for case in cases if name in case.labels]
    known = [(subject, found) for subject, found in known if found.true_ml is not None]
    own = [tables_for(subject, tables, left_out)[name] for subject, _ in known]
    counted = tuple(_counted(s, found, table) for (s, found), table in zip(known, own, strict=True))
    scores = np.array([_volume_score(found, table) for (_, found), table in zip(known, own, strict=True)])
    subjects = np.array([subject for subject, _ in known], dtype=str)
    weights = subject_weights(list(subjects))
    reach = bound(scores, weights, coverage)
    covered, conformed, widths, spans = list[bool](), list[bool](), list[float](), list[int]()
    for i, ((subject, found), table) in enumerate(zip(known, own, strict=True)):
        others = subjects != subject
        limit = bound(scores[others], weights[others], coverage)
        if limit is None:
            break
        rest = [case for case in counted if case.subject != subject]
        covered.append(bool(scores[i] <= limit + ROUNDING))
        conformed.append(conforms(counted[i], rest, coverage))
        low, high = _volume_interval(found, table, limit)
        fewest, most = count_interval(counted[i], rest, coverage) or (0, 0)
        widths.append(high - low)
        spans.append(most - fewest)
    table = np.asarray(tables[name], dtype=np.float64)
    return LabelIntervals(
        table=tuple(table.tolist()),
        n_subjects=len(set(subjects)),
        n_cases=len(known),
        reach=reach,
        counted=counted,
        volume_ml=_left_out(covered, widths, weights),
        count=_left_out(conformed, spans, weights),
    )


def _left_out(covered: Sequence[bool], widths: Sequence[float], weights: NDArray[np.float64]) -> LeftOut:
    if not covered:
        return LeftOut()
    return LeftOut(float(weights @ np.array(covered) / weights.sum()), float(np.median(widths)))


def _scales(evidence: LabelEvidence, table: Table) -> tuple[float, float, float]:
    """Return centre and the scales below and above it, in mL."""
    found = expect(evidence.counts, table, evidence.voxel_ml)
    centre = found.volume_ml
    return centre, centre - found.halved_ml + evidence.voxel_ml, found.doubled_ml - centre + evidence.voxel_ml


def _volume_score(evidence: LabelEvidence, table: Table) -> float:
    centre, below, above = _scales(evidence, table)
    return float(nonconformity(evidence.true_ml or 0.0, centre, evidence.predicted_ml, below, above))


def _volume_interval(evidence: LabelEvidence, table: Table, reach: float) -> tuple[float, float]:
    centre, below, above = _scales(evidence, table)
    value = evidence.predicted_ml
    return max(0.0, min(value, centre - reach * below)), max(value, centre + reach * above)


def _counted(subject: str, evidence: LabelEvidence, table: Table) -> Counted:
    believed = np.interp([lesion.mean_logit for lesion in evidence.lesions], LOGITS, table)
    return Counted(subject, evidence.predicted_lesions, float(believed.sum()), evidence.true_lesions or 0)
