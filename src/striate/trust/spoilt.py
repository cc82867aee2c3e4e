"""`spoilt`: what a model makes of a held-out scan that an artefact has spoilt.

Held-out scans are mostly good ones, of which few masks fail: what failure looks like is learned from copies that were
spoilt on purpose. One artefact of `striate.phantoms.corruptions` each, of a strength drawn evenly between 0 and 1.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from striate.core.case import Case
from striate.core.image import LabelMap
from striate.data.prepare import prepare_images
from striate.inference.engines import Engine
from striate.io.read import read_channels
from striate.model.model import Model
from striate.phantoms.corruptions import CORRUPTIONS, corrupted
from striate.trust.evidence import CaseEvidence
from striate.trust.examine import examine

SEED = 2605


def spoilt(
    model: Model, case: Case, truth: LabelMap, number: int, *, engine: Engine, tta: bool = False, crf: bool = False
) -> CaseEvidence:
    """Return the evidence of a spoilt copy of a case; its name says what was done to it.

    Parameters
    ----------
    model
        Of one stage.
    number
        Of the case; decides the artefact, its strength, and what it draws.
    case, truth, engine, tta, crf
        See `striate.trust.examine.examine`.

    Raises
    ------
    DataError
        When the files cannot be read or do not fit together.
    """
    rng = np.random.default_rng((SEED, number))
    artefact, strength = str(rng.choice(list(CORRUPTIONS))), max(0.01, round(float(rng.uniform()), 2))
    images = [corrupted(image, artefact, strength, number, k) for k, image in enumerate(read_channels(case).values())]
    ready = prepare_images(images, model.plan.preparation, case.name)
    _, evidence = examine(model, case, engine=engine, truth=truth, prepared=ready, tta=tta, crf=crf)
    return replace(evidence, case=f"{case.name}, {artefact.replace('_', ' ')} {strength:.2f}")
