"""The expected Dice: the ridge by an independent solution, its bounds, left-out errors, few subjects, the JSON form."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from simulated_evidence import SIGMOID, simulated

from striate.trust.expected import expect
from striate.trust.expected_dice import DiceModel, Seen, see


def seen_of(rng, subject, bias=0.0, slope=0.0):
    features = np.array([rng.uniform(0.4, 0.95), rng.normal(1, 1), rng.normal(-2, 0.5), rng.normal(-1, 0.3)])
    dice = features[0] + bias + slope * (features[1] - 1) + rng.normal(0, 0.02)
    return Seen(subject, features, float(np.clip(dice, 0, 1)))


def test_by_normal_equations():
    """Bias down, smaller masks worse: no bound is touched but those at 0, where the column is dropped."""
    rng = np.random.default_rng(0)
    seen = [seen_of(rng, f"s{i // 2}", -0.1, 0.04) for i in range(40)]
    model, _ = DiceModel.fit(seen, SIGMOID)
    features, dice = np.array([s.features for s in seen]), np.array([s.dice for s in seen])
    standard = features - features.mean(axis=0)
    standard[:, 1:] /= standard[:, 1:].std(axis=0)
    design = np.column_stack([np.ones(40), standard])
    assert np.allclose(model.mean, features.mean(axis=0)) and model.scale[0] == 1.0
    free = np.abs(model.correction) > 1e-6
    penalty = np.diag((0.1 / np.array([0.2, 0.5, 0.05, 0.05, 0.05])) ** 2)
    design, penalty = design[:, free], penalty[np.ix_(free, free)]
    solved = np.linalg.solve(design.T @ design * 0.5 + penalty, design.T @ (dice - features[:, 0]) * 0.5)
    assert np.array(model.correction)[free] == pytest.approx(solved, abs=1e-6)
    assert model.correction[0] == pytest.approx(-0.1, abs=0.02) and model.correction[2] > 0.02


def test_it_is_monotone():
    """Against data that say the contrary, the coefficients stop at their bounds."""
    rng = np.random.default_rng(1)
    seen = []
    for i in range(60):
        one = seen_of(rng, f"s{i}")
        seen.append(replace(one, dice=float(1 - one.features[0] - 0.1 * one.features[1] + 0.1 * one.features[3])))
    model, _ = DiceModel.fit(seen, SIGMOID)
    _, b, volume, lesion, unlike = model.correction
    assert b >= -1 and volume >= 0 and lesion >= 0 and unlike <= 0
    features = seen[0].features
    values = [model.expect(Seen("x", np.array([d, *features[1:]]))) for d in np.linspace(0, 1, 11)]
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(values))


def test_left_out_errors_never_saw_the_subject():
    rng = np.random.default_rng(2)
    seen = [seen_of(rng, f"s{i}", -0.15) for i in range(12)]
    model, left = DiceModel.fit(seen, SIGMOID)
    for i in (0, 7):
        alone, _ = DiceModel.fit([s for s in seen if s.subject != f"s{i}"], SIGMOID)
        assert left[i] == alone.expect(seen[i])
    gaps = np.array(left) - [s.dice for s in seen]
    assert model.error == pytest.approx(np.abs(gaps).mean()) and model.bias == pytest.approx(gaps.mean())
    assert (model.n_subjects, model.n_cases) == (12, 12) and model.error < 0.05


def test_few_subjects_are_not_corrected():
    rng = np.random.default_rng(3)
    for subjects in (1, 2):
        seen = [seen_of(rng, f"s{i % subjects}", -0.3) for i in range(10)]
        model, left = DiceModel.fit(seen, SIGMOID)
        assert model.correction == (0.0,) * 5 and left[0] == pytest.approx(seen[0].features[0])
        assert (model.error is None) == (subjects == 1)


def test_a_case_and_its_simulation():
    """On cases of a calibrated network the expected Dice is right to a few hundredths."""
    rng = np.random.default_rng(4)
    cases = [simulated(rng, f"c{i}") for i in range(80)]
    seen = [see(c.subject, c.labels["lesion"], SIGMOID) for c in cases]
    model, _ = DiceModel.fit(seen, SIGMOID)
    assert model.error < 0.05 and abs(model.bias) < 0.01
    assert sum(s is None for s in seen) == sum(c.labels["lesion"].predicted_ml == 0 for c in cases) > 0


def test_what_is_seen():
    found = simulated(np.random.default_rng(0), "c").labels["lesion"]
    seen = see("s", found, SIGMOID, 0.5)
    volume = np.log(found.predicted_ml)
    expected = [
        expect(found.counts, SIGMOID, found.voxel_ml).dice,
        volume,
        volume - np.log(found.predicted_lesions),
        np.log(0.5),
    ]
    assert seen.features == pytest.approx(expected) and seen.dice == found.dice
    assert np.isnan(see("s", replace(found, dice=None), SIGMOID).dice) and np.isnan(
        see("s", found, SIGMOID).features[3]
    )
    assert see("s", replace(found, predicted_ml=0.0), SIGMOID) is None


def test_unlikeness_that_is_not_known_changes_nothing():
    rng = np.random.default_rng(6)
    seen = [replace(s, features=np.array([*s.features[:3], np.nan])) for s in (seen_of(rng, f"s{i}") for i in range(9))]
    model, left = DiceModel.fit(seen, SIGMOID)
    assert np.isfinite(left).all() and model.correction[4] == pytest.approx(0, abs=1e-9)


def test_the_json_form_reads_back_equal():
    rng = np.random.default_rng(7)
    for n in (0, 2, 9):
        model, _ = DiceModel.fit([seen_of(rng, f"s{i}") for i in range(n)], SIGMOID)
        assert DiceModel.from_dict(json.loads(json.dumps(model.to_dict()))) == model
