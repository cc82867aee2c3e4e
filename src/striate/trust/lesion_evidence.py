"""What was observed of each predicted lesion: one row per lesion, in the order of the findings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import GeometryError, expected
from striate.core.image import Grid, LabelMap
from striate.core.targets import Targets
from striate.inference.observed import LOGITS
from striate.measure.box import bounding_box
from striate.measure.components import components, in_order
from striate.trust.evidence import LesionEvidence


def lesion_evidence(
    label: LabelMap, targets: Targets, certainty: Mapping[str, NDArray[np.uint8]], truth: LabelMap | None = None
) -> dict[str, tuple[LesionEvidence, ...]]:
    """Return label or region → its predicted lesions, in the order of `striate.measure.finding.LabelFindings`.

    A lesion is real when at least one voxel of it is truly the label: the rule of `striate.measure.lesions`.

    Parameters
    ----------
    label
        Predicted label map (I, J, K) or (I, J).
    targets
        Which values make which label or region.
    certainty
        Label or region → bin (uint8) of the probability at each voxel, on the same grid.
    truth
        True label map on the same grid, where it is known.

    Raises
    ------
    GeometryError
        When the truth lies on another grid.
    """
    if truth is not None:
        same_grid(label, truth)
    true = {} if truth is None else {name: targets.mask(truth.array, name) for name in targets.names}
    voxel_ml = label.grid.voxel_volume_ml
    return {
        name: lesions_of(targets.mask(label.array, name), certainty[name], voxel_ml, true.get(name))
        for name in targets.names
    }


def same_grid(label: LabelMap, truth: LabelMap) -> None:
    """Refuse a truth that does not lie on the grid of the prediction.

    Raises
    ------
    GeometryError
        When shape or place differ.
    """
    if not truth.grid.matches(label.grid):
        raise GeometryError(
            expected("true label map", _told(truth.grid), f"the grid of the prediction is needed ({_told(label.grid)})")
        )


def _told(grid: Grid) -> str:
    return f"shape {grid.shape}, axes {grid.axes}, {'×'.join(f'{s:.3g}' for s in grid.spacing_mm)} mm"


def lesions_of(
    mask: NDArray[np.bool_], bins: NDArray[np.uint8], voxel_ml: float, truth: NDArray[np.bool_] | None = None
) -> tuple[LesionEvidence, ...]:
    """Return the lesions of one mask; the same as `lesion_evidence`, with voxels of `voxel_ml` mL."""
    box = bounding_box(mask)
    if box is None:
        return ()
    numbers, count = components(mask[box])
    inside = numbers > 0
    owner, logits = numbers[inside], LOGITS[bins[box][inside]]
    voxels = np.bincount(owner, minlength=count + 1)[1:]
    means = np.bincount(owner, weights=logits, minlength=count + 1)[1:] / voxels
    tops = np.full(count + 1, -np.inf)
    np.maximum.at(tops, owner, logits)
    real = None
    if truth is not None:
        true = truth[box][inside]
        real = np.bincount(owner[true], minlength=count + 1)[1:] > 0
    return tuple(
        LesionEvidence(
            volume_ml=int(voxels[i]) * voxel_ml,
            mean_logit=float(means[i]),
            top_logit=float(tops[i + 1]),
            real=None if real is None else bool(real[i]),
        )
        for i in in_order(numbers, voxels)
    )
