"""Candidates of one case with known truth: what may be a lesion, the faint included, and which true lesions each hits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.inference.observed import LOGITS
from striate.measure.candidates import level_of, with_hills
from striate.measure.lesions import LesionOverlap, LesionRule
from striate.trust.curve import sigmoid
from striate.trust.evidence import LesionEvidence
from striate.trust.lesion_evidence import lesions_of, same_grid

_LEVELS = level_of(sigmoid(LOGITS))


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Candidates of one label of one case (`striate.measure.candidates`).

    Attributes
    ----------
    overlap
        Them over the true lesions.
    lesions
        What was observed of each, in the order of `overlap`.
    """

    overlap: LesionOverlap
    lesions: tuple[LesionEvidence, ...]

    @property
    def largest(self) -> list[float]:
        """The largest probability of a voxel of each."""
        return [float(sigmoid(np.array(lesion.top_logit))) for lesion in self.lesions]


def candidates_of(
    label: LabelMap,
    truth: LabelMap,
    targets: Targets,
    shares: Mapping[str, NDArray[np.uint8]],
    rule: LesionRule | None = None,
) -> dict[str, Candidates]:
    """Return label or region → its candidates.

    Probabilities are those of the network: calibration keeps their order, and with it all peaks.

    Parameters
    ----------
    label, truth
        Predicted and true label map (I, J, K) or (I, J) on one grid.
    targets
        Which values make which label or region.
    shares
        Label or region → bin (uint8) of its probability at each voxel, on the same grid (`Observed.shares`).
    rule
        When lesions count and match.

    Raises
    ------
    GeometryError
        When the truth lies on another grid.
    """
    same_grid(label, truth)
    voxel_ml, found = label.grid.voxel_volume_ml, dict[str, Candidates]()
    for name in targets.names:
        true, bins = targets.mask(truth.array, name), shares[name]
        mask = with_hills(targets.mask(label.array, name), _LEVELS[bins])
        overlap = LesionOverlap.of(mask, true, voxel_ml, rule)
        found[name] = Candidates(overlap, lesions_of(mask, bins, voxel_ml, true))
    return found
