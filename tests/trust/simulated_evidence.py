"""Cases of a network that is over- or under-confident case by case, without any network or image.

A lesion is a ball of voxels whose logits fall from its middle outwards; the case's truth is drawn voxel by voxel with the logits
moved by a number that all voxels of the case share. So the pooled calibration is right and single cases are wrong together.
"""

import numpy as np
from scipy.special import expit

from striate.inference.observed import BINS, LOGITS, REACH
from striate.trust.evidence import CaseEvidence, LabelEvidence, LesionEvidence

SIGMOID = expit(LOGITS)
"""The table of a network that is calibrated as it is."""


def bins_of(logits):
    return np.clip(np.rint((np.asarray(logits) + REACH) * (BINS - 1) / (2 * REACH)), 0, BINS - 1).astype(int)


def simulated(rng, name, subject=None, label="lesion", spread=0.7, most=12, shift=0.0, middle=4.0):
    """Return one case: up to `most` lesions of logits around −1 … `middle`; `spread` and `shift` move the truth of a case."""
    moved = rng.normal(0, spread) + shift
    inside, outside = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    true_in, true_out = inside.copy(), outside.copy()
    outside[bins_of(-11)] = 20_000
    lesions, true_lesions = [], 0
    for _ in range(rng.integers(0, most + 1)):
        logits = rng.normal(rng.uniform(-1, middle), 1.5, rng.integers(20, 400))
        true = rng.random(len(logits)) < expit(logits + moved)
        mask = logits > 0
        np.add.at(inside, bins_of(logits[mask]), 1)
        np.add.at(outside, bins_of(logits[~mask]), 1)
        np.add.at(true_in, bins_of(logits[mask & true]), 1)
        np.add.at(true_out, bins_of(logits[~mask & true]), 1)
        true_lesions += bool(true.sum() > len(true) / 4)
        if mask.any():
            held = logits[mask]
            real = bool(true.sum() > len(true) / 4)
            lesions.append(LesionEvidence(0.001 * len(held), float(held.mean()), float(held.max()), real))
    lesions.sort(key=lambda lesion: -lesion.volume_ml)
    predicted, true, common = inside.sum(), true_in.sum() + true_out.sum(), true_in.sum()
    evidence = LabelEvidence(
        counts=np.stack([outside, inside]),
        true_counts=np.stack([true_out, true_in]),
        voxel_ml=0.001,
        predicted_ml=0.001 * int(predicted),
        predicted_lesions=len(lesions),
        true_ml=0.001 * int(true),
        true_lesions=true_lesions,
        dice=None if predicted + true == 0 else float(2 * common / (predicted + true)),
        lesions=tuple(lesions),
    )
    return CaseEvidence(name, subject or name, {label: evidence})
