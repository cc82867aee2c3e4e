"""`examine`: one case from its files to its prediction and the evidence that trust rests on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from striate.core.case import Case
from striate.core.image import LabelMap
from striate.data.prepare import Prepared
from striate.inference.cascade import prepare_stage
from striate.inference.engines import Engine
from striate.inference.predict import predict_case, timed
from striate.inference.prediction import Prediction
from striate.inference.probabilities import ProbabilityWriter
from striate.model.model import Model
from striate.trust.collect import collect
from striate.trust.evidence import CaseEvidence


def examine(
    model: Model,
    case: Case,
    *,
    engine: Engine | None = None,
    first: Engine | None = None,
    truth: LabelMap | None = None,
    tta: bool = False,
    crf: bool = False,
    prepared: Prepared | None = None,
) -> tuple[Prediction, CaseEvidence]:
    """Predict a case and collect the evidence; the images are read and prepared once, or not at all.

    Parameters
    ----------
    first
        Engine of a cascade's first stage (`striate.inference.cascade`).
    truth
        True label map on the grid of the files, where it is known.
    prepared
        The case as the network sees it, where it is prepared already.
    model, case, engine, tta, crf
        See `striate.inference.predict.predict_case`.

    Raises
    ------
    DataError
        When the files cannot be read, do not fit together, or the truth lies on another grid.
    ModelError
        When their number of channels is not the model's.
    """
    from striate.trust.image_facts import image_facts  # slow to import

    spent: dict[str, float] = {}
    with timed(spent, "prepare"):
        ready = prepared
        if ready is None:
            ready = prepare_stage(model, case, first=first, mirror=tta)
    with timed(spent, "facts"):
        facts = image_facts(ready, model.plan.task.channels)
    prediction = answer(model, case, ready, engine=engine, truth=truth, tta=tta, crf=crf)
    with timed(spent, "judge"):
        evidence = weigh(prediction, facts, truth)
    return replace(
        prediction, facts={**prediction.facts, "seconds": {**prediction.facts["seconds"], **spent}}
    ), evidence


def answer(
    model: Model,
    case: Case,
    prepared: Prepared,
    *,
    engine: Engine | None = None,
    truth: LabelMap | None = None,
    tta: bool = False,
    crf: bool = False,
    exact: bool = False,
    maps: ProbabilityWriter | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Prediction:
    """Predict a prepared case, observed so that it can be weighed; parameters as of `examine` and `predict_case`.

    `maps` gets the probabilities; whoever made it lets it write them. With `exact`, as nnU-Net predicts
    (`striate.inference.exact`), nothing is observed or given to `maps`.
    """
    if exact:
        from striate.inference.exact import predict_exact

        return predict_exact(model, case, prepared=prepared, tell=tell)
    return predict_case(
        model,
        case,
        network=engine,
        tta=tta,
        crf=crf,
        maps=maps,
        tell=tell,
        prepared=prepared,
        observe=True,
        truth=truth,
    )


def weigh(
    prediction: Prediction, facts: Mapping[str, Mapping[str, Any]], truth: LabelMap | None = None
) -> CaseEvidence:
    """Return the evidence of an answer and of the `facts` of its image; of these alone where nothing was observed."""
    if prediction.observed is None:
        case = prediction.case
        return CaseEvidence(case.name, case.subject, {}, np.zeros(0, np.float32), facts)
    return collect(prediction, truth, facts=facts)
