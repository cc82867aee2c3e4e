"""Whether a probability means what it says: proper scores, calibration error, reliability.

`confidence` is what the model said of an outcome, `outcome` whether it came true. For exclusive classes this is the
largest probability and whether that class is the true one; for classes that may occur together, every class's probability and
whether the class is there.

* Brier score: Brier, Monthly Weather Review 78:1 (1950), eq. 2: squared differences summed over exclusive classes, so from
  0 to 2; with classes that may occur together their mean, from 0 to 1.
* Log loss: −ln of the probability of what was true; probabilities below `LEAST` count as `LEAST`.
* ECE: Σ (n_b / n) · |mean outcome − mean confidence| over `BINS` bins of equal width (m − 1) / M < confidence ≤ m / M:
  Naeini et al., AAAI 2015; Guo et al., ICML 2017, eq. 3.
* Adaptive ECE: the same over bins of equal counts: Nguyen and O'Connor, EMNLP 2015; Mukhoti et al., NeurIPS 2020. Equal
  confidences stay in one bin, so that the order of the samples does not matter.

Both errors are too large where bins hold few samples, even of a perfect model (Roelofs et al., AISTATS 2022), and a bootstrap
makes this worse instead of measuring it. So they get no interval: `error_by_chance` says how large ECE would be on the
same confidences if every one of them were true.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
LEAST = 1e-15
CHANCES = 500
_BLOCK = 1 << 22

Floats = NDArray[np.float64]


def squared_errors(truth: NDArray[Any], probabilities: Floats, *, exclusive: bool) -> Floats:
    """Return the Brier score of each sample: (N, K) bool, (N, K) → (N,)."""
    squares = (probabilities - np.asarray(truth, dtype=np.float64)) ** 2
    return np.asarray(squares.sum(axis=1) if exclusive else squares.mean(axis=1))


def log_losses(truth: NDArray[Any], probabilities: Floats, *, exclusive: bool) -> Floats:
    """Return the log loss of each sample in nats: (N, K) bool, (N, K) → (N,)."""
    truth = np.asarray(truth, dtype=bool)
    if exclusive:
        return np.asarray(-np.log(np.maximum(probabilities[truth], LEAST)))
    said = np.where(truth, probabilities, 1 - probabilities)
    return np.asarray(-np.log(np.maximum(said, LEAST)).mean(axis=1))


def equal_width(confidence: Floats, bins: int = BINS) -> NDArray[np.intp]:
    """Return the number of each confidence's bin, 0 … bins − 1; bin m holds m / bins < confidence ≤ (m + 1) / bins."""
    return np.clip(np.ceil(np.asarray(confidence) * bins - 1e-12).astype(np.intp) - 1, 0, bins - 1)


def equal_count(confidence: Floats, bins: int = BINS) -> NDArray[np.intp]:
    """Return the number of each confidence's bin; the bins hold equal counts, but equal confidences stay together."""
    ordered = np.sort(confidence)
    starts = np.ceil(np.arange(1, bins) * len(ordered) / bins).astype(np.intp)
    edges = ordered[np.minimum(starts, len(ordered) - 1)]
    return np.searchsorted(edges, confidence, side="right")


def calibration_error(confidence: Floats, outcome: NDArray[Any], members: NDArray[np.intp]) -> float:
    """Return Σ (n_b / n) · |mean outcome − mean confidence| over the bins `members`.

    Parameters
    ----------
    confidence
        (n,) between 0 and 1.
    outcome
        (n,) whether it came true.
    members
        (n,) number of each one's bin, from `equal_width` or `equal_count`.
    """
    gaps = np.bincount(members, weights=np.asarray(outcome, dtype=np.float64) - confidence)
    return float(np.abs(gaps).sum() / len(confidence))


def ece(confidence: Floats, outcome: NDArray[Any], bins: int = BINS) -> float:
    """Return the expected calibration error over bins of equal width: (n,), (n,) → 0 … 1."""
    return calibration_error(confidence, outcome, equal_width(confidence, bins))


def adaptive_ece(confidence: Floats, outcome: NDArray[Any], bins: int = BINS) -> float:
    """Return the calibration error over bins of equal counts: (n,), (n,) → 0 … 1."""
    return calibration_error(confidence, outcome, equal_count(confidence, bins))


def error_by_chance(confidence: Floats, *, seed: int = 0) -> float:
    """Return the mean ECE that these confidences would have if each were the true probability of its outcome.

    Outcomes are drawn `CHANCES` times, so the value is that of independent samples.

    Parameters
    ----------
    confidence
        (n,) between 0 and 1.
    seed
        Of the numpy generator.
    """
    members = equal_width(confidence)
    order = np.argsort(members, kind="stable")
    said = np.asarray(confidence)[order]
    starts = np.flatnonzero(np.diff(members[order], prepend=-1))
    found = [
        np.abs(np.add.reduceat(drawn - said, starts, axis=1)).sum(axis=1) / len(said) for drawn in _outcomes(said, seed)
    ]
    return float(np.concatenate(found).mean())


def _outcomes(said: Floats, seed: int) -> Iterator[NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // len(said))
    for start in range(0, CHANCES, step):
        yield rng.random((min(step, CHANCES - start), len(said))) < said
