"""Lesion-wise precision, recall and F1: how many lesions were found, however large they are.

Rule, that of the WMH challenge (Kuijf et al., IEEE TMI 38:2556, 2019, and its evaluation.py): a lesion is a connected
component (26 neighbours; 8 in 2D); a true lesion is found when at least one predicted voxel lies in it; a predicted
lesion is right when at least one true voxel lies in it. The rule is lenient: one large blob finds every lesion that it
touches, so read it beside Dice.

* recall = found true lesions / true lesions; None when there is no true lesion.
* precision = right predicted lesions / predicted lesions; None when nothing is predicted.
* F1 = 2 · precision · recall / (precision + recall); 0 where only one mask is empty, 1 where both are.

`minimal_overlap` makes it stricter: this share of a lesion's voxels must be covered by the other mask (0.1 is the
coverage α of MSSEG, the first of its three conditions: Commowick et al., Scientific Reports 8:13650, 2018).
`minimal_lesion_ml`: smaller lesions of either mask are not counted, but their voxels still count as cover, so that
touching a small true lesion is never called false.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import UsageError
from striate.measure.box import union_box
from striate.measure.components import components
from striate.measure.overlap import same_shape


@dataclass(frozen=True, slots=True)
class LesionRule:
    """When lesions count, and when they count as found.

    Attributes
    ----------
    minimal_overlap
        Share of a lesion's voxels, 0 … 1, that the other mask must cover; 0 means at least one voxel.
    minimal_lesion_ml
        Lesions smaller than this many mL are not counted.

    Raises
    ------
    UsageError
        When a value lies outside its range.
    """

    minimal_overlap: float = 0.0
    minimal_lesion_ml: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.minimal_overlap <= 1:
            raise UsageError(
                f"minimal overlap {self.minimal_overlap}: a share between 0 and 1 is needed, for instance 0.1."
            )
        if not 0 <= self.minimal_lesion_ml < float("inf"):
            raise UsageError(
                f"minimal lesion volume {self.minimal_lesion_ml} mL: 0 or more is needed, for instance 0.003."
            )


@dataclass(frozen=True, slots=True)
class LesionMatch:
    """How many lesions were counted and matched.

    Attributes
    ----------
    predicted, truth
        Numbers of lesions that count.
    right
        Predicted lesions that lie on a true one.
    found
        True lesions that were found.
    """

    predicted: int
    truth: int
    right: int
    found: int

    @property
    def precision(self) -> float | None:
        """Right predicted lesions / predicted lesions; None when nothing is predicted."""
        return self.right / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """Found true lesions / true lesions; None when there is none."""
        return self.found / self.truth if self.truth else None

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 when there is no lesion on either side, 0 when only on one."""
        if not self.predicted and not self.truth:
            return 1.0
        precision, recall = self.precision or 0.0, self.recall or 0.0
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def match_lesions(
    predicted: NDArray[Any], truth: NDArray[Any], voxel_volume_ml: float, rule: LesionRule | None = None
) -> LesionMatch:
    """Match the lesions of two masks.

    Parameters
    ----------
    predicted, truth
        Masks (I, J, K) or (I, J) of one shape.
    voxel_volume_ml
        Volume of one voxel in mL.
    rule
        When lesions count and match; by default every lesion, and one common voxel.

    Raises
    ------
    GeometryError
        When the shapes differ.
    """
    same_shape(predicted, truth)
    box = union_box(predicted, truth)
    if box is None:
        return LesionMatch(0, 0, 0, 0)
    rule = rule or LesionRule()
    first, second = predicted[box], truth[box]
    lesions, right = _covered(first, second, voxel_volume_ml, rule)
    true_lesions, found = _covered(second, first, voxel_volume_ml, rule)
    return LesionMatch(predicted=lesions, truth=true_lesions, right=right, found=found)


def _covered(mask: NDArray[Any], cover: NDArray[Any], voxel_volume_ml: float, rule: LesionRule) -> tuple[int, int]:
    """Number of lesions of `mask` that count, and how many of them `cover` covers enough."""
    numbers, count = components(mask)
    voxels = np.bincount(numbers[mask != 0], minlength=count + 1)[1:]
    common = np.bincount(numbers[(mask != 0) & (cover != 0)], minlength=count + 1)[1:]
    counts = voxels * voxel_volume_ml >= rule.minimal_lesion_ml * (1 - 1e-9)
    enough = (common >= 1) & (common >= rule.minimal_overlap * voxels * (1 - 1e-9))
    return int(np.count_nonzero(counts)), int(np.count_nonzero(counts & enough))
