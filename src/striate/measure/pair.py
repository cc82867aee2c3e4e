"""A predicted and a true mask side by side, and the table of measures on them.

What several measures need (surface distances, matched lesions) is computed once. A measure is added by one function and
one line in `MEASURES`; its name carries its unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from striate.measure.box import union_box
from striate.measure.lesions import LesionMatch, LesionOverlap, LesionRule
from striate.measure.overlap import dice, iou, same_shape
from striate.measure.surface import Distances, assd_mm, hd95_mm, surface_distances_mm
from striate.measure.volume import volume_error_ml


class Pair:
    """Two masks of one grid, cut to the box that holds both.

    Parameters
    ----------
    predicted, truth
        Masks (I, J, K) or (I, J) of one shape; every non-zero element belongs to the mask.
    spacing_mm
        Voxel size in mm along each axis.
    voxel_volume_ml
        Volume of one voxel in mL.
    rule
        When lesions count and match.

    Raises
    ------
    GeometryError
        When the shapes differ.
    """

    def __init__(
        self,
        predicted: NDArray[Any],
        truth: NDArray[Any],
        spacing_mm: Sequence[float],
        voxel_volume_ml: float,
        rule: LesionRule | None = None,
    ) -> None:
        same_shape(predicted, truth)
        box = union_box(predicted, truth) or tuple(slice(0, 1) for _ in predicted.shape)
        self.predicted = predicted[box].astype(bool, copy=False)
        self.truth = truth[box].astype(bool, copy=False)
        self.spacing_mm = tuple(spacing_mm)
        self.voxel_volume_ml = voxel_volume_ml
        self.rule = rule or LesionRule()

    @cached_property
    def distances_mm(self) -> tuple[Distances, Distances] | None:
        """Surface distances in mm of both directions; None when a mask is empty."""
        return surface_distances_mm(self.predicted, self.truth, self.spacing_mm)

    @cached_property
    def overlap(self) -> LesionOverlap:
        """Which predicted lesions lie on which true ones."""
        return LesionOverlap.of(self.predicted, self.truth, self.voxel_volume_ml, self.rule)

    @cached_property
    def lesions(self) -> LesionMatch:
        """Matched lesions."""
        return self.overlap.match()


Measure = Callable[[Pair], float | None]

MEASURES: dict[str, Measure] = {
    "dice": lambda pair: dice(pair.predicted, pair.truth),
    "iou": lambda pair: iou(pair.predicted, pair.truth),
    "hd95_mm": lambda pair: hd95_mm(*pair.distances_mm) if pair.distances_mm else None,
    "assd_mm": lambda pair: assd_mm(*pair.distances_mm) if pair.distances_mm else None,
    "volume_error_ml": lambda pair: volume_error_ml(pair.predicted, pair.truth, pair.voxel_volume_ml),
    "lesion_f1": lambda pair: pair.lesions.f1,
    "lesion_precision": lambda pair: pair.lesions.precision,
    "lesion_recall": lambda pair: pair.lesions.recall,
}
