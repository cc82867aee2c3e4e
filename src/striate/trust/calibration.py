"""`Calibration`: what the probabilities of a model mean, label by label, measured on subjects that it did not learn from.

Of each label there are histograms over logits (`striate.inference.observed`): voxels in each bin, and how many of them
truly belong to it. Families of curves (`striate.trust.curve`) are fitted to them by maximum likelihood. The one with the
lowest log loss on subjects that were left out of the fit is kept.

* **Weights.** Every subject counts alike, whatever the number of its cases and the size of its voxels; within a subject
  every voxel counts alike.
* **After.** Scores *after* calibration are measured on each subject with a curve that was fitted, and whose family was
  chosen, without it (the losses that choose come from curves that did see it; only the choice among five can leak). With
  one subject this cannot be done: a temperature is fitted and nothing is claimed (None). Where no subject has the label
  the raw probabilities stay and nothing is claimed: that nothing is ever there cannot be learned from that.
* **Domains.** ``seen``: all voxels that the network saw; nearly all are certain background, so errors look tiny.
  ``suspected``: those with a raw probability of at least `SUSPECT`. ``contested``: those and the true ones below it, the
  hardest of the three and the headline. It is chosen partly by the outcome: what a model misses entirely counts as an error
  there, whatever probability it gives.
* **Scores** on the probability of the label at a voxel, against whether it is there. ECE: Naeini et al., AAAI 2015, over
  `WIDTHS` bins of equal width; adaptive ECE: Nguyen and O'Connor, EMNLP 2015, over bins of equal counts, equal
  probabilities together; Brier: the mean of (q − y)², Brier 1950 for two classes, halved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import UsageError
from striate.core.names import did_you_mean
from striate.inference.observed import BINS, LOGITS
from striate.measure.calibration import equal_width
from striate.trust.curve import FAMILIES, Curve, fit_curves, log_loss, sigmoid
from striate.trust.evidence import CaseEvidence

SUSPECT = 0.01
WIDTHS = 15
DOMAINS = ("contested", "suspected", "seen")
HEADLINE = "contested"
_RAW = sigmoid(LOGITS)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """How well probabilities mean what they say on one domain; None where it holds no voxel.

    Attributes
    ----------
    ece, adaptive_ece, brier
        See the top of this file.
    """

    ece: float | None
    adaptive_ece: float | None
    brier: float | None


@dataclass(frozen=True, slots=True)
class Reliability:
    """One bin of a reliability diagram.

    Attributes
    ----------
    start, stop
        Of the probabilities in it.
    said, true
        Mean probability, and share that truly belongs to the label; each subject counts alike.
    count
        Number of voxels.
    """

    start: float
    stop: float
    said: float
    true: float
    count: int


@dataclass(frozen=True, slots=True)
class LabelCalibration:
    """The calibration of one label or region.

    Attributes
    ----------
    curve
        From raw to calibrated probability.
    n_subjects
        Subjects with known truth that it rests on; 0: nothing is known and the curve is the identity.
    n_present
        Those of them in which the label is there.
    before, after
        Domain → scores; `after` is None with fewer than two subjects, or where none of them has the label.
    reliability_before, reliability_after
        Bins of the ``seen`` voxels that hold any; `reliability_after` is empty where `after` is None.
    log_losses
        Family → mean log loss per voxel of the left-out subjects, in nats; empty where `after` is None.
    """

    curve: Curve = field(default_factory=Curve)
    n_subjects: int = 0
    n_present: int = 0
    before: Mapping[str, Scores] = field(default_factory=dict)
    after: Mapping[str, Scores] | None = None
    reliability_before: tuple[Reliability, ...] = ()
    reliability_after: tuple[Reliability, ...] = ()
    log_losses: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, counts: NDArray[Any], true_counts: NDArray[Any]) -> LabelCalibration:
        """Fit to the histograms (S, BINS) of S subjects, each with at least one voxel."""
        return cls.fit_left_out(counts, true_counts)[0]

    @classmethod
    def fit_left_out(cls, counts: NDArray[Any], true_counts: NDArray[Any]) -> tuple[LabelCalibration, Floats | None]:
        """Return the fit, and for each subject the table (S, BINS) fitted and chosen without it; None where `after` is."""
        total = counts.sum(axis=1, keepdims=True).astype(np.float64)
        n, t = counts / total, true_counts / total
        present = int((true_counts.sum(axis=1) > 0).sum())
        raw = _Told(np.tile(_RAW, (len(n), 1)), n, t, counts)
        before, pictured = raw.scores(), raw.reliability()
        everyone = n.sum(axis=0)[None], t.sum(axis=0)[None]
        if len(n) < 2 or not present:
            curve = fit_curves("temperature", *everyone)[0] if present else Curve()
            return cls(curve, len(n), present, before, None, pictured), None
        left_out = {f: [c.table() for c in fit_curves(f, everyone[0] - n, everyone[1] - t)] for f in FAMILIES}
        losses = {f: log_loss(np.stack(tables), n, t) for f, tables in left_out.items()}
        chosen = min(FAMILIES, key=lambda f: float(losses[f].sum()))
        tables = [left_out[_chosen_without(s, losses)][s] for s in range(len(n))]
        without = np.stack(tables)
        told = _Told(without, n, t, counts)
        means = {f: float(values.mean()) for f, values in losses.items()}
        curve = fit_curves(chosen, *everyone)[0]
        return cls(curve, len(n), present, before, told.scores(), pictured, told.reliability(), means), without

    def judge(
        self, counts: NDArray[Any], true_counts: NDArray[Any]
    ) -> tuple[dict[str, Scores], dict[str, Scores], tuple[Reliability, ...]]:
        """Return raw scores, calibrated scores and the calibrated reliability on subjects that it was not fitted to.

        Parameters
        ----------
        counts, true_counts
            (S, BINS) histograms of S subjects, each with at least one voxel.
        """
        total = counts.sum(axis=1, keepdims=True).astype(np.float64)
        n, t = counts / total, true_counts / total
        raw, told = (_Told(np.tile(table, (len(n), 1)), n, t, counts) for table in (_RAW, self.curve.table()))
        return raw.scores(), told.scores(), told.reliability()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "curve": self.curve.to_dict()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> LabelCalibration:
        """Read the JSON form."""
        after = document["after"]
        return cls(
            Curve.from_dict(document["curve"]),
            int(document["n_subjects"]),
            int(document["n_present"]),
            {d: Scores(**s) for d, s in document["before"].items()},
            None if after is None else {d: Scores(**s) for d, s in after.items()},
            tuple(Reliability(**b) for b in document["reliability_before"]),
            tuple(Reliability(**b) for b in document["reliability_after"]),
            dict(document["log_losses"]),
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration of a model: label or region → its own."""

    labels: Mapping[str, LabelCalibration]

    @classmethod
    def fit(cls, cases: Sequence[CaseEvidence]) -> Calibration:
        """Fit to cases; those without known truth (``true_ml`` None) are left out, label by label."""
        return cls.fit_left_out(cases)[0]

    @classmethod
    def fit_left_out(cls, cases: Sequence[CaseEvidence]) -> tuple[Calibration, dict[str, dict[str, Floats]]]:
        """Return the fit, and subject → label → table (BINS,) that never saw the subject.

        What is fitted on top of the tables must judge each subject by these, or it thinks too well of itself. A label that only
        one subject has keeps the raw probabilities.
        """
        names = list(dict.fromkeys(name for case in cases for name in case.labels))
        fitted, without = dict[str, LabelCalibration](), defaultdict[str, dict[str, Floats]](dict)
        for name in names:
            fitted[name], tables = _fitted(name, cases)
            for case in cases:
                without[case.subject][name] = tables.get(case.subject, fitted[name].curve.table())
        return cls(fitted), dict(without)

    def table(self, label: str) -> Floats:
        """Return the calibrated probability (BINS,) of each bin of logits; never falls.

        Raises
        ------
        UsageError
            When the model has no such label.
        """
        if label not in self.labels:
            raise UsageError(f"calibration: label '{label}' is not known. {did_you_mean(label, self.labels)}")
        return self.labels[label].curve.table()

    @property
    def summary(self) -> dict[str, dict[str, Any]]:
        """Label → ``n_subjects``, ``n_present``, ``family``, and ``before`` and ``after`` on the headline's domain."""
        return {
            name: {
                "n_subjects": found.n_subjects,
                "n_present": found.n_present,
                "family": found.curve.family,
                "before": asdict(found.before[HEADLINE]) if found.before else None,
                "after": asdict(found.after[HEADLINE]) if found.after else None,
            }
            for name, found in self.labels.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"labels": {name: found.to_dict() for name, found in self.labels.items()}}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Calibration:
        """Read the JSON form."""
        return cls({name: LabelCalibration.from_dict(found) for name, found in document["labels"].items()})


