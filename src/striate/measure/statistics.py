"""Mean, median and a bootstrap interval over subjects.

Cases of one subject are not independent, so subjects are drawn, with all their cases. The interval is that of the mean:
bias-corrected and accelerated (BCa), Efron, JASA 82:171 (1987). One subject gives no interval (None). With few
subjects every bootstrap interval is too narrow; below `FEW_SUBJECTS` it should be read as a hint only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
REPEATS = 5000
FEW_SUBJECTS = 10
_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class Summary:
    """One measure over cases.

    Attributes
    ----------
    mean, median
        Over the cases that have a value; None when none has.
    low, high
        Interval of the mean; None with fewer than two subjects.
    n
        Number of cases that have a value.
    """

    mean: float | None
    median: float | None
    low: float | None
    high: float | None
    n: int

    def to_dict(self) -> dict[str, float | int | None]:
        """Return the JSON form."""
        return asdict(self)


def summarise(
    values: Sequence[float | None], subjects: Sequence[str] | None = None, *, seed: int = 0, level: float = LEVEL
) -> Summary:
    """Summarise the values of one measure; cases without a value (None or NaN) are left out.

    Parameters
    ----------
    values
        One value per case.
    subjects
        Subject of each case; by default each case is its own subject.
    seed
        Of the bootstrap; the same seed gives the same interval.
    level
        Share of repetitions in which the interval should hold the true mean.
    """
    owners = [str(i) for i in range(len(values))] if subjects is None else list(subjects)
    known = [(float(v), s) for v, s in zip(values, owners, strict=True) if v is not None and np.isfinite(v)]
    if not known:
        return Summary(None, None, None, None, 0)
    numbers = np.array([v for v, _ in known])
    low, high = bootstrap_interval(numbers, [s for _, s in known], seed=seed, level=level)
    return Summary(float(numbers.mean()), float(np.median(numbers)), low, high, len(known))


def bootstrap_interval(
    values: NDArray[np.float64], subjects: Sequence[str], *, seed: int = 0, level: float = LEVEL
) -> tuple[float | None, float | None]:
    """Return the BCa interval of the mean of `values`, subjects drawn with replacement.

    Parameters
    ----------
    values
        (n,) finite numbers.
    subjects
        Subject of each value.
    seed
        Of the numpy generator.
    level
        For instance 0.95.

    Returns
    -------
    low, high
        Both None with fewer than two subjects.
    """
    _, owner = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    sums, counts = np.bincount(owner, weights=values), np.bincount(owner)
    n = len(sums)
    if n < 2:
        return None, None
    mean = float(values.mean())
    left_out = (sums.sum() - sums) / (counts.sum() - counts)
    if acceleration(mean, left_out) is None:
        return mean, mean
    return bca_interval(mean, _resampled_means(sums, counts, seed), left_out, level)


def bca_interval(
    value: float, drawn: NDArray[np.float64], left_out: NDArray[np.float64], level: float = LEVEL
) -> tuple[float, float]:
    """Return the BCa interval of any statistic.

    Parameters
    ----------
    value
        Of the statistic on all subjects.
    drawn
        (draws,) its values on subjects drawn with replacement.
    left_out
        (n,) its values with one subject, or one of equal groups of subjects, left out.
    level
        For instance 0.95.

    Returns
    -------
    low, high
        Both `value` where leaving out changes nothing.
    """
    from scipy.special import ndtr, ndtri

    skew = acceleration(value, left_out)
    if skew is None:
        return value, value
    below = (np.count_nonzero(drawn < value) + 0.5 * np.count_nonzero(drawn == value)) / len(drawn)
    bias = float(ndtri(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn))))
    z = bias + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    low, high = np.quantile(drawn, ndtr(bias + z / (1 - skew * z)))
    return float(low), float(high)


def acceleration(value: float, left_out: NDArray[np.float64]) -> float | None:
    """Return BCa's acceleration from values with one subject left out; None where they do not differ."""
    deviation = left_out.mean() - left_out
    spread = float((deviation**2).sum())
    if spread <= 1e-24 * max(1.0, value * value):
        return None
    return float((deviation**3).sum() / (6.0 * spread**1.5))


def _resampled_means(sums: NDArray[Any], counts: NDArray[Any], seed: int) -> NDArray[np.float64]:
    """Means of `REPEATS` draws of as many subjects as there are; in blocks, to bound memory."""
    rng = np.random.default_rng(seed)
    n = len(sums)
    step = max(1, _BLOCK // n)
    means = np.empty(REPEATS)
    for start in range(0, REPEATS, step):
        drawn = rng.integers(n, size=(min(step, REPEATS - start), n))
        means[start : start + len(drawn)] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return means
