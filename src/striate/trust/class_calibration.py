"""`ClassCalibration`: what the probabilities of a classifier mean, measured on subjects that it did not learn from.

Curves (`striate.trust.class_curve`) are fitted by maximum likelihood. Of identity and temperature the one with the lower log
loss on left-out subjects is kept. A vector can change which class is the most probable one, so it must be clearly better than
that: by more than `CLEARLY` standard errors of the mean difference over subjects.

* **Weights.** Every subject counts alike, shared evenly by its cases and slices.
* **After.** Scores *after* calibration come from curves that were fitted, and whose family was chosen, without the subject: one
  subject is left out at a time, or with more than `FOLDS` subjects one of `FOLDS` groups of them. The losses that choose come
  from curves that did see it; only the choice among three can leak. With one subject this cannot be done: nothing is calibrated
  and nothing is claimed.
* **Identity.** Fitted curves are held back where all of n samples were right (`wanted`), the identity is not: of a network that
  is sure and right on all of few samples the identity is kept.
* **Scores.** Accuracy and log loss. Top-label ECE and adaptive ECE: whether the most probable class is right against its
  probability, 15 bins of equal width (Guo et al., ICML 2017) and of equal counts (Nguyen and O'Connor, EMNLP 2015).
  Class-wise ECE: the mean over classes of the error of each one's probability (Kull et al., NeurIPS 2019). Brier: squared
  differences summed over the classes, 0 to 2 (Brier 1950). Of classes that may occur together ECE is that of every class's
  probability, and Brier the mean over them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.measure.calibration import BINS, equal_count, equal_width, error_by_chance, log_losses, squared_errors
from striate.measure.class_scores import decisions
from striate.trust.calibration import Reliability
from striate.trust.class_curve import FAMILIES, RAREST, ClassCurve, Floats, fit_curve
from striate.trust.class_evidence import Judged

FOLDS = 20
LEAST_SUBJECTS = 2
CLEARLY = 2.0


@dataclass(frozen=True, slots=True)
class ClassScores:
    """How well probabilities of classes mean what they say; see the top of the file.

    Attributes
    ----------
    ece, classwise_ece, adaptive_ece, brier, log_loss, accuracy
        Each subject counts alike.
    ece_by_chance
        The ECE that these probabilities would show if each were true, of independent samples that count alike.
    """

    ece: float
    classwise_ece: float
    adaptive_ece: float
    brier: float
    log_loss: float
    accuracy: float
    ece_by_chance: float

    @classmethod
    def of(cls, probabilities: Floats, truth: NDArray[np.bool_], weights: Floats, *, exclusive: bool) -> ClassScores:
        """Measure probabilities (N, K) of at least one sample against the truth (N, K), with weights (N,)."""
        share = weights / weights.sum()
        said, came, of = outcomes(probabilities, truth, share, exclusive=exclusive)
        classwise = [
            _error(probabilities[:, k], truth[:, k], share, equal_width(probabilities[:, k]))
            for k in range(truth.shape[1])
        ]
        right = decisions(probabilities, exclusive=exclusive) == truth
        return cls(
            _error(said, came, of, equal_width(said)),
            float(np.mean(classwise)),
            _error(said, came, of, equal_count(said)),
            float(share @ squared_errors(truth, probabilities, exclusive=exclusive)),
            float(share @ log_losses(truth, probabilities, exclusive=exclusive)),
            float(share @ (right.all(axis=1) if exclusive else right.mean(axis=1))),
            error_by_chance(said),
        )


@dataclass(frozen=True, slots=True)
class ClassCalibration:
    """The calibration of a classifier.

    Attributes
    ----------
    curve
        From the network's own to calibrated probabilities; the identity where `after` is None.
    n_subjects, n_samples
        With known truth that it rests on.
    n_present
        Class → subjects of these in which it occurs.
    before, after
        Scores of the network's own and of calibrated probabilities; None with too few subjects.
    reliability_before, reliability_after
        Bins that hold any: of the most probable class, or of every class where several may occur.
    log_losses
        Family → mean log loss of left-out subjects, in nats; only those that were tried.
    """

    curve: ClassCurve
    n_subjects: int = 0
    n_samples: int = 0
    n_present: Mapping[str, int] = field(default_factory=dict)
    before: ClassScores | None = None
    after: ClassScores | None = None
    reliability_before: tuple[Reliability, ...] = ()
    reliability_after: tuple[Reliability, ...] = ()
    log_losses: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, judged: Judged, classes: Sequence[str], *, exclusive: bool) -> ClassCalibration:
        """Fit to samples of known truth."""
        return cls.fit_left_out(judged, classes, exclusive=exclusive)[0]

    @classmethod
    def fit_left_out(
        cls, judged: Judged, classes: Sequence[str], *, exclusive: bool
    ) -> tuple[ClassCalibration, Floats]:
        """Return the fit, and probabilities (N, K) of each sample by a curve that never saw its subject.

        They are the network's own where there are too few subjects.
        """
        said, truth, weights, n = judged.probabilities, judged.truth, judged.weights, judged.count
        same, present = ClassCurve.identity(len(classes), exclusive=exclusive), judged.present()
        counts = {name: int(m) for name, m in zip(classes, present, strict=True)}
        if not n:
            return cls(same, n_present=counts), said
        before = ClassScores.of(said, truth, weights, exclusive=exclusive)
        pictured = _reliability(said, truth, weights, exclusive)
        if n < LEAST_SUBJECTS:
            return cls(same, n, len(said), counts, before, None, pictured), said
        tried = [f for f in FAMILIES if f != "vector" or present.min() >= RAREST]
        left_out = {f: _left_out(f, judged, exclusive) for f in tried}
        losses = {f: _losses(told, judged, exclusive) for f, told in left_out.items()}
        groups, without = folds(n), said.copy()
        for group in range(int(groups.max()) + 1):
            kept, mine = groups != group, groups[judged.subjects] == group
            without[mine] = left_out[_chosen(losses, kept)][mine]
        chosen = _chosen(losses, np.ones(n, dtype=bool))
        found = cls(
            fit_curve(chosen, said, truth, weights, exclusive=exclusive), n, len(said), counts, before,
            ClassScores.of(without, truth, weights, exclusive=exclusive), pictured,
            _reliability(without, truth, weights, exclusive), {f: float(v.mean()) for f, v in losses.items()},
        )  # fmt: skip
        return found, without

    @property
    def calibrated(self) -> bool:
        """Whether probabilities were compared with what came true, so that they may be called calibrated."""
        return self.after is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "curve": self.curve.to_dict()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ClassCalibration:
        """Read the JSON form."""
        before, after = (None if (d := document[when]) is None else ClassScores(**d) for when in ("before", "after"))
        first, then = (tuple(Reliability(**b) for b in document[f"reliability_{when}"]) for when in ("before", "after"))
        return cls(
            ClassCurve.from_dict(document["curve"]), int(document["n_subjects"]), int(document["n_samples"]),
            dict(document["n_present"]), before, after, first, then, dict(document["log_losses"]),
        )  # fmt: skip


def folds(subjects: int) -> NDArray[np.intp]:
    """Return the group of each subject, that is left out together: each its own, or `FOLDS` groups by turns."""
    return np.arange(subjects) % min(subjects, FOLDS)


def outcomes(
    probabilities: Floats, truth: NDArray[np.bool_], share: Floats, *, exclusive: bool
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Return what was said, whether it came true, and its weight: of the most probable class, or of every class."""
    if exclusive:
        top = probabilities.argmax(axis=1)
        rows = np.arange(len(top))
        return probabilities[rows, top], truth[rows, top], share
    return probabilities.ravel(), truth.ravel(), np.repeat(share, truth.shape[1]) / truth.shape[1]


