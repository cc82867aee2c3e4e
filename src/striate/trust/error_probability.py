"""Uncertainty of each voxel: the probability that what was written there is wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from striate.inference.prediction import Prediction
from striate.trust.belief import belief
from striate.trust.trust import Trust


def error_probability(prediction: Prediction, trust: Trust | None) -> NDArray[np.float32]:
    """Return the probability that a voxel's label is wrong, on the grid of the files.

    Of a voxel inside a label or region: 1 − its calibrated probability. Outside of it: its calibrated probability; of
    exclusive labels only the share of all labels together is known there, which is taken for each and so is an upper bound.
    The largest of all labels is returned.

    Parameters
    ----------
    prediction
        Made with ``observe=True``.
    trust
        Of the model, fitted to masks made in the same way; without it the probabilities are the network's own, uncalibrated.

    Raises
    ------
    UsageError
        When the prediction was not observed.
    """
    targets, label = prediction.targets, prediction.label.array
    wrong = np.zeros(label.shape, dtype=np.float32)
    background = label == 0
    for name in targets.names:
        said, inside = belief(prediction, name, trust), targets.mask(label, name)
        np.copyto(wrong, np.maximum(wrong, 1 - said), where=inside)
        np.copyto(wrong, np.maximum(wrong, said), where=background if targets.exclusive else ~inside)
    return wrong
