"""What a calibrated probability expects of the truth: volume, right and wrong voxels, Dice.

Each voxel truly belongs to the label with the calibrated probability p of its bin. By linearity, expectations of sums
of voxels are exact, however much voxels err together:

    E true volume = Σ p · voxel,  E TP = Σ_inside p,  E FP = Σ_inside (1 − p),  E FN = Σ_outside p.

Dice is a ratio, so its expectation is approximated by the ratio of expectations, 2 E TP / (2 E TP + E FP + E FN), as in
Li et al., "Estimating model performance under domain shifts with class-specific confidence scores", MICCAI 2022. The
error of this is of second order in the spread of the case's volumes; `striate.trust.review` corrects what remains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]
"""(BINS,) calibrated probability of each logit bin."""
Tables = Mapping[str, Table]
"""Label or region → its table."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Expected volumes of one label of one case, in mL.

    Attributes
    ----------
    true_positive_ml, false_positive_ml, false_negative_ml
        Rightly in the mask, wrongly in it, wrongly outside of it.
    halved_ml, doubled_ml
        Expected true volume if the odds p / (1 − p) of every voxel were half and twice what they are: how far it moves
        when the probabilities of one case are all too high or too low, as they are where a network errs.
    """

    true_positive_ml: float
    false_positive_ml: float
    false_negative_ml: float
    halved_ml: float
    doubled_ml: float

    @property
    def volume_ml(self) -> float:
        """Expected true volume."""
        return self.true_positive_ml + self.false_negative_ml

    @property
    def error_ml(self) -> float:
        """Expected volume of wrong voxels; the expected |true − predicted volume| is never more than this."""
        return self.false_positive_ml + self.false_negative_ml

    @property
    def dice(self) -> float | None:
        """Ratio of expectations; None for an empty mask, whose Dice is 0, or none where nothing was to be found."""
        common = 2 * self.true_positive_ml
        if self.true_positive_ml + self.false_positive_ml == 0:
            return None
        return common / (common + self.error_ml)


def expect(counts: NDArray[np.int64], table: Table, voxel_ml: float) -> Expected:
    """Return what is expected of one label of one case.

    Parameters
    ----------
    counts
        (2, BINS) voxels by the bin of their probability: outside of the mask, inside of it (see
        `striate.inference.observed.Observed`).
    table
        (BINS,) calibrated probability of each bin.
    voxel_ml
        Volume of one voxel.
    """
    p = np.asarray(table, dtype=np.float64)
    outside, inside = np.asarray(counts, dtype=np.float64) * voxel_ml
    both = outside + inside
    return Expected(
        true_positive_ml=float(inside @ p),
        false_positive_ml=float(inside @ (1 - p)),
        false_negative_ml=float(outside @ p),
        halved_ml=float(both @ (p / (2 - p))),
        doubled_ml=float(both @ (2 * p / (1 + p))),
    )


def tables_for(subject: str, tables: Tables, left_out: Mapping[str, Tables] | None = None) -> Tables:
    """Return the tables that never saw `subject`, where `left_out` has them; else `tables`.

    Parameters
    ----------
    subject
        Whose cases are to be judged.
    tables
        Fitted to everyone.
    left_out
        Subject → tables fitted without it.
    """
    return (left_out or {}).get(subject, tables)
