"""From what was observed of a prediction to the calibrated probability of each label at each voxel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from striate.inference.observed import LOGITS
from striate.inference.prediction import Prediction
from striate.trust.collect import observed_of
from striate.trust.curve import sigmoid
from striate.trust.trust import Trust


def beliefs(prediction: Prediction, trust: Trust | None) -> dict[str, NDArray[np.float32]]:
    """Return `belief` of every label or region."""
    return {name: belief(prediction, name, trust) for name in prediction.targets.names}


def belief(prediction: Prediction, name: str, trust: Trust | None) -> NDArray[np.float32]:
    """Return the probability (*spatial) float32 of a label or region on the grid of the files.

    Of exclusive labels only the probability of the class that was written is kept (`Observed.certainty`), so where another
    class was written a label has at most what is left; with one label that is exactly its probability.

    Parameters
    ----------
    prediction
        Made with ``observe=True``.
    name
        Of the label or region.
    trust
        Whose calibration is used, fitted to masks made in the same way; probabilities are raw without it, and of a label that it
        does not know.

    Raises
    ------
    UsageError
        When the prediction was not observed.
    """
    targets, bins = prediction.targets, observed_of(prediction).certainty[name]
    if trust is None or name not in trust.calibration.labels:
        table = sigmoid(LOGITS)
    else:
        table = trust.calibration.table(name)
    if targets.exclusive:
        bins = np.where(targets.mask(prediction.label.array, name), bins, np.uint8(len(LOGITS) - 1) - bins)
    return np.asarray(table.astype(np.float32)[bins])
