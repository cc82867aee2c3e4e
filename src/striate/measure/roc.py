"""The receiver operating characteristic of one class against the rest, and what is read off it.

The area under it is the share of (positive, negative) pairs in which the positive has the higher score, ties counting half:
the Mann-Whitney U statistic divided by the number of pairs (Hanley and McNeil, Radiology 143:29, 1982). Without a
positive or without a negative it does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.measure.resample import Weights

MOST_POINTS = 200
_ROUNDING = 1e-9


class Ranking:
    """Scores of one class, sorted once, so that every weighting of the subjects costs one pass.

    Parameters
    ----------
    scores
        (N,) numbers, higher for the class.
    positive
        (N,) whether the sample is of the class.
    owner
        (N,) number of each sample's subject; each sample is its own subject where it is not given.
    """

    def __init__(self, scores: NDArray[Any], positive: NDArray[Any], owner: NDArray[np.intp] | None = None) -> None:
        truth = np.asarray(positive, dtype=bool)
        owner = np.arange(len(truth)) if owner is None else owner
        order = np.argsort(scores, kind="stable")
        scores, truth, owner = np.asarray(scores)[order], truth[order], owner[order]
        found, others = scores[truth], scores[~truth]
        self._positive, self._negative = owner[truth], owner[~truth]
        self._below = np.searchsorted(others, found, "left")
        self._not_above = np.searchsorted(others, found, "right")

    def read(self, weights: Weights, specificities: Sequence[float] = ()) -> NDArray[np.float64]:
        """Return the area and, for each of `specificities`, the largest sensitivity at a specificity of at least that.

        Thresholds lie between scores that occur; nothing is interpolated.

        Parameters
        ----------
        weights
            (draws, subjects) how often each subject counts.
        specificities
            Between 0 and 1.

        Returns
        -------
        (draws, 1 + len(specificities)) array
            NaN where there is no positive or no negative.
        """
        positive, negatives = self._weights(weights)
        total = negatives[:, -1].astype(np.float64)
        lower = negatives[:, self._below].astype(np.float64) + negatives[:, self._not_above]
        won = [np.einsum("dn,dn->d", lower, positive) / 2]
        for specificity in specificities:
            rejected = (negatives < (specificity * total - _ROUNDING)[:, None]).sum(axis=1)
            kept = self._below[None, :] >= rejected[:, None]
            won.append(np.einsum("dn,dn->d", kept, positive) * total)
        pairs = positive.sum(axis=1) * total
        return np.stack([np.divide(v, pairs, out=np.full(len(v), np.nan), where=pairs > 0) for v in won], axis=1)

    def _weights(self, weights: Weights) -> tuple[NDArray[np.float64], Weights]:
        """Weights of the positives, and running sums of those of the negatives, from 0: both in order of their scores."""
        negatives = np.zeros((len(weights), len(self._negative) + 1), dtype=np.int32)
        np.cumsum(weights[:, self._negative], axis=1, out=negatives[:, 1:])
        return weights[:, self._positive].astype(np.float64), negatives


def auc(scores: NDArray[Any], positive: NDArray[Any]) -> float | None:
    """Return the area under the characteristic; None without a positive or without a negative.

    Parameters
    ----------
    scores
        (N,) numbers, higher for the class.
    positive
        (N,) whether the sample is of the class.
    """
    area = float(Ranking(scores, positive).read(np.ones((1, len(scores)), dtype=np.int32))[0, 0])
    return area if np.isfinite(area) else None


def roc_points(scores: NDArray[Any], positive: NDArray[Any]) -> tuple[tuple[float, float], ...]:
    """Return (false positive rate, true positive rate), from (0, 0) to (1, 1), one point per score that occurs.

    Parameters
    ----------
    scores, positive
        As in `auc`. Where there are more points, those nearest to `MOST_POINTS` places of equal distance along the curve are
        kept.

    Returns
    -------
    tuple of (float, float)
        Empty where a class is absent.
    """
    truth = np.asarray(positive, dtype=bool)
    count = int(truth.sum())
    if count in (0, len(truth)):
        return ()
    order = np.argsort(-np.asarray(scores), kind="stable")
    sorted_scores, truth = np.asarray(scores)[order], truth[order]
    last = np.append(np.flatnonzero(np.diff(sorted_scores)), len(truth) - 1)
    true = np.concatenate([[0], np.cumsum(truth)[last]]) / count
    false = np.concatenate([[0], np.cumsum(~truth)[last]]) / (len(truth) - count)
    corner = _corners(false, true)
    false, true = false[corner], true[corner]
    if len(true) > MOST_POINTS:
        along = false + true
        kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], MOST_POINTS) - _ROUNDING))
        false, true = false[kept], true[kept]
    return tuple((float(f), float(t)) for f, t in zip(false, true, strict=True))


def _corners(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Points at which a run along one axis ends; what lies within a run adds nothing to the curve."""
    keep = np.ones(len(x), dtype=bool)
    within_x = (x[1:-1] == x[:-2]) & (x[1:-1] == x[2:])
    within_y = (y[1:-1] == y[:-2]) & (y[1:-1] == y[2:])
    keep[1:-1] = ~(within_x | within_y)
    return keep
