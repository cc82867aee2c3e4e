"""The measures of classes under any weighting of the subjects, in one pass: what the bootstrap calls again and again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.measure.calibration import equal_width, log_losses, squared_errors
from striate.measure.confusion import balanced_accuracy, counts_per_subject, divided, shares
from striate.measure.resample import Weights
from striate.measure.roc import Ranking

THRESHOLD = 0.5
SPECIFICITIES = (0.90, 0.95)
SHARES = ("prevalence", "sensitivity", "specificity", "precision", "f1")


def decisions(probabilities: NDArray[Any], *, exclusive: bool) -> NDArray[np.bool_]:
    """Return which classes a sample is called: (N, K) → (N, K).

    The class of the largest probability (the first of equal ones) where they are `exclusive`, else each from 0.5 on.
    """
    if exclusive:
        return np.asarray(probabilities.argmax(axis=1)[:, None] == np.arange(probabilities.shape[1]))
    return np.asarray(probabilities >= THRESHOLD)


def at_specificity(specificity: float) -> str:
    """Return the name of the measure: sensitivity at a specificity."""
    return f"sensitivity_at_specificity_{round(100 * specificity)}"


class ClassScores:
    """What was said of each sample and what was true, prepared for weights.

    Parameters
    ----------
    names
        K classes.
    truth
        (N, K) whether the class is there.
    probabilities
        (N, K) between 0 and 1.
    owner
        (N,) number of each sample's subject, below `subjects`.
    subjects
        How many there are.
    exclusive
        Whether exactly one class is there.

    Attributes
    ----------
    columns
        What `statistic` returns first: (class, or None for all of them, measure). The outcomes of `bins` follow.
    sizes
        Samples that each value is computed over, of columns and of bins.
    carriers
        Subjects that each share of samples rests on, of columns and of bins; None for what is no such share.
    confidence, outcome, members
        (n,) what was said, whether it came true, and the bin of equal width.
    bins
        Numbers of the bins that hold anything.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        truth: NDArray[np.bool_],
        probabilities: NDArray[np.float64],
        owner: NDArray[np.intp],
        subjects: int,
        *,
        exclusive: bool,
    ) -> None:
        predicted = decisions(probabilities, exclusive=exclusive)
        self.exclusive = exclusive
        self._counts = counts_per_subject(truth, predicted, owner, subjects)
        self._rankings = [Ranking(probabilities[:, k], truth[:, k], owner) for k in range(len(names))]
        self._ranked = np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0))
        self.confidence, self.outcome, of = _outcomes(truth, predicted, probabilities, owner, exclusive)
        self.members = equal_width(self.confidence)
        self.bins = [int(b) for b in np.unique(self.members)]
        self._linear = self._sums(truth, predicted, probabilities, owner, of, subjects)
        self.columns, self.sizes = self._layout(names, truth, predicted)
        self.carriers = [*(self._carriers(names, *column) for column in self.columns), *self._in_bins()]

    def _sums(
        self,
        truth: NDArray[np.bool_],
        predicted: NDArray[np.bool_],
        probabilities: NDArray[np.float64],
        owner: NDArray[np.intp],
        of: NDArray[np.intp],
        subjects: int,
    ) -> NDArray[np.float64]:
        """Sums per subject: right, all right, log loss, Brier; then outcome and count of each bin."""
        same = truth == predicted
        right = same.all(axis=1) if self.exclusive else same.sum(axis=1)
        per_sample = [
            right,
            same.all(axis=1),
            log_losses(truth, probabilities, exclusive=self.exclusive),
            squared_errors(truth, probabilities, exclusive=self.exclusive),
        ]
        sums = [np.bincount(owner, weights=v.astype(np.float64), minlength=subjects) for v in per_sample]
        inside = [self.members == b for b in self.bins]
        came = [np.bincount(of[i], weights=self.outcome[i].astype(np.float64), minlength=subjects) for i in inside]
        counted = [np.bincount(of[i], minlength=subjects).astype(np.float64) for i in inside]
        return np.stack([*sums, *came, *counted], axis=1)

    def _layout(
        self, names: tuple[str, ...], truth: NDArray[np.bool_], predicted: NDArray[np.bool_]
    ) -> tuple[list[tuple[str | None, str]], list[int]]:
        samples, true, called = len(truth), truth.sum(axis=0), predicted.sum(axis=0)
        overall = ["accuracy", "error_rate", "balanced_accuracy", "macro_auc", "log_loss", "brier"]
        if not self.exclusive:
            overall.insert(2, "exact_match")
        columns: list[tuple[str | None, str]] = [(None, measure) for measure in overall]
        every = samples if self.exclusive else samples * len(names)
        sizes = [every if measure in ("accuracy", "error_rate") else samples for measure in overall]
        for k, name in enumerate(names):
            each = {
                "prevalence": samples,
                "auc": samples,
                "sensitivity": true[k],
                "specificity": samples - true[k],
                "precision": called[k],
                "f1": samples,
                **{at_specificity(s): true[k] for s in SPECIFICITIES},
            }
            columns.extend((name, measure) for measure in each)
            sizes.extend(int(n) for n in each.values())
        counts = np.bincount(self.members)
        return columns, [*sizes, *(int(counts[b]) for b in self.bins)]

    def _carriers(self, names: tuple[str, ...], name: str | None, measure: str) -> int | None:
        """Return how many subjects have a sample that the share is a share of."""
        true, called, samples = (self._counts[n] for n in ("true", "predicted", "samples"))
        if name is None:
            return len(samples) if measure in ("accuracy", "error_rate", "exact_match") else None
        of = {"prevalence": samples, "sensitivity": true, "specificity": samples - true, "precision": called}
        if measure not in of:
            return None
        return int(np.count_nonzero(np.broadcast_to(of[measure], true.shape)[:, names.index(name)]))

    def _in_bins(self) -> list[int]:
        return [int(n) for n in np.count_nonzero(self._linear[:, 4 + len(self.bins) :], axis=0)]

    def statistic(self, weights: Weights) -> NDArray[np.float64]:
        """Return every measure for each weighting: (draws, subjects) → (draws, columns and bins); NaN where none exists."""
        drawn = weights.astype(np.float64)
        counts = {name: drawn @ table for name, table in self._counts.items()}
        found, samples = shares(counts), counts["samples"][:, 0]
        linear = drawn @ self._linear
        right, every, log_loss, brier = (divided(linear[:, n], samples) for n in range(4))
        right = right / (1 if self.exclusive else self._counts["true"].shape[1])
        areas, *at = np.stack([r.read(weights, SPECIFICITIES) for r in self._rankings], axis=2).transpose(1, 0, 2)
        ranked = areas[:, self._ranked]
        macro = ranked.mean(axis=1) if ranked.shape[1] else np.full(len(drawn), np.nan)
        overall = [right, 1 - right, balanced_accuracy(found, exclusive=self.exclusive), macro, log_loss, brier]
        if not self.exclusive:
            overall.insert(2, every)
        measures = [found["prevalence"], areas, *(found[n] for n in SHARES[1:]), *at]
        per_class = np.stack(measures, axis=2).reshape(len(drawn), -1)
        bins = len(self.bins)
        outcomes = divided(linear[:, 4 : 4 + bins], linear[:, 4 + bins :])
        return np.concatenate([np.stack(overall, axis=1), per_class, outcomes], axis=1)


def _outcomes(
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    probabilities: NDArray[np.float64],
    owner: NDArray[np.intp],
    exclusive: bool,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.intp]]:
    """What was said, whether it came true, and whose it is: of the called class, or of every class."""
    if exclusive:
        return probabilities.max(axis=1), np.asarray((truth & predicted).any(axis=1)), owner
    return probabilities.ravel(), truth.ravel(), np.repeat(owner, truth.shape[1])