def _fitted(name: str, cases: Sequence[CaseEvidence]) -> tuple[LabelCalibration, dict[str, Floats]]:
    """Fit one label to the cases whose truth is known, those of a subject taken together; subject → table without it."""
    sums: dict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros((2, BINS), np.int64))
    for case in cases:
        evidence = case.labels.get(name)
        if evidence is not None and evidence.true_ml is not None and evidence.counts.any():
            sums[case.subject] += np.stack([evidence.counts.sum(axis=0), evidence.true_counts.sum(axis=0)])
    if not sums:
        return LabelCalibration(), {}
    both = np.stack([sums[subject] for subject in sorted(sums)])
    found, tables = LabelCalibration.fit_left_out(both[:, 0], both[:, 1])
    return found, dict(zip(sorted(sums), [Curve().table()] * len(sums) if tables is None else tables, strict=True))


def _chosen_without(subject: int, losses: Mapping[str, Floats]) -> str:
    """Return the family that does best on all other left-out subjects."""
    return min(FAMILIES, key=lambda f: float(np.delete(losses[f], subject).sum()))


@dataclass(frozen=True, slots=True)
class _Told:
    """Probabilities (S, BINS) that S subjects were told, weights and true weights of their voxels, and their number."""

    said: Floats
    n: Floats
    t: Floats
    counts: NDArray[Any]

    def scores(self) -> dict[str, Scores]:
        return {domain: _scores(self.said, *self._of(domain)) for domain in DOMAINS}

    def reliability(self) -> tuple[Reliability, ...]:
        """Return the bins of all voxels seen."""
        members = equal_width(self.said, WIDTHS)
        n, t, said, counts = (
            np.bincount(members.ravel(), weights=np.ravel(w), minlength=WIDTHS)
            for w in (self.n, self.t, self.n * self.said, self.counts)
        )
        return tuple(
            Reliability(b / WIDTHS, (b + 1) / WIDTHS, float(said[b] / n[b]), float(t[b] / n[b]), round(counts[b]))
            for b in range(WIDTHS)
            if n[b] > 0
        )

    def _of(self, domain: str) -> tuple[Floats, Floats]:
        """Return the weights and the true weights of the voxels in a domain."""
        suspected = _RAW >= SUSPECT
        if domain == "contested":
            return np.where(suspected, self.n, self.t), self.t
        inside = suspected | (domain == "seen")
        return self.n * inside, self.t * inside


def _scores(said: Floats, n: Floats, t: Floats) -> Scores:
    total = float(n.sum())
    if total <= 0:
        return Scores(None, None, None)
    brier = float((t * (1 - said) ** 2 + (n - t) * said**2).sum() / total)
    gaps = t - n * said
    return Scores(_error(gaps, equal_width(said, WIDTHS), total), _error(gaps, _equal_count(said, n), total), brier)


def _error(gaps: Floats, members: NDArray[np.intp], total: float) -> float:
    return float(np.abs(np.bincount(members.ravel(), weights=gaps.ravel())).sum() / total)


def _equal_count(said: Floats, n: Floats) -> NDArray[np.intp]:
    """Return the bin of each probability so that bins hold about equal weight; equal probabilities stay together."""
    _, places = np.unique(said, return_inverse=True)
    weights = np.bincount(places.ravel(), weights=n.ravel())
    before = np.cumsum(weights) - weights
    bins = np.minimum((before / weights.sum() * WIDTHS + 1e-9).astype(np.intp), WIDTHS - 1)
    return np.asarray(bins[places].reshape(said.shape), dtype=np.intp)
