"""The limits of a classifier through the verbs: train, predict, calibrate; tiny pictures and networks."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from scipy.optimize import minimize_scalar

from striate.cli.main import run
from striate.core.errors import DataError, FormatError, ModelError, UsageError
from striate.data.prepare import Preparation
from striate.measure.class_findings import COLUMNS, ClassFindings
from striate.measure.class_table import ClassTable
from striate.measure.classification import ClassEvaluation
from striate.model.model import Model
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training
from striate.trust.class_trust import ClassTrust
from striate.workflows import calibrate_classes
from striate.workflows.calibrate import calibrate
from striate.workflows.predict import predict
from striate.workflows.train import train

SIZE, CLASSES, SUBJECTS = 48, ("left", "right"), 52


def picture(path: Path, kind: str, seed: int, contrast: int = 40) -> None:
    """Write noise, a little brighter on the left or the right half, in a dark frame."""
    array = np.zeros((SIZE, SIZE), np.uint8)
    inner = np.random.default_rng(seed).integers(60, 160, (SIZE - 8, SIZE - 8)).astype(np.uint8)
    half = slice(0, SIZE // 2 - 4) if kind == "left" else slice(SIZE // 2 - 4, SIZE)
    inner[:, half] += contrast
    array[4:-4, 4:-4] = inner
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(array).save(path)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("limits") / "pictures"
    for n in range(SUBJECTS):
        picture(root / CLASSES[n % 2] / f"p{n:02d}.png", CLASSES[n % 2], n)
    return root


@pytest.fixture(scope="module")
def finished(cohort, tmp_path_factory):
    """A run with 30 pictures to learn from and 22 held out."""
    folder = tmp_path_factory.mktemp("run")
    plan = Plan(
        task=Task(kind="classification", channels=("image",), classes=CLASSES),
        preparation=Preparation(spacing_mm=(1.0, 1.0), normalisation=("rescale",), intensities=(None,), crop=False),
        network=NetworkChoice(name="mlp", spatial_dims=2, options={"input_size": (SIZE, SIZE)}),
        training=Training(patch=(SIZE, SIZE), batch=8, steps=12, loss="cross_entropy", workers=0, ema=0.5, learning_rate=0.01),
        inference=Inference(patch=(SIZE, SIZE), overlap=0),
    )  # fmt: skip
    plan.write(folder / "plan.yaml")
    return train(cohort, out=folder / "run", plan=folder / "plan.yaml", holdout=[f"p{n:02d}" for n in range(30, 52)])


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> Path:
    """Twelve pictures that nobody learned from, in a cohort of their own."""
    root = tmp_path_factory.mktemp("others") / "pictures"
    for n in range(12):
        picture(root / CLASSES[n % 2] / f"q{n:02d}.png", CLASSES[n % 2], 900 + n)
    return root


def test_a_run_ends_with_the_limits_of_its_classifier(finished):
    trust = ClassTrust.read(finished.model.folder)
    found, sets = trust.calibration, trust.sets
    assert trust.classes == CLASSES and found.n_subjects == 22 and trust.training.n_subjects == 30
    assert found.n_present == {"left": 11, "right": 11} and found.after is not None
    table = ClassTable.read(finished.folder / "validation")
    assert found.before.accuracy == pytest.approx(finished.evaluation.summary["overall"]["accuracy"].value)
    assert found.before.ece == pytest.approx(finished.evaluation.summary["overall"]["ece"].value)
    assert sets.reach is not None and sets.held is not None and sets.n_subjects == 22
    findings = ClassFindings.read(finished.folder / "validation")
    assert findings.calibrated_on == 22 and findings.coverage == 0.9 and len(findings.cases) == 22
    said = np.array([list(case.samples[0].probabilities.values()) for case in findings.cases])
    assert said == pytest.approx(found.curve.of(table.probabilities))
    assert not np.isclose(said, table.probabilities).all() or found.curve.family == "identity"
    if found.curve.temperature is not None:  # the same by another way: one number, minimised on what is on disk
        hot = np.array([[name in truth for name in CLASSES] for truth in table.truth])
        aim, logs = np.where(hot, 23 / 24, 1 / 24), np.log(table.probabilities)

        def loss(scale):
            scores = scale * logs
            return -(aim * (scores - np.log(np.exp(scores).sum(1, keepdims=True)))).sum()

        assert 1 / found.curve.temperature == pytest.approx(
            minimize_scalar(loss, bounds=(1e-3, 50), method="bounded").x, rel=1e-3
        )
    card = (finished.model.folder / "card.md").read_text()
    assert "Calibration of the classes" in card and "22 subjects" in card and "Sets of classes for 90 %" in card


def test_predict_tells_probabilities_sets_and_who_needs_review(finished, others, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["predict", str(finished.folder), str(others), "--out", str(out)]) == 0
    told = capsys.readouterr().err
    assert "calibrated on 22 subjects" in told and "set for 90 %" in told and "uncalibrated" not in told
    findings, trust = ClassFindings.read(out), ClassTrust.read(finished.model.folder)
    table = ClassTable.read(out)
    assert [c.case for c in findings.cases] == list(table.cases)
    for case, raw in zip(findings.cases, table.probabilities, strict=True):
        (one,) = case.samples
        expected = trust.calibration.curve.of(raw[None])[0]
        assert list(one.probabilities.values()) == pytest.approx(expected)
        assert one.called == (CLASSES[int(expected.argmax())],) and one.called[0] in one.set
        assert one.set == tuple(
            n for n, p in one.probabilities.items() if 1 - p <= trust.sets.reach or n == one.called[0]
        )
        outside = case.ood.outside or any(c.code == "motion" for c in case.warnings)
        assert case.review.needed == (len(one.set) != 1 or outside) and case.review.reason
    with (out / "findings.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [*COLUMNS, "calibrated_left", "calibrated_right"]
    assert [float(row["calibrated_left"]) for row in rows] == [
        c.samples[0].probabilities["left"] for c in findings.cases
    ]
    assert {row["review"] for row in rows} <= {"yes", "no"}
    record = json.loads((out / "record.json").read_text())
    assert record["facts"]["limits"] == trust.limits and "findings.json" in record["outputs"]


def test_evaluate_measures_what_predict_told(finished, others, tmp_path, capsys):
    out = Path(shutil.copytree(finished.folder, tmp_path / "run")) / "predictions"
    predict(finished.folder, others, out)
    assert run(["evaluate", str(out), str(others), "--out", str(tmp_path / "kept.json")]) == 0
    told, found = capsys.readouterr().err, ClassEvaluation.read(tmp_path / "kept.json").limits
    assert "calibrated on 22 subjects" in told and "Sets for 90 %" in told
    cases = ClassFindings.read(out).cases
    truth = {case: names[0] for case, names in zip(ClassTable.read(out).cases, ClassTable.read(out).truth, strict=True)}
    held = [truth[case.case] in case.samples[0].set for case in cases]
    assert found["sets"]["held"] == pytest.approx(np.mean(held))
    assert found["sets"]["size"] == pytest.approx(np.mean([len(case.samples[0].set) for case in cases]))
    wrong = [(np.array([p, 1 - p]) - (truth[c.case] == "left", truth[c.case] == "right")) for c in cases
             for p in [c.samples[0].probabilities["left"]]]  # fmt: skip
    assert found["calibrated"]["brier"] == pytest.approx(np.mean([(row**2).sum() for row in wrong]))
    assert found["n_subjects"] == 12
    assert run(["evaluate", str(finished.folder), str(others.parent / "pictures")]) != 0  # of a run: no case is shared
    capsys.readouterr()


def test_of_a_run_nothing_is_claimed_on_the_cases_that_its_limits_were_fitted_to(finished, cohort, capsys):
    assert run(["evaluate", str(finished.folder), str(cohort), "--json"]) == 0
    assert "limits" not in json.loads(capsys.readouterr().out)


def test_an_image_unlike_the_training_images_is_told(finished, tmp_path):
    y, x = np.mgrid[:SIZE, :SIZE]
    Picture.fromarray(((x * 5 + y * 3) % 256).astype(np.uint8)).save(tmp_path / "odd.png")
    predict(finished.folder, tmp_path / "odd.png", tmp_path / "out")
    (case,) = ClassFindings.read(tmp_path / "out").cases
    assert case.ood.outside and case.review.needed and "unlike the 30 training subjects" in case.review.reason
    assert "unlike-training" in [caution.code for caution in case.warnings]


def test_calibrate_measures_on_other_cases_and_keeps_the_gate(finished, others, tmp_path, capsys):
    out = tmp_path / "new"
    assert run(["calibrate", str(finished.folder), str(others), "--out", str(out)]) == 0
    told = capsys.readouterr().err
    assert "class-wise ECE" in told and "12 samples of 12 subjects" in told
    before, after = ClassTrust.read(finished.model.folder), ClassTrust.read(out / "model")
    assert after.calibration.n_subjects == after.sets.n_subjects == 12 and after.training.n_subjects == 30
    assert after.training.gate.to_dict() == before.training.gate.to_dict()
    assert after.training.likeness.threshold == before.training.likeness.threshold
    assert (out / "model" / "weights.safetensors").read_bytes() == (
        finished.model.folder / "weights.safetensors"
    ).read_bytes()
    assert ClassEvaluation.read(out / "validation").subjects == 12
    assert all(case.ood is not None for case in ClassFindings.read(out / "validation").cases)
    record = json.loads((out / "record.json").read_text())
    assert record["verb"] == "calibrate" and len(record["inputs"]) == 12
    assert Model.open(out).facts["validation_is_unseen"] and (out / "report.html").exists()


def test_what_the_model_learned_from_calibrates_nothing(finished, cohort, tmp_path):
    found = calibrate(finished.folder, cohort, tmp_path / "new")
    assert found.trust.calibration.n_subjects == 22  # 30 of the 52 taught it


def test_few_subjects_give_probabilities_and_no_sets(finished, others, tmp_path, capsys):
    for name in ("q00", "q01", "q02", "q03"):
        (tmp_path / "few" / CLASSES[int(name[2]) % 2]).mkdir(parents=True, exist_ok=True)
        kind = CLASSES[int(name[1:]) % 2]
        shutil.copy(others / kind / f"{name}.png", tmp_path / "few" / kind / f"{name}.png")
    found = calibrate(finished.folder, tmp_path / "few", tmp_path / "new")
    assert found.trust.sets.reach is None and any("9 are needed" in text for text in found.trust.limits)
    predict(tmp_path / "new", others, tmp_path / "out")
    for case in ClassFindings.read(tmp_path / "out").cases:
        assert case.samples[0].probabilities is not None and case.samples[0].set is None
        assert (case.review is not None and case.review.needed) == case.ood.outside


def test_an_image_that_shows_nothing_needs_review(finished, tmp_path, capsys):
    Picture.fromarray(np.full((SIZE, SIZE), 90, np.uint8)).save(tmp_path / "grey.png")
    assert run(["predict", str(finished.folder), str(tmp_path / "grey.png"), "--out", str(tmp_path / "out")]) == 0
    assert "the image is constant" in capsys.readouterr().err
    (case,) = ClassFindings.read(tmp_path / "out").cases
    assert case.review.needed and "constant-image" in [caution.code for caution in case.warnings]


def test_a_model_without_limits_says_uncalibrated(finished, others, tmp_path, capsys):
    shutil.copytree(finished.model.folder, tmp_path / "model")
    (tmp_path / "model" / "trust.json").unlink()
    assert run(["predict", str(tmp_path / "model"), str(others), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().err
    assert "Probabilities of the classes, uncalibrated:" in told and "striate calibrate" in told
    assert not (tmp_path / "out" / "findings.json").exists()


def test_all_pictures_that_do_not_fit_are_told_before_any_is_predicted(finished, others, tmp_path, monkeypatch):
    monkeypatch.setattr(calibrate_classes, "predict_whole", lambda *_, **__: pytest.fail("predicted"))
    folder = tmp_path / "pictures"
    shutil.copytree(others, folder)
    bad = [folder / CLASSES[0] / "q02.png", folder / CLASSES[1] / "q07.png"]
    for path in bad:
        path.write_text("text")
    with pytest.raises(DataError) as caught:
        calibrate(finished.folder, folder, tmp_path / "new")
    first, *lines, last = str(caught.value).splitlines()
    assert first == "2 of 12 cases cannot be measured, so nothing was:"
    assert [path.name in line for path, line in zip(bad, lines, strict=True)] == [True, True]
    assert last == f"  striate check {folder} shows every problem of files."
    shutil.copy(others / CLASSES[1] / "q07.png", bad[1])
    with pytest.raises(DataError) as single:
        calibrate(finished.folder, folder, tmp_path / "new")
    assert str(single.value) == lines[0].strip() and not (tmp_path / "new").exists()


@pytest.mark.parametrize("option", [{"uncertainty": "tta"}, {"crf": True}, {"int8": True}], ids=str)
def test_options_of_masks_are_refused(finished, others, tmp_path, option):
    with pytest.raises(UsageError, match="only models that draw masks"):
        calibrate(finished.folder, others, tmp_path / "new", **option)


def test_cohorts_and_documents_that_fit_not_are_refused(finished, others, tmp_path):
    for n in range(4):
        picture(tmp_path / "strange" / ("up", "down")[n % 2] / f"s{n}.png", "left", n)
    with pytest.raises(DataError, match="no case with a class that the model knows"):
        calibrate(finished.folder, tmp_path / "strange", tmp_path / "new")
    with pytest.raises(UsageError, match=r"coverage 1\.5"):
        calibrate(finished.folder, others, tmp_path / "new", coverage=1.5)
    assert not (tmp_path / "new").exists()
    trust = ClassTrust.read(finished.model.folder)
    with pytest.raises(ModelError, match="limits of these weights"):
        ClassTrust.read(finished.model.folder, "0" * 64)
    curve = replace(trust.calibration.curve, scales=(1.0,))
    replace(trust, calibration=replace(trust.calibration, curve=curve)).write(tmp_path)
    with pytest.raises(ModelError, match="not readable as striate-class-trust"):
        ClassTrust.read(tmp_path)
    (tmp_path / "findings.json").write_text('{"kind": "striate-class-findings", "schema_version": 1, "cases": [{}]}')
    with pytest.raises(FormatError, match="not readable as striate-class-findings"):
        ClassFindings.read(tmp_path)