def _left_out(family: str, judged: Judged, exclusive: bool) -> Floats:
    """Return the probabilities (N, K) by curves that were fitted to the other groups of subjects."""
    told, groups = judged.probabilities.copy(), folds(judged.count)
    if family == "identity":
        return told
    for group in range(int(groups.max()) + 1):
        mine = groups[judged.subjects] == group
        parts = (judged.probabilities[~mine], judged.truth[~mine], judged.weights[~mine])
        curve = fit_curve(family, *parts, exclusive=exclusive)
        told[mine] = curve.of(judged.probabilities[mine])
    return told


def _losses(told: Floats, judged: Judged, exclusive: bool) -> Floats:
    """Return the mean log loss of each subject (S,) under probabilities (N, K)."""
    each = judged.weights * log_losses(judged.truth, told, exclusive=exclusive)
    return np.asarray(np.bincount(judged.subjects, weights=each, minlength=judged.count), dtype=np.float64)


def _chosen(losses: Mapping[str, Floats], kept: NDArray[np.bool_]) -> str:
    """Return the family to keep, by the losses (S,) of the subjects that are `kept`."""
    best = min(("identity", "temperature"), key=lambda f: float(losses[f][kept].sum()))
    if "vector" not in losses:
        return best
    gain = (losses[best] - losses["vector"])[kept]
    error = float(gain.std(ddof=1)) / np.sqrt(len(gain))
    return "vector" if float(gain.mean()) > CLEARLY * error else best


def _error(said: Floats, came: NDArray[np.bool_], share: Floats, members: NDArray[np.intp]) -> float:
    """Return Σ |share that came true − probability| over bins, weighted; `share` (n,) sums to 1."""
    return float(np.abs(np.bincount(members, weights=share * (came - said))).sum())


def _reliability(
    probabilities: Floats, truth: NDArray[np.bool_], weights: Floats, exclusive: bool
) -> tuple[Reliability, ...]:
    said, came, share = outcomes(probabilities, truth, weights / weights.sum(), exclusive=exclusive)
    members = equal_width(said)
    n, t, p = (np.bincount(members, weights=w, minlength=BINS) for w in (share, share * came, share * said))
    counts = np.bincount(members, minlength=BINS)
    return tuple(
        Reliability(b / BINS, (b + 1) / BINS, float(p[b] / n[b]), float(t[b] / n[b]), int(counts[b]))
        for b in range(BINS)
        if counts[b]
    )
