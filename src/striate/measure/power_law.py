"""How an error falls with the amount of data: error = a · n^(−b), or a · n^(−b) + c with four points or more.

Power laws of this kind describe learning curves over orders of magnitude (J. Hestness et al., arXiv 1712.00409, 2017);
c is the error that no amount of data removes.

The fit makes the sum of squares of log(error) smallest. Without c this is a line through log(n), log(error). With c it is,
for each c, a line through log(n), log(error − c), whose points weigh ((error − c) / error)², the change of log(error) with
log(error − c) to first order; c, 0 ≤ c < the smallest error, is found by search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from striate.core.counted import counted
from striate.core.errors import UsageError, expected
from striate.measure.statistics import LEVEL

POINTS_FOR_OFFSET = 4
SMALLEST = 1e-6
"""Errors of 0 are taken as this, because they have no logarithm."""
_GRID = np.concatenate(([0.0], np.linspace(0.01, 0.995, 120)))
"""Values of c / smallest error that are tried."""


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """error = a · n^(−b) + c.

    Attributes
    ----------
    a, b, c
        Of the formula; c is 0 where it was not fitted.
    explained
        Share of the variance of log(error) that the formula explains (R²); None where the errors are all the same.
    """

    a: float
    b: float
    c: float
    explained: float | None

    def at(self, n: float) -> float:
        """Return the error at `n`."""
        return float(self.a * n ** (-self.b) + self.c)

    def to_dict(self) -> dict[str, float | None]:
        """Return the JSON form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """An error that was not measured, by the power law, with its interval over bootstrap draws."""

    error: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Return the JSON form."""
        return asdict(self)


def fit_power_law(n: Sequence[float], errors: Sequence[float], *, offset: bool | None = None) -> PowerLaw:
    """Fit a power law.

    Parameters
    ----------
    n
        Amounts of data (or sizes of networks), above 0; at least two that differ.
    errors
        The error at each, at least 0.
    offset
        Whether c is fitted; by default with `POINTS_FOR_OFFSET` different amounts or more.

    Raises
    ------
    UsageError
        When lengths differ, fewer than two amounts differ, or a number is out of range.
    """
    x, y = _checked(n, np.asarray(errors, dtype=np.float64)[None])
    offset = len(set(n)) >= POINTS_FOR_OFFSET if offset is None else offset
    share = np.zeros(1)
    if offset:
        rough = _GRID[_misfit(x, y, _GRID).argmin(axis=1)][0]
        near = (max(0.0, rough - 0.02), min(1 - 1e-9, rough + 0.02))
        found = minimize_scalar(lambda s: _misfit(x, y, np.array([s]))[0, 0], bounds=near, method="bounded",
                                options={"xatol": 1e-12})  # fmt: skip
        share = np.array([min((rough, float(found.x)), key=lambda s: _misfit(x, y, np.array([s]))[0, 0])])
    log_a, b, c = (float(v[0]) for v in _lines(x, y, share * y.min(axis=1)))
    spread = float(((np.log(y) - np.log(y).mean()) ** 2).sum())
    left = float(((np.log(y) - np.log(np.exp(log_a) * np.exp(x * -b) + c)) ** 2).sum())
    return PowerLaw(float(np.exp(log_a)), b, c, 1 - left / spread if spread > 1e-12 else None)


def foresee(
    n: Sequence[float], errors: Sequence[float], drawn: NDArray[Any], wanted: float, *, level: float = LEVEL
) -> tuple[PowerLaw, Foreseen | None, tuple[float, float] | None]:
    """Fit a power law, and foresee the error at `wanted` with its uncertainty.

    Parameters
    ----------
    n, errors
        As for `fit_power_law`.
    drawn
        (draws, len(n)) errors of bootstrap draws; draws with NaN are left out.
    wanted
        The amount that is asked for.
    level
        Share of the draws within the interval.

    Returns
    -------
    law, foreseen, exponent
        `foreseen` and `exponent`, the interval of b, are None where fewer than half of the draws can be used.

    Raises
    ------
    UsageError
        As `fit_power_law`.
    """
    law = fit_power_law(n, errors)
    drawn = np.asarray(drawn, dtype=np.float64).reshape(-1, len(n))
    whole = drawn[np.isfinite(drawn).all(axis=1)]
    if len(whole) < max(1, len(drawn) / 2):
        return law, None, None
    x, y = _checked(n, whole)
    share = np.zeros(len(y))
    if len(set(n)) >= POINTS_FOR_OFFSET:
        share = _GRID[_misfit(x, y, _GRID).argmin(axis=1)]
    log_a, b, c = _lines(x, y, share * y.min(axis=1))
    outcomes = np.exp(log_a - b * np.log(wanted)) + c
    tails = ((1 - level) / 2, (1 + level) / 2)
    low, high = np.quantile(outcomes, tails)
    b_low, b_high = np.quantile(b, tails)
    return law, Foreseen(law.at(wanted), float(low), float(high)), (float(b_low), float(b_high))


def _checked(n: Sequence[float], errors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return log(n) and the errors (draws, points) with zeros lifted."""
    amounts = np.asarray(n, dtype=np.float64)
    if errors.shape[1:] != amounts.shape or len(set(amounts.tolist())) < 2:
        got = f"{counted(len(amounts), 'amount')} {sorted(set(amounts.tolist()))} and {counted(errors.shape[-1], 'error')}"
        raise UsageError(expected("power law", got, "an error for each of at least two different amounts is needed"))
    if not (np.isfinite(amounts).all() and amounts.min() > 0 and np.isfinite(errors).all() and errors.min() >= 0):
        got = f"amounts from {amounts.min():g}, errors from {errors.min():g}"
        raise UsageError(expected("power law", got, "finite amounts above 0 and errors of at least 0 are needed"))
    return np.log(amounts), np.maximum(errors, SMALLEST)


def _lines(
    x: NDArray[np.float64], y: NDArray[np.float64], c: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return log(a), b and c of each row: y (draws, points), c (draws,)."""
    above = y - c[:, None]
    logs, weights = np.log(above), (above / y) ** 2
    total = weights.sum(axis=1)
    mean_x, mean_y = (weights * x).sum(axis=1) / total, (weights * logs).sum(axis=1) / total
    dx = x[None] - mean_x[:, None]
    slope = (weights * dx * logs).sum(axis=1) / (weights * dx * dx).sum(axis=1)
    return mean_y - slope * mean_x, -slope, c


def _misfit(x: NDArray[np.float64], y: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of squares of log(error) for each row and each c = share · smallest error: (draws, shares)."""
    found = []
    for share in shares:
        log_a, b, c = _lines(x, y, share * y.min(axis=1))
        fitted = np.exp(log_a[:, None] - b[:, None] * x) + c[:, None]
        found.append(((np.log(fitted) - np.log(y)) ** 2).sum(axis=1))
    return np.stack(found, axis=1)
