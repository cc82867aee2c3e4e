"""Risk against coverage: what error remains when the most uncertain are put aside.

Items (cases, or voxels) are taken from the most certain to the least. Their mean risk so far, over the share taken, is the
risk-coverage curve (Geifman and El-Yaniv, NeurIPS 2017). AURC is its mean over all coverages 1/n, 2/n … 1; the excess is
what it has above that of an oracle that orders by the risk itself (E-AURC; Geifman, Uziel and El-Yaniv, ICLR 2019). Items
of equal uncertainty count as if in random order: the expectation is taken, so that ties neither help nor harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from striate.core.errors import UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """One curve.

    Attributes
    ----------
    coverage, risk
        (G,) at the end of each group of equally uncertain items: share taken, and mean risk of what was taken.
    area
        AURC; smaller is better.
    oracle
        AURC of the best possible order.
    n
        Number of items.
    """

    coverage: Floats
    risk: Floats
    area: float
    oracle: float
    n: int

    @property
    def excess(self) -> float:
        """What `area` has above `oracle`; 0 is a perfect order."""
        return self.area - self.oracle

    @classmethod
    def of(cls, uncertainty: NDArray[Any], risk: NDArray[Any]) -> RiskCoverage:
        """Return the curve of items with an uncertainty (n,) and a risk (n,), such as 1 − Dice of cases.

        Raises
        ------
        UsageError
            When there is no item, the lengths differ, or a value is not finite.
        """
        given, lost = _checked(uncertainty, risk)
        ones = np.ones(len(lost))
        coverage, mean, area = _curve(given, lost, ones)
        return cls(coverage, mean, area, _curve(lost, lost, ones)[2], len(lost))

    @classmethod
    def of_counts(cls, uncertainty: NDArray[Any], wrong: NDArray[Any], counts: NDArray[Any]) -> RiskCoverage:
        """Return the curve of voxels: per group its uncertainty (G,), how many voxels are wrong, and how many there are.

        Raises
        ------
        UsageError
            When there is no voxel, the lengths differ, or more are wrong than there are.
        """
        given, errors = _checked(uncertainty, wrong)
        _, sizes = _checked(uncertainty, counts)
        if (errors < 0).any() or (errors > sizes).any() or sizes.sum() < 1:
            raise UsageError(
                "risk against coverage: wrong must lie between 0 and counts, and counts hold one at least."
            )
        coverage, mean, area = _curve(given, errors, sizes)
        right = float((sizes - errors).sum()), float(errors.sum())
        oracle = _curve(np.array([0.0, 1.0]), np.array([0.0, right[1]]), np.array(right))[2]
        return cls(coverage, mean, area, oracle, round(float(sizes.sum())))


def _checked(uncertainty: NDArray[Any], values: NDArray[Any]) -> tuple[Floats, Floats]:
    given, other = np.asarray(uncertainty, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or given.shape != other.shape or len(given) == 0:
        raise UsageError(
            f"risk against coverage: shapes {given.shape} and {other.shape}; two lists of equal length are needed."
        )
    if not (np.isfinite(given).all() and np.isfinite(other).all()):
        raise UsageError("risk against coverage: a value is not finite; leave such items out.")
    return given, other


def _curve(uncertainty: Floats, risk: Floats, counts: Floats) -> tuple[Floats, Floats, float]:
    """Return coverage, risk and area of groups with summed risks and counts, merged where equally uncertain.

    Within a group of w items of mean risk m, after W items of summed risk S, the expected mean after j more is (S + j·m) /
    (W + j); summed over j = 1 … w this is w·m + (S − m·W)·(ψ(W + w + 1) − ψ(W + 1)).
    """
    _, places = np.unique(uncertainty, return_inverse=True)
    w, r = np.bincount(places, weights=counts), np.bincount(places, weights=risk)
    w, r = w[w > 0], r[w > 0]
    total, lost = np.cumsum(w), np.cumsum(r)
    before, sum_before, mean = total - w, lost - r, r / w
    parts = r + (sum_before - mean * before) * (digamma(total + 1) - digamma(before + 1))
    return total / total[-1], lost / total, float(parts.sum() / total[-1])
