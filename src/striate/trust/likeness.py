"""`Likeness`: how far a case lies from the training cases, by the network's own features.

============== ====================================================================================================
method         score (larger is less alike)
============== ====================================================================================================
mahalanobis    distance from the mean under a shrunken covariance (Lee et al., NeurIPS 2018, with one class; shrinkage of
               Ledoit and Wolf, Journal of Multivariate Analysis 88(2), 2004)
neighbours     distance to the k-th nearest training case, k = ⌈√n⌉ / 2 (after Sun et al., ICML 2022; features are
               standardised instead of normalised, because pooled features have their own scale)
residual       length of what the principal axes do not explain (after the residual of ViM, Wang et al., CVPR 2022)
============== ====================================================================================================

What is scored is `likeness_features`: the facts of the images (`striate.trust.image_facts`), then the pooled answers of the
network. The facts measured best (docs/concepts/gate.md); the network adds what they do not measure.

Every feature is first standardised by the training cases. The threshold is a conformal quantile of leave-one-subject-out scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from striate.core.counted import counted
from striate.core.errors import DataError, UsageError, expected
from striate.trust.conformal import bound, subject_weights

Method = Literal["mahalanobis", "neighbours", "residual"]
METHODS: tuple[Method, ...] = ("mahalanobis", "neighbours", "residual")
COVERAGE = 0.95
LEAST_SUBJECTS = 3
LOGARITHMIC = ("noise", "edge", "streaks", "spikes", "bias")
LINEAR = ("blur", "ghost", "rim")
"""Facts that are scored, beside the quantiles of the histogram."""
EXPLAINED = 0.9
"""Share of the variance that the principal axes of ``residual`` hold."""
Rows = NDArray[np.float64]


def likeness_features(facts: Mapping[str, Mapping[str, Any]], pooled: NDArray[Any]) -> Rows:
    """Return the vector (F,) of one case: of each channel the logarithms and values of its facts, then `pooled`.

    A fact that could not be measured counts as 0, far from any that could.
    """
    from striate.data.checks.signature import QUANTILES

    rows: list[float] = []
    for channel in sorted(facts):
        known = facts[channel]
        given = [known.get(name) for name in LOGARITHMIC]
        rows += [0.0 if v is None else math.log(max(float(v), 1e-4)) for v in given]
        rows += [float(known.get(name) or 0.0) for name in LINEAR]
        rows += list(known.get("quantiles") or [0.0] * len(QUANTILES))
    return np.concatenate([np.asarray(rows, dtype=np.float64), np.asarray(pooled, dtype=np.float64)])


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """A reference set of features and the threshold that it gives.

    Attributes
    ----------
    features
        (N, F) of the training cases.
    subjects
        (N,) whose they are.
    method
        One of `METHODS`.
    left_out
        (N,) score of each case with its subject left out.
    threshold
        95 % of cases of new subjects score at most this, where they are like the training cases; None with fewer than 19
        subjects, for which no such number exists.
    """

    features: Rows
    subjects: tuple[str, ...]
    method: Method
    left_out: Rows
    threshold: float | None

    @classmethod
    def fit(cls, features: NDArray[Any], subjects: Sequence[str], method: Method = "mahalanobis") -> Likeness | None:
        """Fit to features (N, F); None with fewer than `LEAST_SUBJECTS` subjects.

        Raises
        ------
        UsageError
            When the method is unknown or there is not one subject for each row.
        DataError
            When a feature is not finite.
        """
        if method not in METHODS:
            raise UsageError(expected("likeness", f"method {method!r}", f"one of {', '.join(METHODS)} is needed"))
        rows, names = np.asarray(features, dtype=np.float64), tuple(map(str, subjects))
        if rows.ndim != 2 or len(rows) != len(names):
            raise UsageError(
                expected(
                    "likeness",
                    f"features of shape {rows.shape} and {counted(len(names), 'subject')}",
                    "one row each is needed",
                )
            )
        _finite(rows)
        if len(set(names)) < LEAST_SUBJECTS or not rows.shape[1]:
            return None
        owner, scores = np.asarray(names), np.empty(len(rows))
        for subject in dict.fromkeys(names):
            mine = owner == subject
            scores[mine] = _score(rows[~mine], rows[mine], method)
        return cls(rows, names, method, scores, bound(scores, subject_weights(names), COVERAGE))

    @property
    def n_subjects(self) -> int:
        """Subjects that it rests on."""
        return len(set(self.subjects))

    def score(self, features: NDArray[Any]) -> float:
        """Return how unlike one case (F,) is.

        Raises
        ------
        UsageError
            When the number of features is another.
        DataError
            When a feature is not finite.
        """
        row = np.asarray(features, dtype=np.float64).reshape(1, -1)
        if row.shape[1] != self.features.shape[1]:
            raise UsageError(
                expected(
                    "likeness", f"{row.shape[1]} features", f"{self.features.shape[1]} are needed: those of one network"
                )
            )
        _finite(row)
        return float(_score(self.features, row, self.method)[0])

    def summary(self) -> dict[str, Any]:
        """Return what a model card says, in numbers."""
        return {"method": self.method, "threshold": self.threshold, "coverage": COVERAGE, "n_subjects": self.n_subjects}

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "method": self.method, "subjects": list(self.subjects), "features": self.features.tolist(),
            "left_out": self.left_out.tolist(), "threshold": self.threshold,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Likeness:
        """Read the JSON form.

        Raises
        ------
        ValueError
            When the features are no rows of finite numbers, one for each case.
        """
        threshold, rows = document["threshold"], np.asarray(document["features"], dtype=np.float64)
        if rows.ndim != 2 or len(rows) != len(document["subjects"]) or not np.isfinite(rows).all():
            raise ValueError(f"likeness: features of shape {rows.shape}")
        return cls(
            rows, tuple(document["subjects"]), document["method"],
            np.asarray(document["left_out"], dtype=np.float64), None if threshold is None else float(threshold),
        )  # fmt: skip


def _finite(rows: Rows) -> None:
    if not np.isfinite(rows).all():
        raise DataError(expected("likeness", "a feature is NaN or infinite", "finite features are needed"))


def _score(known: Rows, new: Rows, method: Method) -> Rows:
    middle, spread = known.mean(axis=0), known.std(axis=0)
    spread = np.where(spread > 1e-6 * np.maximum(np.abs(middle), 1e-6), spread, max(float(spread.mean()), 1e-6))
    x, y = (known - middle) / spread, (new - middle) / spread
    if method == "neighbours":
        return _neighbours(x, y)
    _, singular, axes = np.linalg.svd(x, full_matrices=False)
    variance = singular**2 / len(x)
    along = y @ axes.T
    beyond = np.maximum((y**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
    if method == "residual":
        kept = int(np.searchsorted(np.cumsum(variance), EXPLAINED * variance.sum())) + 1
        return np.asarray(np.sqrt(beyond + (along[:, kept:] ** 2).sum(axis=1)))
    share, level = shrinkage(x)
    inner = (along**2 / ((1 - share) * variance + share * level)).sum(axis=1)
    return np.asarray(np.sqrt((inner + beyond / max(share * level, 1e-9)) / x.shape[1]))


def shrinkage(centred: Rows) -> tuple[float, float]:
    """Return Ledoit and Wolf's share of the identity and its level for rows (N, F) of mean 0: Σ = (1 − s) S + s μ I.

    Uses the eigenvalues of the smaller of S and the Gram matrix, so that F may exceed N by far.
    """
    n, f = centred.shape
    gram = centred @ centred.T / n
    level = float(np.trace(gram)) / f
    squared = float((gram**2).sum())  # ‖S‖², the same for S and for the Gram matrix
    apart = squared - f * level**2
    noise = (float((np.diag(gram) ** 2).sum()) * n**2 - n * squared) / n**2
    share = min(max(noise / apart, 0.0), 1.0) if apart > 0 else 1.0
    return max(share, 1e-3), max(level, 1e-12)


def _neighbours(x: Rows, y: Rows) -> Rows:
    k = min(len(x), max(1, math.ceil(math.sqrt(len(x)) / 2)))
    square = (x**2).sum(axis=1)[None] + (y**2).sum(axis=1)[:, None] - 2 * y @ x.T
    nearest = np.partition(np.maximum(square, 0), k - 1, axis=1)[:, k - 1]
    return np.asarray(np.sqrt(nearest / x.shape[1]))
