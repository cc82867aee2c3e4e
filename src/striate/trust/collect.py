"""From a prediction that was observed to the evidence of its case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from striate.core.errors import UsageError, expected
from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.inference.observed import BINS, Observed
from striate.inference.prediction import Prediction
from striate.measure.box import bounding_box
from striate.measure.components import components
from striate.measure.overlap import dice
from striate.measure.volume import volume_ml
from striate.trust.evidence import CaseEvidence, LabelEvidence, LesionEvidence
from striate.trust.lesion_evidence import lesion_evidence


def collect(
    prediction: Prediction,
    truth: LabelMap | None = None,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
) -> CaseEvidence:
    """Return the evidence of one case.

    Parameters
    ----------
    prediction
        Made with ``observe=True``, and with the truth where there is one.
    truth
        True label map on the grid of the prediction.
    facts
        What the input gate measured of the images.

    Raises
    ------
    UsageError
        When the prediction was not observed.
    GeometryError
        When the truth lies on another grid.
    """
    observed, label, targets = observed_of(prediction), prediction.label, prediction.targets
    lesions = lesion_evidence(label, targets, observed.certainty, truth)
    labels = {name: _label(label, truth, targets, name, observed, lesions[name]) for name in targets.names}
    return CaseEvidence(prediction.case.name, prediction.case.subject, labels, observed.features, dict(facts or {}))


def observed_of(prediction: Prediction) -> Observed:
    """Return what was observed of a prediction.

    Raises
    ------
    UsageError
        When nothing was.
    """
    if prediction.observed is None:
        here = f"prediction of case {prediction.case.name}"
        raise UsageError(expected(here, "nothing was observed", "predict_case(…, observe=True) is needed"))
    return prediction.observed


def _label(
    label: LabelMap,
    truth: LabelMap | None,
    targets: Targets,
    name: str,
    observed: Observed,
    lesions: tuple[LesionEvidence, ...],
) -> LabelEvidence:
    mask = targets.mask(label.array, name)
    true_counts = observed.true_counts.get(name)
    found = LabelEvidence(
        counts=observed.counts[name],
        true_counts=np.zeros((2, BINS), np.int64) if true_counts is None else true_counts,
        voxel_ml=label.grid.voxel_volume_ml,
        predicted_ml=volume_ml(int(np.count_nonzero(mask)), label.grid),
        predicted_lesions=len(lesions),
        lesions=lesions,
    )
    if truth is None:
        return found
    true = targets.mask(truth.array, name)
    box = bounding_box(true)
    return replace(
        found,
        true_ml=volume_ml(int(np.count_nonzero(true)), truth.grid),
        true_lesions=0 if box is None else components(true[box])[1],
        dice=None if box is None and not lesions else dice(mask, true),
    )
