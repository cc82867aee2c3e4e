"""From what was observed of a prediction to the calibrated probability of each label at each voxel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import UsageError, expected
from striate.inference.observed import LOGITS
from striate.inference.prediction import Prediction
from striate.trust.curve import sigmoid
from striate.trust.trust import Trust


def beliefs(prediction: Prediction, trust: Trust | None = None) -> dict[str, NDArray[np.float32]]:
    """Return `belief` of every label or region."""
    return {name: belief(prediction, name, trust) for name in prediction.targets.names}


def belief(prediction: Prediction, name: str, trust: Trust | None = None) -> NDArray[np.float32]:
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
    observed, targets = prediction.observed, prediction.targets
    if observed is None:
        here = f"prediction of case {prediction.case.name}"
        raise UsageError(expected(here, "nothing was observed", "predict_case(…, observe=True) is needed"))
    known = trust is not None and name in trust.calibration.labels
    table = trust.calibration.table(name) if known and trust is not None else sigmoid(LOGITS)
    bins = observed.certainty[name]
    if targets.exclusive:
        bins = np.where(targets.mask(prediction.label.array, name), bins, np.uint8(len(LOGITS) - 1) - bins)
    return np.asarray(table.astype(np.float32)[bins])
