"""Limits of a model through the verbs: made by `train`, used by `predict`, measured anew by `calibrate`."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import striate
from striate.core.errors import DataError, ModelError, UsageError
from striate.core.files import hash_file
from striate.core.machine import native_precision
from striate.core.progress import Silent
from striate.core.record import Record
from striate.data.cohort import Cohort
from striate.inference.engines.choose import FITTED
from striate.inference.engines.uncertainty import open_uncertain
from striate.trust.error_probability import error_probability
from striate.trust.trust import Trust
from striate.workflows.calibrate import _tell, calibrate
from striate.workflows.held_out import HeldOut
from striate.workflows.predict import predict
from striate.workflows.train import train
from striate.workflows.unseen import check_labels, unseen


@pytest.fixture(scope="module")
def trained(tiny_cohort, tiny_plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("limits")
    tiny_plan(steps=40).write(folder / "plan.yaml")
    done = train(tiny_cohort, out=folder / "run", plan=folder / "plan.yaml", holdout=["s1"])
    return done.folder


@pytest.fixture(scope="module")
def more(cohort_of, tmp_path_factory):
    """Six subjects, of whom the model learned from three."""
    return cohort_of(tmp_path_factory.mktemp("more") / "cohort", count=6)


@pytest.fixture(scope="module")
def calibrated(trained, more, tmp_path_factory):
    listener = Silent()
    return calibrate(trained, more, tmp_path_factory.mktemp("calibrated") / "out", progress=listener), listener


def test_training_ends_with_limits_and_says_so_in_the_card(trained):
    model = striate.Model.open(trained)
    trust = Trust.read(model.folder, model.facts["weights_sha256"])
    assert model.facts[FITTED] == {"name": "torch", "precision": native_precision()}
    assert (trust.n_subjects, trust.training.n_subjects) == (1, 3)
    gate, likeness = trust.training.gate, trust.training.likeness
    assert gate is not None and likeness is not None and likeness.threshold is None
    card = (model.folder / "card.md").read_text()
    assert "1 subject; 9 are needed" in card and "Calibration of lesion (temperature, 1 subject" in card
    assert "### Reliability of lesion" in card
    findings = json.loads((trained / "validation" / "findings.json").read_text())
    assert findings["cases"][0]["review"]["expected_dice"] is not None


def test_where_nobody_is_left_to_validate_with_nothing_is_claimed(cohort_of, tiny_plan, tmp_path):
    tiny_plan(steps=2).write(tmp_path / "plan.yaml")
    done = train(cohort_of(tmp_path / "one", 1), out=tmp_path / "run", plan=tmp_path / "plan.yaml")
    trust = Trust.read(done.folder / "model")
    assert (trust.n_subjects, trust.training.n_subjects, trust.training.gate) == (0, 1, None)
    assert not (done.folder / "validation").exists()


def test_prediction_judges_each_case_and_writes_the_uncertainty(trained, tiny_cohort, tmp_path):
    listener = Silent()
    scan = tiny_cohort / "s1_flair.nii.gz"
    (told,) = predict(trained, scan, tmp_path / "out", save_uncertainty=True, progress=listener)
    case = striate.Findings.read(tmp_path / "out").cases[0]
    assert case.review is not None and case.labels["lesion"].volume_ml.low is None
    record = Record.read(tmp_path / "out" / "record.json")
    assert any("9 are needed" in text for text in record.facts["limits"])
    assert {"prepare", "network", "judge"} <= set(told.facts["seconds"])
    wrong = nib.load(tmp_path / "out" / "uncertainty" / f"{case.case}.nii.gz")
    values = wrong.get_fdata()
    assert np.allclose(wrong.affine, nib.load(scan).affine) and values.shape == nib.load(scan).shape
    assert 0 <= values.min() < values.max() <= 1
    mask = told.label.array > 0
    assert values[mask].max() <= 1 and told.observed is None


def test_a_strange_scan_is_warned_of(trained, tiny_cohort, tmp_path):
    image = nib.load(tiny_cohort / "s1_flair.nii.gz")
    strange = nib.Nifti1Image(image.get_fdata().astype(np.float32), np.diag([2.0, 2.0, 9.0, 1.0]))
    nib.save(strange, tmp_path / "thick.nii.gz")
    predict(trained, tmp_path / "thick.nii.gz", tmp_path / "out")
    codes = {w.code for w in striate.Findings.read(tmp_path / "out").cases[0].warnings}
    assert "other-spacing" in codes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uncertainty": "ttaa"}, "tta"),
        ({"uncertainty": "dropout"}, "no dropout layer"),
        ({"uncertainty": "ensemble"}, "at least two sets of weights"),
        ({"uncertainty": "dropout", "tta": True}, "leave one of them away"),
        ({"uncertainty": "none", "ensemble": ["x"]}, "leave one of them away"),
    ],
)
def test_ways_that_cannot_be_are_refused(trained, tiny_cohort, tmp_path, options, message):
    given = {**options, "ensemble": [trained for _ in options.get("ensemble", ())]}
    with pytest.raises(UsageError, match=message):
        predict(trained, tiny_cohort / "s1_flair.nii.gz", tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_an_ensemble_is_not_what_was_calibrated(trained, tiny_cohort, tmp_path):
    listener = Silent()
    predict(trained, tiny_cohort / "s1_flair.nii.gz", tmp_path / "out", ensemble=[trained], progress=listener)
    record = Record.read(tmp_path / "out" / "record.json")
    assert (
        "calibrated for --uncertainty none, these masks are made by --uncertainty ensemble" in record.facts["limits"][0]
    )
    assert striate.Findings.read(tmp_path / "out").cases[0].review is None


def test_calibration_leaves_out_who_was_learned_from(calibrated, trained):
    done, listener = calibrated
    assert done.trust.n_subjects == 3 and done.trust.training.n_subjects == 3
    assert any("learned from the subjects of 3 of 6 cases" in text for text in listener.warnings)
    again = striate.Model.open(done.folder)
    assert again.facts["weights_sha256"] == striate.Model.open(trained).facts["weights_sha256"]
    assert {c.case for c in striate.Findings.read(done.folder / "validation").cases} == {"s1", "s4", "s5"}
    (detection,) = done.evaluation.detection.values()
    assert (detection.cases, detection.subjects) == (3, 3) and detection.lesions > 0
    assert detection.why is None and detection.ranked_by == "largest"  # three cases hold too few for a model of lesions
    assert detection.candidates is not None and detection.most_found >= detection.found
    assert (done.folder / "report.html").exists()
    record = Record.read(done.folder / "record.json")
    assert record.verb == "calibrate" and len(record.inputs) == 3


def test_probabilities_beside_masks_give_the_candidates_of_the_calibration(calibrated, more, tmp_path):
    done, _ = calibrated
    rows = [f"{name},{more / name}_flair.nii.gz,{more / name}_label.nii.gz" for name in ("s1", "s4", "s5")]
    three = tmp_path / "three.csv"
    three.write_text("\n".join(["subject,flair,label", *rows]))
    predict(done.folder, three, tmp_path / "out", save_probabilities=True)
    (again,) = striate.evaluate(tmp_path / "out", three).detection.values()
    (first,) = done.evaluation.detection.values()
    assert (again.candidates, again.most_found, again.curve) == (first.candidates, first.most_found, first.curve)
    shutil.rmtree(tmp_path / "out" / "probabilities")
    (masks,) = striate.evaluate(tmp_path / "out", three).detection.values()
    assert (masks.candidates, masks.found, masks.curve) == (None, first.found, {})


def test_what_was_calibrated_is_used(calibrated, tiny_cohort, tmp_path):
    done, _ = calibrated
    predict(done.folder, tiny_cohort / "s1_flair.nii.gz", tmp_path / "out")
    assert striate.Findings.read(tmp_path / "out").cases[0].review is not None


def test_review_learns_from_spoilt_copies_too(calibrated):
    done, _ = calibrated
    assert done.trust.n_subjects == 3 and done.trust.review.n_cases == 2 * 3 and done.trust.review.n_spoilt == 3
    assert all(found.n_subjects == 3 for found in done.trust.calibration.labels.values())
    assert "many cases, as they are and with artefacts put in, with a Dice below 0.6" in done.trust.review.guarantee


def test_calibration_of_an_ensemble_holds_for_it(trained, more, tmp_path):
    done = calibrate(trained, more, tmp_path / "both", ensemble=[trained])
    sha = striate.Model.open(trained).facts["weights_sha256"]
    assert done.trust.holds_for({"uncertainty": "ensemble", "crf": False, "others": [sha]})
    assert not done.trust.holds_for({"uncertainty": "ensemble", "crf": False, "others": ["00" * 32]})


def test_who_taught_any_member_of_an_ensemble_judges_none(trained, more):
    model, cohort = striate.Model.open(trained), Cohort.open(more)
    fresh, _ = unseen(model, cohort, Silent())
    other = replace(model, facts={**model.facts, "training_images": [hash_file(fresh[0].channels["flair"])]})
    left, read = unseen(model, cohort, Silent(), [other])
    assert {c.name for c in left} == {c.name for c in fresh[1:]} == {key.split("/")[0] for key in read}


def test_a_visit_without_mask_that_was_learned_from_leaves_out_its_subject(trained, more):
    cohort = Cohort.open(more)
    model = striate.Model.open(trained)
    fresh, _ = unseen(model, cohort, Silent())
    taught = next(c for c in cohort.cases if c.name not in {f.name for f in fresh})
    cases = (*fresh, replace(taught, label=None, subject=fresh[0].subject))
    left, _ = unseen(model, replace(cohort, cases=cases), Silent())
    assert [c.name for c in left] == [c.name for c in fresh[1:]]


def test_what_cannot_be_calibrated_is_refused_before_anything_is_predicted(trained, more, tmp_path, monkeypatch):
    monkeypatch.setattr(HeldOut, "predict", lambda *_, **__: pytest.fail("predicted"))
    with pytest.raises(UsageError, match="coverage 2"):
        calibrate(trained, more, tmp_path / "out", coverage=2)
    shutil.copytree(more, tmp_path / "cohort")
    path = Path(str(next(c for c in Cohort.open(tmp_path / "cohort").cases if c.name == "s5").label))
    whole = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(whole.dataobj)[1:], whole.affine), path)
    with pytest.raises(DataError, match="s5: its mask"):
        calibrate(trained, tmp_path / "cohort", tmp_path / "out")
    scan = np.arange(whole.shape[0] * whole.shape[1] * whole.shape[2], dtype=np.int16).reshape(whole.shape)
    nib.save(nib.Nifti1Image(scan, whole.affine), path)
    with pytest.raises(DataError, match=r"s5: its mask .* different values.* Are image and mask exchanged\?"):
        calibrate(trained, tmp_path / "cohort", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_all_cases_that_do_not_fit_are_told_before_any_is_predicted(trained, more, tmp_path, monkeypatch):
    monkeypatch.setattr(HeldOut, "predict", lambda *_, **__: pytest.fail("predicted"))
    folder = tmp_path / "cohort"
    shutil.copytree(more, folder)
    for name in ("s4", "s5"):
        (folder / f"{name}_flair.nii.gz").write_text("text")
    with pytest.raises(DataError) as caught:
        calibrate(trained, folder, tmp_path / "out")
    first, *lines, last = str(caught.value).splitlines()
    assert first == "2 of 3 cases cannot be measured, so nothing was:"  # of the other three the model learned
    assert [Path(line.strip().split(":")[0]).name for line in lines] == ["s4_flair.nii.gz", "s5_flair.nii.gz"]
    assert last == f"  striate check {folder} shows every problem of files."
    shutil.copy(more / "s5_flair.nii.gz", folder / "s5_flair.nii.gz")
    with pytest.raises(DataError) as single:
        calibrate(trained, folder, tmp_path / "out")
    assert str(single.value) == lines[0].strip() and not (tmp_path / "out").exists()


def test_labels_that_mean_something_else_are_refused(trained, more):
    model, cohort = striate.Model.open(trained), Cohort.open(more)
    with pytest.raises(DataError, match="'lesion' is the value 2"):
        check_labels(model, replace(cohort, label_names={1: "csf", 2: "Lesion"}), Silent())
    listener = Silent()
    check_labels(model, replace(cohort, label_names={1: "plaque"}), listener)
    assert "'plaque' there and 'lesion' for the model" in listener.warnings[0]


def test_broken_limits_are_made_anew(trained, more, tmp_path):
    shutil.copytree(trained / "model", tmp_path / "model")
    (tmp_path / "model" / "trust.json").write_text('{"kind": "striate-tr')
    with pytest.raises(ModelError, match="Make it anew"):
        predict(tmp_path / "model", more / "s1_flair.nii.gz", tmp_path / "out")
    listener = Silent()
    done = calibrate(tmp_path / "model", more, tmp_path / "new", progress=listener)
    assert done.trust.training.gate is None and any("They are made anew" in text for text in listener.warnings)
    assert Trust.read(done.model.folder, done.model.facts["weights_sha256"]).n_subjects == 3


def test_limits_that_rest_on_fewer_subjects_are_warned_of(calibrated):
    done, listener = calibrated
    assert not any("rest on" in text for text in listener.warnings)
    twelve, two, one = (replace(done.trust, n_subjects=n) for n in (12, 2, 1))
    fewer = Silent()
    for now, before in ((two, None), (two, two), (twelve, two), (two, twelve), (one, None)):
        _tell(now, before, fewer)
    few, alone = fewer.warnings
    assert few.startswith("These limits rest on 2 subjects, those before on 12;")
    assert alone.startswith("These limits rest on 1 subject; the fewer")


def test_mirrored_copies_need_axes(trained):
    model = striate.Model.open(trained)
    with pytest.raises(UsageError, match="mirror_axes is \\(\\)"):
        open_uncertain(model, "tta")


def test_the_whole_cohort_learned_is_refused(trained, tiny_cohort, tmp_path):
    path = shutil.copytree(tiny_cohort, tmp_path / "cohort") / "cohort.csv"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([rows[0], rows[1], rows[3]]) + "\n")
    with pytest.raises(DataError, match="learned from the subjects of all 2 cases"):
        calibrate(trained, path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_cohort_without_masks_is_refused(trained, tiny_cohort, tmp_path):
    path = tmp_path / "unlabelled.csv"
    path.write_text(f"subject,flair\ns1,{tiny_cohort / 's1_flair.nii.gz'}\n")
    with pytest.raises(DataError, match="1 case without a mask"):
        calibrate(trained, path, tmp_path / "out")


def test_limits_of_other_weights_are_refused(calibrated, trained, tiny_cohort, tmp_path):
    shutil.copytree(trained / "model", tmp_path / "model")
    trust = replace(Trust.read(tmp_path / "model"), weights_sha256="00" * 32)
    trust.write(tmp_path / "model")
    with pytest.raises(ModelError, match="made for weights 000000000000"):
        predict(tmp_path / "model", tiny_cohort / "s1_flair.nii.gz", tmp_path / "out")
    assert Cohort.open(tiny_cohort).cases


def test_snapshots_of_a_training_answer_as_an_ensemble(tiny_cohort, tiny_plan, tmp_path):
    tiny_plan(steps=20, snapshots=2, ema=0.5).write(tmp_path / "plan.yaml")
    done = train(tiny_cohort, out=tmp_path / "run", plan=tmp_path / "plan.yaml", holdout=["s1"])
    names = sorted(p.name for p in (done.folder / "model" / "snapshots").iterdir())
    assert names == ["01.safetensors", "02.safetensors"]
    first, second = ((done.folder / "snapshots" / name).read_bytes() for name in names)
    assert first != second != (done.folder / "model" / "weights.safetensors").read_bytes()
    (told,) = predict(done.folder, tiny_cohort / "s1_flair.nii.gz", tmp_path / "out", uncertainty="ensemble")
    assert told.facts["engine"] == "ensemble"
    again = calibrate(done.folder, tiny_cohort, tmp_path / "calibrated", uncertainty="ensemble")
    assert len(list((again.model.folder / "snapshots").iterdir())) == 2
    assert again.trust.holds_for({"uncertainty": "ensemble", "crf": False})


@pytest.mark.parametrize("holds", [True, False])
def test_maps_of_uncertainty_are_calibrated_only_where_the_calibration_holds(
    trained, tiny_cohort, tmp_path, monkeypatch, holds
):
    given, raw = [], []

    def told(prediction, trust):
        given.append(trust)
        raw.append(error_probability(prediction, None))
        return error_probability(prediction, trust)

    monkeypatch.setattr("striate.workflows.predict_masks.error_probability", told)
    others = [] if holds else [trained]
    predict(trained, tiny_cohort / "s1_flair.nii.gz", tmp_path / "out", ensemble=others, save_uncertainty=True)
    assert [trust is not None for trust in given] == [holds]
    (path,) = (tmp_path / "out" / "uncertainty").iterdir()
    assert np.array_equal(np.asarray(nib.load(path).dataobj), raw[0]) is not holds
    limits = Record.read(tmp_path / "out" / "record.json").facts["limits"]
    assert any("uncertainty maps are of raw probabilities" in text for text in limits) is not holds
