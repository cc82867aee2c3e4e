"""`ClassCurve`: from the probabilities that a classifier gives to those that they mean, and its fit by maximum likelihood.

With z the logits (of exclusive classes ln p minus its mean over the classes, which softmax does not see; else ln p −
ln(1 − p) of each class) the calibrated probabilities are the softmax, or the sigmoids, of w · z + b:

=========== =========================== ==============================================================
family      free                        source
=========== =========================== ==============================================================
identity    nothing                     the network is taken at its word
temperature one number T, w = 1 / T     Guo et al., ICML 2017
vector      w and b of each class       Guo et al., ICML 2017, section 4.2
=========== =========================== ==============================================================

A classifier that is right on all of n samples would be called certain by the likelihood alone. So of n samples the truth
counts as 1 − 1 / (n + 2), and the rest goes to the other classes evenly (Platt, "Probabilistic outputs for support vector
machines", 1999, section 2.2: the rule of succession). Slices of one subject are no independent samples, so there it holds
back less than it should; counting subjects instead flattened good probabilities of slices. The vector is held to the
temperature by a ridge of the weight of one sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

FAMILIES = ("identity", "temperature", "vector")
LEAST = 1e-37
"""Probabilities of exclusive classes below count as this."""
SATURATED = 2.0**-25
"""Sigmoids in single precision that are nearer to 0 or 1 are exactly that: they count as this far from it, logit ±17.3."""
FLATTEST, STEEPEST = 1e-3, 1e3
"""Bounds of 1 / T."""
RAREST = 5
"""Subjects that every class needs so that a vector is tried."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClassCurve:
    """What probabilities of K classes mean.

    Attributes
    ----------
    family
        One of `FAMILIES`.
    scales, offsets
        (K,) w and b.
    exclusive
        Whether each sample has exactly one class.
    """

    family: str
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    exclusive: bool

    @classmethod
    def identity(cls, classes: int, *, exclusive: bool) -> ClassCurve:
        """Return the curve that changes nothing."""
        return cls("identity", (1.0,) * classes, (0.0,) * classes, exclusive)

    @property
    def temperature(self) -> float | None:
        """T of a temperature, else None."""
        return 1 / self.scales[0] if self.family == "temperature" else None

    def of(self, probabilities: NDArray[Any]) -> Floats:
        """Return the calibrated probabilities (N, K) of the network's own (N, K)."""
        if self.family == "identity":
            return np.asarray(probabilities, dtype=np.float64)
        scores = np.asarray(self.scales) * logits(probabilities, exclusive=self.exclusive) + np.asarray(self.offsets)
        return _squashed(scores, self.exclusive)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "family": self.family, "temperature": self.temperature, "scales": list(self.scales),
            "offsets": list(self.offsets), "exclusive": self.exclusive,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ClassCurve:
        """Read the JSON form."""
        scales, offsets = (tuple(map(float, document[key])) for key in ("scales", "offsets"))
        return cls(str(document["family"]), scales, offsets, bool(document["exclusive"]))


def logits(probabilities: NDArray[Any], *, exclusive: bool) -> Floats:
    """Return z (N, K) of probabilities (N, K); see the top of this file."""
    said = np.asarray(probabilities, dtype=np.float64)
    if exclusive:
        logs = np.log(np.maximum(said, LEAST))
        return np.asarray(logs - logs.mean(axis=1, keepdims=True))
    said = np.clip(said, SATURATED, 1 - SATURATED)
    return np.asarray(np.log(said) - np.log1p(-said))


def wanted(truth: NDArray[np.bool_], *, exclusive: bool) -> Floats:
    """Return what is fitted to (N, K): the truth (N, K), drawn in by 1 / (N + 2)."""
    doubt = 1 / (len(truth) + 2)
    others = max(1, truth.shape[1] - 1) if exclusive else 1
    return np.where(truth, 1 - doubt, doubt / others)


def fit_curve(
    family: str, probabilities: Floats, truth: NDArray[np.bool_], weights: Floats, *, exclusive: bool
) -> ClassCurve:
    """Return the curve of largest likelihood.

    Parameters
    ----------
    family
        One of `FAMILIES`.
    probabilities, truth
        (N, K) of at least one sample.
    weights
        (N,) of the samples.
    exclusive
        Whether each sample has exactly one class.
    """
    classes = probabilities.shape[1]
    if family == "identity":
        return ClassCurve.identity(classes, exclusive=exclusive)
    z, aim, share = logits(probabilities, exclusive=exclusive), wanted(truth, exclusive=exclusive), weights
    share = share / share.sum()

    def slope(log_scale: float) -> float:
        """Return the derivative of the loss by the scale: it rises with the scale."""
        return float(share @ ((_squashed(np.exp(log_scale) * z, exclusive) - aim) * z).sum(axis=1))

    low, high = np.log(FLATTEST), np.log(STEEPEST)
    at = low if slope(low) >= 0 else high if slope(high) <= 0 else optimize.brentq(slope, low, high, xtol=1e-10)
    scale = float(np.exp(at))
    if family == "temperature":
        return ClassCurve(family, (scale,) * classes, (0.0,) * classes, exclusive)
    found = _vector(z, aim, share, scale, 1 / len(truth), exclusive)
    scales, offsets = (tuple(map(float, part)) for part in (found[:classes], found[classes:]))
    return ClassCurve(family, scales, offsets, exclusive)


def _vector(z: Floats, aim: Floats, share: Floats, scale: float, ridge: float, exclusive: bool) -> Floats:
    """Return scales, then offsets (2 K,)."""
    classes = z.shape[1]
    begin = np.concatenate([np.full(classes, scale), np.zeros(classes)])

    def loss(found: Floats) -> tuple[float, Floats]:
        scores = found[:classes] * z + found[classes:]
        said, away = _squashed(scores, exclusive), found - begin
        if exclusive:
            top = scores.max(axis=1)
            each = top + np.log(np.exp(scores - top[:, None]).sum(axis=1)) - (aim * scores).sum(axis=1)
        else:
            each = (np.logaddexp(0, scores) - aim * scores).sum(axis=1)
        gaps = share[:, None] * (said - aim)
        gradient = np.concatenate([(gaps * z).sum(axis=0), gaps.sum(axis=0)]) + ridge * away
        return float(share @ each + 0.5 * ridge * away @ away), gradient

    bounds = [(FLATTEST, STEEPEST)] * classes + [(None, None)] * classes
    return np.asarray(optimize.minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds).x, dtype=np.float64)


def _squashed(scores: Floats, exclusive: bool) -> Floats:
    if exclusive:
        grown = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=1, keepdims=True))
    return np.asarray(0.5 * (1 + np.tanh(0.5 * scores)))
