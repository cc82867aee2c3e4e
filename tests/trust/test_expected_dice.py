"""The expected Dice: the ridge by an independent solution, its bounds, left-out errors, few subjects, the JSON form."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from simulated_evidence import SIGMOID, simulated

from striate.trust.expected import expect
from striate.trust.expected_dice import FEATURES, TERMS, DiceModel, Seen, see


def seen_of(rng, subject, bias=0.0, slope=0.0):
    usual = rng.normal(0, 1, FEATURES - 4)
    features = np.array([rng.uniform(0.4, 0.95), rng.normal(1, 1), rng.normal(-2, 0.5), rng.normal(-1, 0.3), *usual])
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
    penalty = np.diag((0.1 / np.array([0.2, 0.5, 0.05, 0.05, 0.05, 0.03, 0.03])) ** 2)
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
        moved = one.features @ [-1, -0.1, 0, 0.1, -0.1, 0.1]
        seen.append(replace(one, dice=float(1 + moved)))
    model, _ = DiceModel.fit(seen, SIGMOID)
    _, b, volume, lesion, unlike, certain, blur = model.correction
    assert b >= -1 and volume >= 0 and lesion >= 0 and unlike <= 0 and certain >= 0 >= blur
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
        assert model.correction == (0.0,) * len(TERMS) and left[0] == pytest.approx(seen[0].features[0])
        assert (model.error is None) == (subjects == 1)


def test_a_case_and_its_simulation():
    """On cases of a calibrated network the expected Dice is right to a few hundredths."""
    rng = np.random.default_rng(4)
    cases = [simulated(rng, f"c{i}") for i in range(80)]
    seen = [see(c, "lesion", SIGMOID) for c in cases]
    model, _ = DiceModel.fit(seen, SIGMOID)
    assert model.error < 0.05 and abs(model.bias) < 0.01
    assert sum(s is None for s in seen) == sum(c.labels["lesion"].predicted_ml == 0 for c in cases) > 0


def test_what_is_seen():
    case = replace(simulated(np.random.default_rng(0), "c"), facts={"t1": {"blur": 0.2}, "t2": {"blur": 0.3}, "pd": {}})
    found = case.labels["lesion"]
    seen = see(case, "lesion", SIGMOID, 0.5)
    volume = np.log(found.predicted_ml)
    whole = sum(lesion.volume_ml for lesion in found.lesions)
    expected = [
        expect(found.counts, SIGMOID, found.voxel_ml).dice,
        volume,
        volume - np.log(found.predicted_lesions),
        np.log(0.5),
        sum(lesion.volume_ml * lesion.top_logit for lesion in found.lesions) / whole,
        0.3,
    ]
    assert seen.features == pytest.approx(expected) and seen.dice == found.dice and seen.subject == case.subject
    unknown = see(with_lesion(replace(case, facts={}), dice=None), "lesion", SIGMOID)
    assert np.isnan([unknown.dice, *unknown.features[[3, 5]]]).all() and np.isfinite(unknown.features[:3]).all()
    assert see(with_lesion(case, predicted_ml=0.0), "lesion", SIGMOID) is None


def with_lesion(case, **changes):
    return replace(case, labels={"lesion": replace(case.labels["lesion"], **changes)})


def test_certain_lesions_and_sharp_images_raise_what_is_expected():
    """Cases that differ in nothing else: the real Dice follows both, and so does that of a subject that was left out."""
    rng, seen = np.random.default_rng(8), []
    for i in range(60):
        certain, blur = rng.normal(6, 1), rng.uniform(0.2, 0.6)
        dice = 0.75 + 0.08 * (certain - 6) - 0.5 * (blur - 0.4) + rng.normal(0, 0.01)
        seen.append(Seen(f"s{i}", np.array([0.8, 1.0, -2.0, -1.0, certain, blur]), float(np.clip(dice, 0, 1))))
    model, left = DiceModel.fit(seen, SIGMOID)
    assert np.corrcoef(left, [s.dice for s in seen])[0, 1] > 0.95 and model.error < 0.03


def test_unlikeness_that_is_not_known_changes_nothing():
    rng = np.random.default_rng(6)
    seen = [seen_of(rng, f"s{i}") for i in range(9)]
    for one in seen:
        one.features[3] = np.nan
    model, left = DiceModel.fit(seen, SIGMOID)
    assert np.isfinite(left).all() and model.correction[4] == pytest.approx(0, abs=1e-9)


def test_the_json_form_reads_back_equal():
    rng = np.random.default_rng(7)
    for n in (0, 2, 9):
        model, _ = DiceModel.fit([seen_of(rng, f"s{i}") for i in range(n)], SIGMOID)
        assert DiceModel.from_dict(json.loads(json.dumps(model.to_dict()))) == model


def test_other_features_than_these_are_refused():
    document = DiceModel(tuple(SIGMOID.tolist())).to_dict()
    with pytest.raises(ValueError, match="4 features and 5 terms"):
        DiceModel.from_dict({**document, "mean": [0.0] * 4, "scale": [1.0] * 4, "correction": [0.0] * 5})
