"""Probabilities of lesions: the conditions of an optimum, monotone, left-out quality, too few lesions, the JSON form."""

import json

import numpy as np
import pytest
from scipy.special import expit

from striate.trust.evidence import CaseEvidence, LabelEvidence, LesionEvidence
from striate.trust.lesions import LesionModel, left_out

NONE = np.zeros((2, 256), np.int64)


def case_of(name, lesions, label="lesion"):
    found = LabelEvidence(NONE, NONE, 0.001, 1.0, len(lesions), true_ml=1.0, true_lesions=1, lesions=tuple(lesions))
    return CaseEvidence(name, name, {label: found})


def drawn(rng, count, weights=(0.8, 1.2, 0.3), intercept=-1.5):
    """Lesions whose truth follows a known logistic law."""
    volume, mean, gap = rng.normal(-2, 1, count), rng.normal(1.5, 1, count), rng.exponential(1.5, count)
    real = rng.random(count) < expit(intercept + weights[0] * volume + weights[1] * mean + weights[2] * (mean + gap))
    rows = zip(np.exp(volume), mean, mean + gap, real, strict=True)
    return [LesionEvidence(float(v), float(m), float(t), bool(r)) for v, m, t, r in rows]


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(0)
    return [case_of(f"s{i}", drawn(rng, int(rng.integers(0, 40)))) for i in range(30)]


def test_the_conditions_of_the_optimum(cases):
    """Gradient of the penalised log loss: 0 where free, not negative at a bound; weights 1/√n, as many as they are worth."""
    rows = [(case.subject, lesion) for case in cases for lesion in case.labels["lesion"].lesions]
    raw = np.array(
        [len(case.labels["lesion"].lesions) ** -0.5 for case in cases for _ in case.labels["lesion"].lesions]
    )
    weights = raw / raw.sum() * raw.sum() ** 2 / (raw**2).sum()
    features = np.array([(np.log(r.volume_ml), r.mean_logit, r.top_logit) for _, r in rows])
    model = LesionModel.fit(cases).labels["lesion"].model
    mean = (weights[:, None] * features).sum(axis=0) / weights.sum()
    scale = np.sqrt((weights[:, None] * (features - mean) ** 2).sum(axis=0) / weights.sum())
    assert np.allclose(model.mean, mean) and np.allclose(model.scale, scale)
    design = np.column_stack([np.ones(len(features)), (features - mean) / scale])
    beta = np.array([model.intercept, *model.coefficients])
    error = expit(design @ beta) - [r.real for _, r in rows]
    gradient = design.T @ (weights * error) + np.array([0, *model.coefficients])
    assert np.abs(gradient[:2]).max() < 1e-4
    for slope, coefficient in zip(gradient[2:], model.coefficients[1:], strict=True):
        assert abs(slope) < 1e-4 if coefficient > 0 else slope > -1e-4


def test_left_out_probabilities_are_of_models_of_the_other_subjects(cases):
    found = left_out(cases, "lesion")
    assert [len(one) for one in found] == [len(case.labels["lesion"].lesions) for case in cases]
    for n in (0, 7):
        others = LesionModel.fit([*cases[:n], *cases[n + 1 :]])
        own = [others.probability("lesion", lesion) for lesion in cases[n].labels["lesion"].lesions]
        assert found[n] == pytest.approx(own, abs=1e-4)
    first = {case.case: case.labels["lesion"].lesions[:1] for case in cases}
    again = left_out(cases, "lesion", first)
    assert [len(one) for one in again] == [min(1, len(one)) for one in found]
    assert np.allclose(np.concatenate(again), np.concatenate([one[:1] for one in found]), rtol=1e-9)
    assert left_out(cases[:1], "lesion") is None  # one subject
    assert left_out(cases, "other") is None


def test_the_law_is_found(cases):
    rng = np.random.default_rng(1)
    many = LesionModel.fit([case_of(f"s{i}", drawn(rng, 40)) for i in range(100)])
    for lesion in drawn(rng, 50):
        truly = expit(-1.5 + 0.8 * np.log(lesion.volume_ml) + 1.2 * lesion.mean_logit + 0.3 * lesion.top_logit)
        assert many.probability("lesion", lesion) == pytest.approx(truly, abs=0.08)


