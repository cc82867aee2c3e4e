"""The limits of a model as one noun: fitted, written, read, and what they say of a case."""

import json
from dataclasses import replace

import numpy as np
import pytest
from simulated_evidence import simulated

from striate.core.caution import Caution
from striate.core.errors import ModelError
from striate.inference.engines.uncertainty import made_by
from striate.measure.finding import CaseFindings, LabelFindings, Lesion, Quantity
from striate.model.card import write_card
from striate.trust.assess import assess
from striate.trust.calibration import Calibration
from striate.trust.evidence import CaseEvidence
from striate.trust.training_images import UNLIKE
from striate.trust.trust import Trust

FACTS = {"noise": 0.1, "edge": 0.3, "blur": 0.2, "ghost": 0.0, "spikes": 4.0, "bias": 1.2, "rim": 0.1, "streaks": 0.2}


def scan(rng, name, noise=0.1):
    """Return a case without a mask: facts of its image and what a layer answered."""
    facts = {"flair": {**FACTS, "noise": noise * rng.uniform(0.9, 1.1), "quantiles": rng.normal(0, 0.01, 25).tolist()}}
    return CaseEvidence(name, name, {}, rng.normal(1, 0.1, 4).astype(np.float32), facts)


def seen(rng, name, noise=0.1):
    """Return a case with a mask, and an image like those of `scan`."""
    like = scan(rng, name, noise)
    return replace(simulated(rng, name), features=like.features, facts=like.facts)


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(0)
    return [seen(rng, f"patient-{i}") for i in range(24)]


@pytest.fixture(scope="module")
def trust(cases):
    rng = np.random.default_rng(1)
    return Trust.fit(cases, [scan(rng, f"taught-{i}") for i in range(30)], weights_sha256="ab" * 32)


def test_one_subject_takes_the_place_of_no_earlier_rule(trust, cases):
    one = Trust.fit(cases[:1], known=trust)
    assert one.review.earlier == trust.review and trust.review.earlier is None
    assert Trust.fit(cases[:1], known=trust, made_by=made_by("tta")).review.earlier is None, (
        "of masks made in another way"
    )


def findings_of(case):
    label = case.labels["lesion"]
    lesions = tuple(Lesion(x.volume_ml, 1, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), ((0, 1),) * 3) for x in label.lesions)
    found = LabelFindings(Quantity(label.predicted_ml), Quantity(label.predicted_lesions), lesions)
    return CaseFindings(case.case, {"lesion": found}, (Caution("prepared", "the scan was turned"),))


def test_it_is_written_and_read_without_loss_and_without_names(trust, tmp_path):
    trust.write(tmp_path)
    again = Trust.read(tmp_path, "ab" * 32)
    assert again.to_dict() == trust.to_dict()
    text = (tmp_path / "trust.json").read_text()
    assert "patient" not in text and "taught" not in text
    assert (trust.n_subjects, trust.training.n_subjects) == (24, 30)


