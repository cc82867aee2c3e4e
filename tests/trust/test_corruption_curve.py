"""Dice against artefacts: breaks where it is computed to break, warns when the gate does, says on whom it rests."""

import attacked
import numpy as np
import pytest
import torch

from striate.core.errors import DataError, UsageError
from striate.measure.statistics import Summary
from striate.trust.corruption_curve import (
    ArtefactCurve,
    CorruptionCurve,
    Point,
    breaking,
    calibration_error,
    corruption_curve,
)
from striate.trust.examine import examine
from striate.trust.trust import Trust


class Threshold(torch.nn.Module):
    """Calls lesion what is brighter than a fixed value of the z-scored image."""

    def __init__(self):
        super().__init__()
        self.steep = torch.nn.Parameter(torch.tensor(6.0))

    def forward(self, x):
        return torch.cat([torch.zeros_like(x), self.steep * (x - 1.2)], dim=1)


@pytest.fixture(scope="module")
def model(tiny_plan):
    return attacked.model(attacked.flat_plan(tiny_plan), Threshold().eval())


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return attacked.cases(tmp_path_factory.mktemp("heads"), 6)


@pytest.fixture(scope="module")
def trust(model, cases):
    evidence = [examine(model, case, truth=attacked.truth(case))[1] for case in cases[:5]]
    return Trust.fit(evidence, evidence)


def test_noise_breaks_a_threshold_and_the_gate_warns(model, cases, trust):
    found = corruption_curve(model, cases[:2], trust, artefacts=("noise", "blur"), strengths=(1.0, 0.6))
    assert found.n_subjects == 2 and found.clean.dice.mean > 0.85 and found.clean.ece is not None
    noise = found.artefacts["noise"]
    assert [p.strength for p in noise.points] == [0.6, 1.0]
    assert noise.points[1].dice.mean < noise.points[0].dice.mean < found.clean.dice.mean
    assert noise.breaks_at is not None and 0 < noise.breaks_at < 1
    assert noise.points[1].warned == 1.0 and [p.codes["noise"] for p in noise.points] == [2, 2]
    assert noise.points[1].ece > found.clean.ece and "It breaks at" in noise.sentence
    assert CorruptionCurve.from_dict(found.to_dict()) == found
    again = corruption_curve(model, cases[:2], trust, artefacts=("noise",), strengths=(1.0, 0.6))
    assert again.artefacts["noise"] == noise


def test_without_limits_only_dice_is_measured(model, cases):
    found = corruption_curve(model, cases[:1], artefacts=("ghosting",), strengths=(0.5,))
    point = found.artefacts["ghosting"].points[0]
    assert point.ece is None and point.warned is None and found.artefacts["ghosting"].warned_before is None
    assert any("no calibration and no input gate" in note for note in found.notes)


def test_a_short_time_measures_fewer_cases_and_strengths(model, cases):
    found = corruption_curve(model, cases, artefacts=("blur", "spikes"), strengths=(0.2, 0.6, 1.0), budget_s=1e-3)
    assert found.n_subjects == 1 and [p.strength for p in found.artefacts["blur"].points] == [1.0]
    assert any("allowed 1 of 6 cases" in note for note in found.notes)
    assert any("did not allow every strength" in note for note in found.notes)


def test_what_cannot_be_measured_is_refused(model, cases):
    from dataclasses import replace

    with pytest.raises(UsageError, match="unknown artefact 'moton'"):
        corruption_curve(model, cases, artefacts=("moton",))
    with pytest.raises(UsageError, match="above 0, at most 1"):
        corruption_curve(model, cases, strengths=(0.0,))
    with pytest.raises(DataError, match="1 case: none has a true mask"):
        corruption_curve(model, [replace(cases[0], label=None)])


def test_the_calibration_error_is_that_of_the_definition(model, cases, trust):
    """Against a sum over voxels: |true − said| over bins of the calibrated probability, of suspected and true voxels."""
    evidence = examine(model, cases[5], truth=attacked.truth(cases[5]))[1]
    found, said = evidence.labels["lesion"], trust.calibration.table("lesion")
    counts, true = found.counts.sum(axis=0), found.true_counts.sum(axis=0)
    from striate.inference.observed import LOGITS

    counts = np.where(1 / (1 + np.exp(-LOGITS)) >= 0.01, counts, true)
    gaps = np.zeros(15)
    for n, t, q in zip(counts, true, said, strict=True):
        gaps[min(14, max(0, int(np.ceil(q * 15 - 1e-12)) - 1))] += t - n * q
    assert calibration_error(evidence, trust) == pytest.approx(np.abs(gaps).sum() / counts.sum())


def point(strength, dice, warned=None):
    return Point(strength, Summary(dice, dice, None, None, 3), None, warned)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ((0.9, 0.8, 0.4), 0.5 + 0.5 * (0.8 - 0.6) / 0.4),  # below 0.6
        ((0.5, 0.4, 0.1), 0.5 + 0.5 * (0.4 - 0.25) / 0.3),  # below half of a poor clean Dice
        ((0.9, 0.8, 0.7), None),
    ],
)
def test_a_model_breaks_below_half_or_below_060(values, wanted):
    found = breaking([point(s, v) for s, v in zip((0.0, 0.5, 1.0), values, strict=True)])
    assert found == (None if wanted is None else pytest.approx(wanted))


def test_the_sentence_says_whether_the_gate_was_first():
    clean, fall = point(0, 0.9, 0.0), (0.8, 0.3)
    early = ArtefactCurve.of("motion", clean, [point(0.5, fall[0], 0.7), point(1.0, fall[1], 1.0)])
    late = ArtefactCurve.of("motion", clean, [point(0.5, fall[0], 0.0), point(1.0, fall[1], 1.0)])
    never = ArtefactCurve.of("motion", clean, [point(0.5, fall[0], 0.0), point(1.0, fall[1], 0.2)])
    assert early.warned_before is True and "The gate warned from 0.5 on, before that." in early.sentence
    assert late.warned_before is False and "from 1 on, after that." in late.sentence
    assert never.warned_before is False and "never warned of half" in never.sentence
