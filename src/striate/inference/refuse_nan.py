"""`refuse_nan`: a network that answers NaN says nothing; without a word its voxels would count as background."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import DataError, ModelError, expected
from striate.inference.engines import TITLES


def refuse_nan(
    answer: NDArray[Any], seen: NDArray[Any], case: str, model: Path | None = None, engine: str = "torch"
) -> None:
    """Refuse an answer in which one number is NaN.

    Parameters
    ----------
    answer
        Probabilities, logits or reconstructed intensities, of any shape.
    seen
        What the network was given; looked at where its answer is refused.
    case
        Name of the case.
    model
        Folder of the model, for the message.
    engine
        What computed the network.

    Raises
    ------
    DataError
        When what the network was given is not finite.
    ModelError
        When it is, so that the network, or the engine that computed it, is at fault.
    """
    if not np.isnan(np.min(answer, initial=np.inf)):  # where one number is NaN, so is the least
        return
    if not np.isfinite(seen).all():
        raise DataError(
            expected(f"case {case}", "its intensities become infinite or NaN when they are prepared",
                     "the network needs finite ones", "See striate check; bring them into a usual range and call again."),
            case=case,
        )  # fmt: skip
    where, by = "the network" if model is None else f"model {model}", TITLES.get(engine, engine)
    hint = "Call again with --engine torch." if engine in TITLES else "Train or import it again."
    raise ModelError(
        expected(where, f"its answer for case {case}, computed by {by}, holds NaN",
                 "numbers are needed, and without one a voxel would count as background", hint), path=model,
    )  # fmt: skip
