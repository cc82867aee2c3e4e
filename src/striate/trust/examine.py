"""`examine`: one case from its files to its prediction and the evidence that trust rests on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from striate.core.case import Case
from striate.core.image import LabelMap
from striate.data.prepare import Prepared, prepare
from striate.inference.engines import Engine
from striate.inference.predict import predict_case
from striate.inference.prediction import Prediction
from striate.model.model import Model
from striate.trust.collect import collect
from striate.trust.evidence import CaseEvidence
from striate.trust.image_facts import image_facts


def examine(
    model: Model,
    case: Case,
    *,
    engine: Engine | None = None,
    truth: LabelMap | None = None,
    tta: bool = False,
    crf: bool = False,
    exact: bool = False,
    save_probabilities: Path | None = None,
    prepared: Prepared | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Prediction, CaseEvidence]:
    """Predict a case and collect the evidence; the images are read and prepared once, or not at all.

    Parameters
    ----------
    truth
        True label map on the grid of the files, where it is known.
    prepared
        The case as the network sees it, where it is prepared already.
    exact
        Predict as nnU-Net does (`striate.inference.exact`); the evidence is then of the images alone.
    model, case, engine, tta, crf, save_probabilities, tell
        See `striate.inference.predict.predict_case`.

    Raises
    ------
    DataError
        When the files cannot be read, do not fit together, or the truth lies on another grid.
    ModelError
        When their number of channels is not the model's.
    """
    start = time.monotonic()
    ready = prepare(case, model.plan.preparation) if prepared is None else prepared
    preparing = time.monotonic()
    facts = image_facts(ready, model.plan.task.channels)
    measured = time.monotonic()
    if exact:
        from striate.inference.exact import predict_exact

        prediction = predict_exact(model, case, prepared=ready, tell=tell)
        seconds = {**prediction.facts["seconds"], "prepare": round(measured - start, 3)}
        seen = CaseEvidence(case.name, case.subject, {}, np.zeros(0, np.float32), facts)
        return replace(prediction, facts={**prediction.facts, "seconds": seconds}), seen
    prediction = predict_case(
        model, case, network=engine, tta=tta, crf=crf, save_probabilities=save_probabilities, tell=tell,
        prepared=ready, observe=True, truth=truth,
    )  # fmt: skip
    collecting = time.monotonic()
    evidence = collect(prediction, truth, facts=facts)
    spent: dict[str, Any] = {
        **prediction.facts["seconds"],
        "prepare": round(preparing - start, 3),
        "judge": round(measured - preparing + time.monotonic() - collecting, 3),
    }
    return replace(prediction, facts={**prediction.facts, "seconds": spent}), evidence
