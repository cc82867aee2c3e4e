"""`Curve`: from the probability that a network says to the probability that is meant, for one label.

No curve here falls: each is σ(a·ln p − b·ln(1 − p) + c) with a, b ≥ 0, or σ of a rising line that bends. The families differ in
what is free:

========== ================ ==========================================================================
identity   a = b = 1, c = 0 the network is taken at its word
temperature a = b, c = 0    Guo et al., ICML 2017: logit / T with T = 1 / a
platt      a = b            Platt, 1999: a · logit + c
beta       all three        Kull, Silva Filho and Flach, AISTATS 2017, eq. 2
ramps      c, and one slope a linear spline in the logit that bends at `KNOTS`, after Lucena, "Spline-based
           per stretch      probability calibration", 2018: for shapes that three numbers cannot follow
========== ================ ==========================================================================

All are logistic regressions on fixed features of p, so the likelihood is concave. It is maximised by Newton's method with
the bounds kept by freezing the coefficients that press against them (Bertsekas, SIAM J Control Optim 20:221, 1982), for
many histograms at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.inference.observed import LOGITS

FAMILIES = ("identity", "temperature", "platt", "beta", "ramps")
"""From the simplest to the most flexible."""
KNOTS = (0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
"""Probabilities at which the line of ramps bends."""
STEEPEST, FURTHEST = 16.0, 40.0
"""Largest a and b, and largest size of c; reached only where outcomes are separated without error."""
STEPS = 100
_SMALLEST = 1e-10

Floats = NDArray[np.float64]

_LOG_P, _LOG_NOT = -np.logaddexp(0, -LOGITS), np.logaddexp(0, LOGITS)  # ln p and −ln(1 − p) of each bin
_BENDS = np.log(KNOTS) - np.log1p(-np.asarray(KNOTS))
_EDGES = np.concatenate([[-np.inf], _BENDS, [np.inf]])
_RAMPS = np.clip(LOGITS[:, None], _EDGES[:-1], _EDGES[1:]) - np.concatenate([[0.0], _BENDS])
"""(BINS, stretches): how far the logit of each bin has come in each stretch; over all of them they sum to the logit."""
_FEATURES: dict[str, Floats] = {
    "temperature": LOGITS[:, None],
    "platt": np.stack([LOGITS, np.ones_like(LOGITS)], axis=1),
    "beta": np.stack([_LOG_P, _LOG_NOT, np.ones_like(LOGITS)], axis=1),
    "ramps": np.concatenate([_RAMPS, np.ones((len(LOGITS), 1))], axis=1),
}
_BOUNDS: dict[str, tuple[Floats, Floats]] = {
    "temperature": (np.zeros(1), np.full(1, STEEPEST)),
    "platt": (np.array([0, -FURTHEST]), np.array([STEEPEST, FURTHEST])),
    "beta": (np.array([0, 0, -FURTHEST]), np.array([STEEPEST, STEEPEST, FURTHEST])),
    "ramps": (np.r_[np.zeros(len(KNOTS) + 1), -FURTHEST], np.r_[np.full(len(KNOTS) + 1, STEEPEST), FURTHEST]),
}
_PLACES = {"temperature": (0, 0, -1), "platt": (0, 0, 1), "beta": (0, 1, 2)}


@dataclass(frozen=True, slots=True)
class Curve:
    """One calibration curve.

    Attributes
    ----------
    family
        One of `FAMILIES`.
    a, b, c
        See the top of this file; of ramps c alone counts.
    slopes
        Of ramps: of the logit that is meant over the one that is said, in each stretch between `KNOTS`; of others empty.
    """

    family: str = "identity"
    a: float = 1.0
    b: float = 1.0
    c: float = 0.0
    slopes: tuple[float, ...] = ()

    def table(self) -> Floats:
        """Return the probability (BINS,) that each bin of logits means; never falls."""
        if self.slopes:
            return sigmoid(_RAMPS @ np.asarray(self.slopes) + self.c)
        return sigmoid(self.a * _LOG_P + self.b * _LOG_NOT + self.c)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"family": self.family, "a": self.a, "b": self.b, "c": self.c, "slopes": list(self.slopes)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Curve:
        """Read the JSON form."""
        slopes = tuple(map(float, document["slopes"]))
        if len(slopes) not in (0, len(KNOTS) + 1):
            raise ValueError(f"{len(slopes)} slopes; {len(KNOTS) + 1} or none are needed")
        a, b, c = (float(document[name]) for name in "abc")
        return cls(str(document["family"]), a, b, c, slopes)


def fit_curves(family: str, counts: Floats, true_counts: Floats) -> list[Curve]:
    """Return the curve of largest likelihood for each of S histograms.

    Parameters
    ----------
    family
        One of `FAMILIES`.
    counts, true_counts
        (S, BINS) voxels (or weights) in each bin, and those of them that are truly the label.
    """
    if family == "identity":
        return [Curve()] * len(counts)
    weights = _newton(_FEATURES[family], *_BOUNDS[family], counts, true_counts)
    if family == "ramps":
        return [Curve(family, c=float(row[-1]), slopes=tuple(map(float, row[:-1]))) for row in weights]
    padded = np.concatenate([weights, np.zeros((len(weights), 1))], axis=1)
    a, b, c = (padded[:, place].tolist() for place in _PLACES[family])
    return [Curve(family, *numbers) for numbers in zip(a, b, c, strict=True)]


def log_loss(table: Floats, counts: Floats, true_counts: Floats) -> Floats:
    """Return −Σ (t·ln q + (n − t)·ln(1 − q)) over the bins: (…, BINS) each → (…), in nats."""
    q = np.clip(table, 1e-15, 1 - 1e-15)
    return -np.asarray((true_counts * np.log(q) + (counts - true_counts) * np.log1p(-q)).sum(axis=-1))


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + e⁻ˣ)."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def _newton(features: Floats, low: Floats, high: Floats, counts: Floats, true_counts: Floats) -> Floats:
    """Return the coefficients (S, F) of largest likelihood between `low` and `high`; features (BINS, F)."""
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1e-300)
    n, t = counts / total, true_counts / total
    found = np.tile(np.clip(np.where(np.arange(len(low)) < max(1, len(low) - 1), 1.0, 0.0), low, high), (len(n), 1))
    loss = _loss(found, features, n, t)
    for _ in range(STEPS):
        q = sigmoid(found @ features.T)
        slope = (n * q - t) @ features
        bend = np.einsum("sb,bf,bg->sfg", n * q * (1 - q), features, features, optimize=True)
        frozen = ((found <= low) & (slope > 0)) | ((found >= high) & (slope < 0))
        step = _solve(bend, np.where(frozen, 0.0, slope), frozen)
        found, loss, moved = _descend(found, step, loss, features, low, high, n, t)
        if moved < _SMALLEST:
            break
    return found


def _solve(bend: Floats, slope: Floats, frozen: NDArray[np.bool_]) -> Floats:
    """Return the Newton step of the coefficients that are not frozen."""
    free = ~frozen
    kept = np.where(free[:, :, None] & free[:, None, :], bend, 0.0)
    size = np.einsum("sff->sf", bend)
    ridge = np.where(frozen, 1.0, 1e-9 * size + 1e-14)
    return np.asarray(np.linalg.solve(kept + ridge[:, :, None] * np.eye(bend.shape[1]), slope[:, :, None])[:, :, 0])


def _descend(
    found: Floats, step: Floats, loss: Floats, features: Floats, low: Floats, high: Floats, n: Floats, t: Floats
) -> tuple[Floats, Floats, float]:
    """Go along −step, halved until the loss falls; returns the new coefficients, losses, and the largest change."""
    length, done = np.ones((len(found), 1)), np.zeros(len(found), dtype=bool)
    best, least = found.copy(), loss.copy()
    for _ in range(30):
        tried = np.clip(found - length * step, low, high)
        value = _loss(tried, features, n, t)
        better = ~done & (value < loss)
        best[better], least[better] = tried[better], value[better]
        done |= better
        if done.all():
            break
        length = np.where(done[:, None], length, length / 2)
    return best, least, float(np.abs(best - found).max(initial=0))


def _loss(weights: Floats, features: Floats, n: Floats, t: Floats) -> Floats:
    x = weights @ features.T
    return np.asarray((n * np.logaddexp(0, x) - t * x).sum(axis=1))