def test_more_belief_never_makes_a_lesion_less_likely():
    """Truth that goes against the logits: the coefficients stay at 0."""
    rng = np.random.default_rng(2)
    cases = [case_of(f"s{i}", drawn(rng, 20, weights=(1.0, -1.0, -0.5), intercept=3.0)) for i in range(10)]
    model = LesionModel.fit(cases)
    assert model.labels["lesion"].model.coefficients[1:] == (0.0, 0.0)
    probabilities = [model.probability("lesion", LesionEvidence(0.1, m, 5.0)) for m in (-3.0, 0.0, 4.0)]
    assert probabilities[0] == probabilities[1] == probabilities[2]


def test_left_out_quality(cases):
    known = LesionModel.fit(cases).labels["lesion"]
    lesions = [lesion for case in cases for lesion in case.labels["lesion"].lesions]
    assert (known.n_lesions, known.n_real) == (len(lesions), sum(lesion.real for lesion in lesions))
    assert known.n_subjects == known.n_cases == sum(bool(case.labels["lesion"].lesions) for case in cases)
    assert 0.75 < known.auroc < 0.95 and known.brier < known.brier_of_share <= 0.27
    assert sum(n for *_, n in known.reliability) == len(lesions)
    assert all(abs(p - share) < 0.15 for p, share, _ in known.reliability)


def test_lesions_of_one_subject_that_differ_from_all_others_are_judged_without_it():
    """Subject a says the contrary of everyone: left out, its lesions are judged wrongly, so the quality falls."""
    rng = np.random.default_rng(3)
    others = [case_of(f"s{i}", drawn(rng, 20)) for i in range(8)]
    turned = [LesionEvidence(x.volume_ml, x.mean_logit, x.top_logit, not x.real) for x in drawn(rng, 60)]
    assert (
        LesionModel.fit([*others, case_of("a", turned)]).labels["lesion"].auroc
        < LesionModel.fit(others).labels["lesion"].auroc
    )


@pytest.mark.parametrize(
    ("real", "false", "subjects", "enough"),
    [(10, 10, 2, True), (9, 30, 5, False), (30, 9, 5, False), (30, 30, 1, False), (0, 0, 0, False)],
)
def test_too_few_lesions(real, false, subjects, enough):
    rng = np.random.default_rng(4)
    lesions = [LesionEvidence(0.1, rng.normal(r), rng.normal(r) + 2, r) for r in [True] * real + [False] * false]
    model = LesionModel.fit([case_of(f"s{i}", lesions[i::subjects]) for i in range(subjects)])
    lesion = LesionEvidence(0.1, 1.0, 2.0)
    if enough:
        assert 0 < model.probability("lesion", lesion) < 1 and model.reason("lesion") is None
    else:
        assert model.probability("lesion", lesion) is None
        told = f"{real} real and {false} false ones in {subjects} subject{'' if subjects == 1 else 's'}; 10 of each are needed"
        assert told in model.reason("lesion")


def test_false_lesions_of_one_subject_only():
    """Nothing can be left out, so nothing is claimed."""
    rng = np.random.default_rng(5)
    false = [LesionEvidence(0.1, rng.normal(), 2.0, False) for _ in range(20)]
    real = [LesionEvidence(0.1, rng.normal(2), 4.0, True) for _ in range(20)]
    model = LesionModel.fit([case_of("a", false + real[:10]), case_of("b", real[10:])])
    assert model.probability("lesion", false[0]) is None and "at least 2 subjects" in model.reason("lesion")


def test_equal_lesions_and_empty_volumes():
    same = [case_of(f"s{i}", [LesionEvidence(0.0, 1.0, 2.0, i % 2 == 0)] * 6) for i in range(6)]
    assert LesionModel.fit(same).probability("lesion", LesionEvidence(0.0, 1.0, 2.0)) == pytest.approx(0.5, abs=1e-4)


def test_labels_are_apart(cases):
    other = [case_of(f"o{i}", [LesionEvidence(1.0, 1.0, 1.0, True)], "other") for i in range(5)]
    model = LesionModel.fit([*cases, *other])
    assert model.labels["lesion"] == LesionModel.fit(cases).labels["lesion"] and model.labels["other"].model is None
    assert model.probability("unknown", LesionEvidence(1.0, 1.0, 1.0)) is None and "0 real" in model.reason("unknown")


def test_the_json_form_reads_back_equal(cases):
    for part in (cases, cases[:1], []):
        model = LesionModel.fit(part)
        assert LesionModel.from_dict(json.loads(json.dumps(model.to_dict()))) == model
