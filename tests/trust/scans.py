"""Facts of phantoms for tests of the gate."""

import functools

import numpy as np

from striate.core.image import Image
from striate.data.prepare import Preparation, prepare_images
from striate.phantoms.subject import visits
from striate.trust.image_facts import image_facts

PREPARATION = Preparation(spacing_mm=(3.0, 3.0, 3.0), normalisation=("zscore",), intensities=(None,))


@functools.cache
def scan(subject, seed, artefacts, spacing_mm):
    return next(visits(seed, subject, spacing_mm=spacing_mm, artefacts=artefacts)).flair


def facts(subject, seed=0, artefacts="none", spacing_mm=(3.0, 3.0, 3.0), change=lambda array: array, rules="striate"):
    made = scan(subject, seed, artefacts, spacing_mm)
    image = Image(np.ascontiguousarray(change(made.array)), made.affine)
    preparation = PREPARATION.model_copy(update={"rules": rules})
    return image_facts(prepare_images([image], preparation, "P"), ["flair"])
