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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import UsageError
from striate.measure.box import union_box
from striate.measure.components import components, in_order
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


@dataclass(frozen=True, slots=True, eq=False)
class LesionOverlap:
    """Which predicted lesions lie on which true ones.

    Attributes
    ----------
    predicted_voxels, true_voxels
        (P,) and (T,) voxels of each lesion, in the order of `striate.measure.finding.LabelFindings`.
    pairs
        (N, 2): a predicted and a true lesion that share voxels, counted from 0.
    common
        (N,) voxels that they share.
    voxel_volume_ml
        Volume of one voxel in mL.
    rule
        When lesions count and match.
    """

    predicted_voxels: NDArray[np.intp]
    true_voxels: NDArray[np.intp]
    pairs: NDArray[np.intp]
    common: NDArray[np.intp]
    voxel_volume_ml: float
    rule: LesionRule

    @classmethod
    def of(
        cls, predicted: NDArray[Any], truth: NDArray[Any], voxel_volume_ml: float, rule: LesionRule | None = None
    ) -> LesionOverlap:
        """Lay two masks over each other.

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
        rule, box = rule or LesionRule(), union_box(predicted, truth)
        if box is None:
            none = np.zeros(0, dtype=np.intp)
            return cls(none, none, none.reshape(0, 2), none, voxel_volume_ml, rule)
        ours, predicted_voxels = _ordered(predicted[box])
        theirs, true_voxels = _ordered(truth[box])
        both = (ours > 0) & (theirs > 0)
        key = (ours[both] - 1).astype(np.intp) * len(true_voxels) + (theirs[both] - 1)
        keys, common = np.unique(key, return_counts=True)
        pairs = np.stack(np.divmod(keys, max(1, len(true_voxels))), axis=1)
        return cls(predicted_voxels, true_voxels, pairs, common, voxel_volume_ml, rule)

    def match(self) -> LesionMatch:
        """Return how many lesions count and match."""
        predicted, right = self._counted(0)
        truth, found = self._counted(1)
        return LesionMatch(
            predicted=int(predicted.sum()),
            truth=int(truth.sum()),
            right=int((predicted & right).sum()),
            found=int((truth & found).sum()),
        )

    def detected(
        self, scores: Sequence[float] | NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return at which score each true lesion is found, and the score of each false alarm.

        Masks of falling thresholds are looked at, each made of the predicted lesions of at least that score.

        Parameters
        ----------
        scores
            (P,) finite, higher for a lesion.

        Returns
        -------
        found
            One for each true lesion that counts: the highest score at which it is found; NaN where it never is.
        false
            One for each predicted lesion that counts and is not right.
        """
        values = np.asarray(scores, dtype=np.float64)
        predicted, right = self._counted(0)
        truth, _ = self._counted(1)
        order = np.lexsort((-values[self.pairs[:, 0]], self.pairs[:, 1]))
        lesion, covered = self.pairs[order, 1], np.cumsum(self.common[order])
        before = np.concatenate([[0], covered])[np.searchsorted(lesion, lesion)]
        enough = np.flatnonzero(_enough(covered - before, self.true_voxels[lesion], self.rule))
        names, first = np.unique(lesion[enough], return_index=True)
        found = np.full(len(truth), np.nan)
        found[names] = values[self.pairs[order[enough[first]], 0]]
        return found[truth], values[predicted & ~right]

    def _counted(self, side: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether each lesion of a side (0: predicted, 1: true) counts, and whether the other mask covers enough of it."""
        voxels = self.true_voxels if side else self.predicted_voxels
        covered = np.bincount(self.pairs[:, side], weights=self.common, minlength=len(voxels))
        counts = voxels * self.voxel_volume_ml >= self.rule.minimal_lesion_ml * (1 - 1e-9)
        return counts, _enough(covered, voxels, self.rule)


def _ordered(mask: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Number the lesions of a mask from 1 in the order of findings; return the numbers and the voxels of each."""
    numbers, count = components(mask)
    voxels = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    order = in_order(numbers, voxels)
    renumbered = np.zeros(count + 1, dtype=np.int32)
    renumbered[1 + np.array(order, dtype=np.intp)] = np.arange(1, count + 1)
    return renumbered[numbers], voxels[order]


def _enough(covered: NDArray[Any], voxels: NDArray[np.intp], rule: LesionRule) -> NDArray[np.bool_]:
    return np.asarray((covered >= 1) & (covered >= rule.minimal_overlap * voxels * (1 - 1e-9)))
