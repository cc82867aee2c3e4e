"""Subjects with classes: what a classifier says of them, with a known distortion of what is true."""

from __future__ import annotations

import numpy as np

from striate.trust.class_evidence import ClassEvidence


def softmax(scores):
    grown = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return grown / grown.sum(axis=-1, keepdims=True)


def classified(
    subjects, classes=3, *, sharpness=1.0, spread=2.0, prior=0.0, seed=0, samples=1, slices=False
) -> list[ClassEvidence]:
    """Return one case for each subject; the truth is drawn from the softmax of z, sharpness · (z − prior) is said."""
    rng, cases = np.random.default_rng(seed), []
    for n in range(subjects):
        z = rng.normal(0, spread, (samples, classes)) + prior
        truth = np.array([rng.choice(classes, p=row) for row in softmax(z)])
        said = softmax(sharpness * (z - prior))
        places = tuple(range(samples)) if slices else (None,) * samples
        cases.append(ClassEvidence(f"c{n}", f"s{n:05d}", said, np.eye(classes, dtype=bool)[truth], places))
    return cases
