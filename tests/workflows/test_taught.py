"""Cases that a model learned from: told where they are predicted, and where they are measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import striate
import striate.io.read
from striate.cli.main import run as command
from striate.core.files import hash_file
from striate.core.progress import Silent
from striate.measure.evaluation import Evaluation
from striate.model.model import Model
from striate.workflows import predict_masks
from striate.workflows.taught import CODE, caution_of


@pytest.fixture(scope="module")
def trained(tiny_cohort, tiny_plan, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("taught")
    tiny_plan(steps=2).write(folder / "plan.yaml")
    return striate.train(tiny_cohort, out=folder / "run", plan=folder / "plan.yaml", holdout=["s1"]).folder


@pytest.fixture(scope="module")
def predicted(trained, tiny_cohort, tmp_path_factory) -> tuple[Path, Silent]:
    listener, out = Silent(), tmp_path_factory.mktemp("predicted") / "out"
    striate.predict(trained, tiny_cohort, out, engine="torch", progress=listener)
    return out, listener


def of(out: Path) -> list[str]:
    document = json.loads((out / "findings.json").read_text())
    return [c["case"] for c in document["cases"] if CODE in [w["code"] for w in c["warnings"]]]


def test_prediction_warns_of_each_case_that_was_learned_from(trained, predicted):
    out, listener = predicted
    split = json.loads((trained / "split.json").read_text())
    assert of(out) == sorted(split["train"]) and len(of(out)) == 3
    record = json.loads((out / "record.json").read_text())
    assert record["facts"]["trained_on"] == of(out)
    lines = [text for text in listener.warnings if "learned from this very image (flair)" in text]
    assert [text.split(":")[0] for text in lines] == [f"case {name}" for name in of(out)]
    assert set(lines) <= set(record["warnings"])


def test_images_are_recognised_by_what_is_in_them(trained, tiny_cohort, tmp_path):
    images = sorted(tiny_cohort.rglob("s2_flair*"))
    renamed = tmp_path / "anybody.nii.gz"
    shutil.copy(images[0], renamed)
    striate.predict(trained, renamed, tmp_path / "out", engine="torch")
    assert of(tmp_path / "out") == ["anybody"]


def test_every_image_is_hashed_once(trained, tiny_cohort, tmp_path, monkeypatch):
    read = []
    for place in (predict_masks, striate.io.read):
        monkeypatch.setattr(place, "hash_file", lambda path: read.append(Path(path)) or hash_file(path))
    striate.predict(trained, tiny_cohort, tmp_path / "out", engine="torch")
    images = [path for path in read if tiny_cohort in path.parents]
    assert len(images) == len(set(images)) == 4


def test_measures_say_how_many_cases_are_not_held_out(predicted, tiny_cohort, tmp_path, capsys):
    out, _ = predicted
    sentence = "the model learned from 3 of 4 cases (s0, s2, s3), so the figures are not of held-out cases alone"
    assert command(["evaluate", str(out), str(tiny_cohort), "--out", str(tmp_path / "evaluation.json")]) == 0
    assert f"warning: {sentence}" in capsys.readouterr().err
    found = Evaluation.read(tmp_path / "evaluation.json")
    assert found.trained_on == ("s0", "s2", "s3")
    assert any(note.startswith(sentence) for note in found.notes)
    assert command(["evaluate", str(out), str(tiny_cohort), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trained_on"] == ["s0", "s2", "s3"]
    reported = tmp_path / "reported"
    shutil.copytree(out, reported)
    shutil.copy(tmp_path / "evaluation.json", reported)
    assert sentence in striate.report(reported).read_text()


def test_held_out_cases_are_measured_without_a_word(trained, tiny_cohort, tmp_path):
    images = [c.channels["flair"] for c in striate.Cohort.open(tiny_cohort).cases if c.name == "s1"]
    listener = Silent()
    striate.predict(trained, images, tmp_path / "out", engine="torch", progress=listener)
    assert of(tmp_path / "out") == []
    assert "trained_on" not in json.loads((tmp_path / "out" / "record.json").read_text())["facts"]
    assert "trained_on" not in striate.evaluate(trained / "validation", tiny_cohort).to_dict()


def test_a_model_that_does_not_say_what_it_learned_from(trained, tiny_cohort, tmp_path):
    model = Model.open(trained)
    facts = {k: v for k, v in model.facts.items() if k != "training_images"}
    case = striate.Cohort.open(tiny_cohort).cases[0]
    other = Model.save(tmp_path / "model", model.plan, model.network().state_dict(), facts)
    striate.predict(other, case.channels["flair"], tmp_path / "out", engine="torch")
    assert of(tmp_path / "out") == []
    assert caution_of(case, {f"{case.name}/flair": "a"}, {"b"}) is None
