"""`CaseEvidence`: what one case with known truth says of a model; everything in `trust` is fitted to a list of these.

Cases of one subject are not independent: whoever fits, leaves out or counts does so by `CaseEvidence.subject`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LesionEvidence:
    """One predicted lesion, before any calibration.

    Attributes
    ----------
    volume_ml
        Its volume.
    mean_logit, top_logit
        Mean and largest logit of the probability of its label over its voxels.
    real
        Whether at least one voxel of it is truly the label; None where the truth is not known.
    """

    volume_ml: float
    mean_logit: float
    top_logit: float
    real: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LabelEvidence:
    """One label or region of one case.

    Attributes
    ----------
    counts, true_counts
        (2, BINS) int64; see `striate.inference.observed.Observed`. `true_counts` is all 0 where there is no truth.
    voxel_ml
        Volume of one of the counted voxels.
    predicted_ml, predicted_lesions
        Volume and number of lesions of the mask.
    true_ml, true_lesions
        The same of the truth; None where it is not known.
    dice
        Against the truth; None where it is not known, or both masks are empty.
    lesions
        The predicted lesions in the order of the findings: largest first.
    """

    counts: NDArray[np.int64]
    true_counts: NDArray[np.int64]
    voxel_ml: float
    predicted_ml: float
    predicted_lesions: int
    true_ml: float | None = None
    true_lesions: int | None = None
    dice: float | None = None
    lesions: tuple[LesionEvidence, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class CaseEvidence:
    """One case.

    Attributes
    ----------
    case, subject
        Their names.
    labels
        Label or region → its evidence.
    features
        See `Observed.features`.
    facts
        Channel → measure → value of the input images, as the input gate measures them (`striate.trust.gate`).
    """

    case: str
    subject: str
    labels: Mapping[str, LabelEvidence]
    features: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
