"""Calibration of classes against known distortions, a general minimiser, and sums by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from classified import classified, softmax
from scipy.optimize import minimize, minimize_scalar

from striate.inference.whole import probabilities_of
from striate.measure import calibration as measure
from striate.trust.class_calibration import FOLDS, ClassCalibration, ClassScores, folds
from striate.trust.class_curve import ClassCurve, fit_curve, logits, wanted
from striate.trust.class_evidence import ClassEvidence, Judged
from striate.trust.class_trust import ClassTrust
from striate.workflows.class_limits import findings_of

NAMES = ("a", "b", "c")


def _fit(cases, names=NAMES, *, exclusive=True):
    return ClassCalibration.fit_left_out(Judged.of(cases, len(names)), names, exclusive=exclusive)


def _said(*rows):
    return np.array(rows, dtype=np.float64)


def test_a_known_temperature_is_found():
    found, _ = _fit(classified(1500, sharpness=3.0))
    assert found.curve.family == "temperature" and found.curve.temperature == pytest.approx(3.0, rel=0.06)
    assert found.after.ece < 0.03 < 0.1 < found.before.ece
    assert found.after.classwise_ece < found.before.classwise_ece and found.after.brier < found.before.brier
    assert found.after.accuracy == found.before.accuracy  # a temperature changes no class
    assert found.n_subjects == found.n_samples == 1500 and sum(found.n_present.values()) == 1500


def test_a_wrong_prior_needs_the_vector_and_what_is_right_stays_nearly_as_it_is():
    shifted, _ = _fit(classified(400, prior=np.array([2.0, 0.0, -1.0]), sharpness=2.0))
    assert shifted.curve.family == "vector" and shifted.log_losses["vector"] == min(shifted.log_losses.values())
    assert shifted.after.accuracy > shifted.before.accuracy + 0.05 and shifted.after.ece < 0.04
    right, left_out = _fit(classified(1500))
    assert right.curve.family != "vector" and right.after.ece < 0.03
    assert np.abs(left_out - Judged.of(classified(1500), 3).probabilities).max() < 0.03


@pytest.mark.parametrize("exclusive", [True, False])
def test_temperature_and_vector_are_those_of_a_general_minimiser(exclusive):
    rng = np.random.default_rng(3)
    scores = rng.normal(0, 3, (60, 3))
    said = softmax(scores) if exclusive else 1 / (1 + np.exp(-scores))
    truth = rng.random((60, 3)) < 1 / (1 + np.exp(-scores / 2))
    if exclusive:
        truth = np.eye(3, dtype=bool)[[rng.choice(3, p=row) for row in softmax(scores / 2)]]
    weights = rng.random(60)
    aim, z = wanted(truth, exclusive=exclusive), logits(said, exclusive=exclusive)

    def loss(scale, offset):
        x = scale * z + offset
        if exclusive:
            each = -(aim * np.log(softmax(x))).sum(1)
        else:
            each = (np.logaddexp(0, x) - aim * x).sum(1)
        return float(weights @ each / weights.sum())

    found = fit_curve("temperature", said, truth, weights, exclusive=exclusive)
    best = minimize_scalar(lambda a: loss(a, 0.0), bounds=(1e-3, 10), method="bounded", options={"xatol": 1e-10}).x
    assert 1 / found.temperature == pytest.approx(best, rel=1e-5)
    vector = fit_curve("vector", said, truth, weights, exclusive=exclusive)
    begin = np.r_[np.full(3, best), np.zeros(3)]
    slow = minimize(
        lambda v: loss(v[:3], v[3:]) + 0.5 / 60 * ((v - begin) ** 2).sum(), begin, method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-13, "maxiter": 40000, "maxfev": 40000, "adaptive": True},
    )  # fmt: skip
    assert np.r_[vector.scales, vector.offsets] == pytest.approx(slow.x, abs=2e-3)


def test_a_temperature_by_hand():
    """Of 8 subjects 6 are right; all say 0.9: the best certainty is what is wanted on average."""
    said, right = np.tile([0.9, 0.1], (8, 1)), np.array([True] * 6 + [False] * 2)
    truth = np.stack([right, ~right], axis=1)
    curve = fit_curve("temperature", said, truth, np.ones(8), exclusive=True)
    aim = (6 * (1 - 1 / 10) + 2 * (1 / 10)) / 8
    assert curve.of(said)[0] == pytest.approx([aim, 1 - aim])
    assert curve.temperature == pytest.approx(np.log(9) / np.log(aim / (1 - aim)))


def test_nobody_is_certain_who_was_right_on_nine_samples():
    """Rule of succession: 10 of 11, however sure the network was; the likelihood alone would say 1."""
    said = np.tile([1 - 1e-6, 0.5e-6, 0.5e-6], (9, 1))
    truth = np.tile([True, False, False], (9, 1))
    curve = fit_curve("temperature", said, truth, np.ones(9), exclusive=True)
    assert curve.of(said)[0] == pytest.approx([10 / 11, 0.5 / 11, 0.5 / 11])


def test_scores_are_those_of_the_measures_where_all_samples_weigh_the_same():
    judged = Judged.of(classified(300, sharpness=2.0, seed=1), 3)
    for exclusive in (True, False):
        found = ClassScores.of(judged.probabilities, judged.truth, judged.weights, exclusive=exclusive)
        said, came = judged.probabilities.ravel(), judged.truth.ravel()
        if exclusive:
            said, came = judged.probabilities.max(1), judged.truth[np.arange(300), judged.probabilities.argmax(1)]
        assert found.ece == pytest.approx(measure.ece(said, came))
        assert found.adaptive_ece == pytest.approx(measure.adaptive_ece(said, came))
        each = [measure.ece(judged.probabilities[:, k], judged.truth[:, k]) for k in range(3)]
        assert found.classwise_ece == pytest.approx(np.mean(each))
        squares = measure.squared_errors(judged.truth, judged.probabilities, exclusive=exclusive)
        assert found.brier == pytest.approx(squares.mean())


def test_scores_by_hand_and_each_subject_counts_alike():
    """Subject p: one sample, right at 0.8. Subject q: three samples at 0.6, one right."""
    said = _said((0.8, 0.2), (0.6, 0.4), (0.6, 0.4), (0.6, 0.4))
    truth = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=bool)
    cases = [ClassEvidence("p", "p", said[:1], truth[:1]), ClassEvidence("q", "q", said[1:], truth[1:], (0, 1, 2))]
    judged = Judged.of(cases, 2)
    assert judged.weights == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3]) and judged.count == 2
    found = ClassScores.of(judged.probabilities, judged.truth, judged.weights, exclusive=True)
    assert found.accuracy == pytest.approx((1 + 1 / 3) / 2)
    assert found.ece == pytest.approx((abs(1 - 0.8) + abs(1 / 3 - 0.6)) / 2)
    assert found.brier == pytest.approx((2 * 0.2**2 + (2 * 0.4**2 + 2 * 2 * 0.6**2) / 3) / 2)
    assert list(judged.present()) == [2, 1]


def test_what_is_said_of_a_subject_was_fitted_without_it():
    cases = classified(12, sharpness=2.0, seed=4)
    _, left_out = _fit(cases)
    flipped = replace(cases[5], truth=np.roll(cases[5].truth, 1, axis=1))
    found, again = _fit([*cases[:5], flipped, *cases[6:]])
    assert again[5] == pytest.approx(left_out[5], abs=1e-12)
    assert np.abs(again - left_out).max() > 1e-4 and found.curve.of(cases[5].probabilities) is not None


def test_cases_of_one_subject_are_left_out_together():
    cases = classified(40, samples=3, slices=True)
    assert list(folds(3)) == [0, 1, 2] and len(set(folds(45))) == FOLDS
    doubled = [replace(case, case=f"{case.case}b") for case in cases]
    (one, _), (two, left_out) = _fit(cases), _fit([*cases, *doubled])
    assert two.n_subjects == one.n_subjects == 40 and two.n_samples == 2 * one.n_samples
    assert two.after.ece == pytest.approx(one.after.ece)
    assert two.curve.scales == pytest.approx(one.curve.scales, rel=1e-6)
    assert left_out[:120] == pytest.approx(left_out[120:])


def test_too_few_subjects_claim_nothing():
    none, left_out = _fit([replace(case, truth=None) for case in classified(5)])
    assert not none.calibrated and none.n_subjects == 0 and none.before is None and not len(left_out)
    one, _ = _fit(classified(1))
    assert not one.calibrated and one.before is not None and one.after is None and one.curve.family == "identity"


def test_what_few_subjects_gave_no_reason_to_change_is_uncalibrated():
    said, truth = np.array([[1 - 1e-6, 0.5e-6, 0.5e-6]]), np.array([[True, False, False]])
    few, many = (
        ClassTrust.fit([ClassEvidence(f"c{k}", f"s{k}", said, truth, (None,)) for k in range(n)], NAMES)
        for n in (2, 40)
    )
    assert few.calibration.curve.family == many.calibration.curve.family == "identity"
    assert few.calibrated_on is None and "are uncalibrated: 2 subjects" in few.limits[0]
    assert many.calibrated_on == 40 and not any("uncalibrated" in told for told in many.limits)
    found = findings_of(few, [])
    assert found.calibrated_on is None


def test_classes_that_occur_together():
    rng = np.random.default_rng(0)
    z = rng.normal(0, 2, (800, 3))
    truth = rng.random((800, 3)) < 1 / (1 + np.exp(-z))
    cases = [
        ClassEvidence(f"c{n}", f"s{n:04d}", 1 / (1 + np.exp(-2.5 * z[n : n + 1])), truth[n : n + 1]) for n in range(800)
    ]
    found, _ = _fit(cases, exclusive=False)
    assert found.curve.family == "temperature" and found.curve.temperature == pytest.approx(2.5, rel=0.07)
    assert found.after.ece < 0.03 < 0.08 < found.before.ece


def test_sigmoids_of_exactly_1_say_no_more_than_single_precision_can():
    """A logit of 18 rounds to 1, one of 16 does not: they mean about the same, and a temperature takes both alike."""
    said = probabilities_of(np.array([[16.0, -16.0], [18.0, -19.0], [60.0, -60.0]], np.float32), exclusive=False)
    assert said[0, 0] < 1 == said[1, 0] == said[2, 0]
    assert np.abs(logits(said, exclusive=False)).max() < 17.4
    told = ClassCurve("temperature", (0.25,) * 2, (0.0,) * 2, False).of(said)
    assert told[1:] == pytest.approx(np.tile([0.987, 0.013], (2, 1)), abs=2e-3)


def test_it_survives_json():
    found, _ = _fit(classified(30, sharpness=2.0))
    assert ClassCalibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    extreme = ClassCurve("temperature", (0.5,) * 2, (0.0,) * 2, True).of(_said((1.0, 0.0)))
    assert np.isfinite(extreme).all() and extreme.sum() == pytest.approx(1)