def test_a_model_without_limits_has_none(tmp_path):
    assert Trust.read(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("review"), "not readable as striate-trust"),
        (lambda d: d.update(kind="striate-plan"), "striate-trust"),
        (lambda d: d.update(schema_version=99), "99"),
        (lambda d: d.update(weights_sha256="cd" * 32), "made for weights cdcdcdcdcdcd"),
        (lambda d: d["calibration"]["labels"]["lesion"].update(curve=3), "not readable as striate-trust"),
        (lambda d: d["intervals"]["labels"]["lesion"].update(table=[0.1, 0.2]), "256 finite ones are needed"),
        (lambda d: d["review"]["models"]["lesion"].update(table=[]), "256 finite ones are needed"),
        (lambda d: d["likeness"].update(features=[[1.0, 2.0]]), "features of shape"),
    ],
)
def test_broken_limits_are_told(trust, tmp_path, change, message):
    document = trust.to_dict()
    document = json.loads(json.dumps(document))
    change(document)
    (tmp_path / "trust.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match=message):
        Trust.read(tmp_path, "ab" * 32)


def test_tables_that_judge_a_subject_never_saw_it(cases):
    _, left_out = Calibration.fit_left_out(cases)
    without = Calibration.fit([c for c in cases if c.subject != "patient-3"])
    family = without.labels["lesion"].curve.family
    if family == Calibration.fit(cases).labels["lesion"].curve.family:
        np.testing.assert_allclose(left_out["patient-3"]["lesion"], without.table("lesion"), rtol=1e-6)
    assert not np.array_equal(left_out["patient-3"]["lesion"], Calibration.fit(cases).table("lesion"))


def test_a_case_is_told_everything(trust):
    case = seen(np.random.default_rng(7), "new")
    told = assess(findings_of(case), case, trust)
    label = told.labels["lesion"]
    low, high = trust.intervals.volume_ml("lesion", case.labels["lesion"])
    assert label.volume_ml == Quantity(case.labels["lesion"].predicted_ml, low, high, 0.9)
    assert label.volume_ml.low <= label.volume_ml.value <= label.volume_ml.high
    assert [lesion.probability for lesion in label.lesions] == [
        trust.lesions.probability("lesion", lesion) for lesion in case.labels["lesion"].lesions
    ]
    assert not told.ood.outside and told.review is not None
    assert [w.code for w in told.warnings] == ["prepared"]


def test_a_strange_scan_is_named_and_must_be_reviewed(trust):
    case = seen(np.random.default_rng(7), "new", noise=2.0)
    told = assess(findings_of(case), case, trust)
    assert told.ood.outside and told.review.needed and "unlike" in told.review.reason
    assert {"noise", UNLIKE} <= {w.code for w in told.warnings}
    unlike = next(w.message for w in told.warnings if w.code == UNLIKE)
    assert "case new" in unlike and "30 training subjects" in unlike


def test_masks_that_were_made_another_way_get_no_numbers_of_the_calibration(trust):
    assert trust.holds_for({"uncertainty": "none", "crf": False})
    assert not trust.holds_for({"uncertainty": "tta", "crf": False})
    case = seen(np.random.default_rng(7), "new", noise=2.0)
    told = assess(findings_of(case), case, trust, calibrated=False)
    assert told.labels == findings_of(case).labels and (told.ood, told.review) == (None, None)
    assert "noise" in {w.code for w in told.warnings}


def test_with_few_subjects_it_says_so_and_gives_none(cases):
    trust = Trust.fit(cases[:4], [])
    case = cases[5]
    told = assess(findings_of(case), case, trust)
    assert told.labels["lesion"].volume_ml == Quantity(case.labels["lesion"].predicted_ml)
    assert told.ood is None
    text = " ".join(trust.limits)
    assert (
        "4 subjects; 9 are needed" in text and "No input gate: 0 training subjects" in text and "19 are needed" in text
    )


def test_without_any_case_nothing_is_claimed(tmp_path):
    trust = Trust.fit([], [])
    trust.write(tmp_path)
    again = Trust.read(tmp_path)
    assert again.n_subjects == 0 and again.summary()["calibration"] == {}
    case = seen(np.random.default_rng(7), "new")
    told = assess(findings_of(case), case, again)
    assert told.labels == findings_of(case).labels


def test_gate_and_likeness_are_kept_where_there_is_no_reference(trust, cases):
    again = Trust.fit(cases[:12], known=trust, made_by={"uncertainty": "tta", "crf": False})
    assert again.training is trust.training
    assert (again.n_subjects, again.training.n_subjects) == (12, 30)
    assert again.holds_for({"uncertainty": "tta", "crf": False})


def test_an_image_whose_layer_did_not_answer_has_no_likeness(trust):
    blank = replace(seen(np.random.default_rng(7), "blank"), features=np.zeros(0, np.float32))
    assert trust.training.ood(blank) is None


def test_a_label_that_no_subject_has_is_not_calibrated_and_the_limits_say_so(cases):
    def without(case):
        label = case.labels["lesion"]
        lesions = tuple(replace(lesion, real=False) for lesion in label.lesions)
        bare = {"true_counts": np.zeros_like(label.true_counts), "true_ml": 0.0, "true_lesions": 0, "lesions": lesions}
        return replace(case, labels={"lesion": replace(label, **bare, dice=0.0 if lesions else None)})

    found = Trust.fit([without(case) for case in cases])
    known = found.calibration.labels["lesion"]
    assert known.curve.family == "identity" and known.after is None and known.n_present == 0
    assert "Probabilities of 'lesion' are not calibrated: none of 24 subjects has it." in found.limits


def test_with_nobody_held_out_the_limits_say_so():
    assert Trust.fit([]).limits[0].startswith("No case was held out")


def test_the_card_says_what_was_not_measured(cases, tiny_plan):
    few = Trust.fit(cases[:9]).summary()
    facts = {"validation_cases": 9, "trust": few, "calibration_cohort": "mine", "validation_is_unseen": False}
    card = write_card(tiny_plan(), facts)
    assert "rest on 9 subjects; how many they hold was not measured" in card and "not recorded of 9" not in card
    assert "Held-out cases of cohort mine: 9; whether their subjects were in training is not known." in card
    assert "All voxels of 9 subjects, after calibration." in card
    card = write_card(tiny_plan(), {"trust": Trust.fit(cases[:1]).summary()})
    assert "(temperature, 1 subject)" in card and "All voxels of 1 subject, before calibration." in card
