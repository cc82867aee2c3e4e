"""Verbs on models of whole images, as they are typed: what is shown, and the same as one JSON document."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from striate import networks
from striate.cli.main import run
from striate.cli.train import show_finished
from striate.data.prepare import Preparation
from striate.measure.reconstruction import ReconstructionEvaluation
from striate.model.model import Model
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training
from striate.workflows.finish import Finished

SIZE = (28, 28)
NETWORKS = {"classification": ("mlp", {"hidden": [4]}), "reconstruction": ("autoencoder", {"features": [4, 8]})}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    """A folder per class, two pictures in each."""
    root = tmp_path_factory.mktemp("whole") / "pictures"
    rng = np.random.default_rng(0)
    for n in range(4):
        path = root / ("left", "right")[n % 2] / f"p{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(rng.integers(0, 255, SIZE).astype(np.uint8)).save(path)
    return root


def plan_of(kind) -> Plan:
    name, options = NETWORKS[kind]
    classes = {} if kind == "reconstruction" else {"classes": ("left", "right")}
    return Plan(
        task=Task(kind=kind, channels=("image",), **classes),
        preparation=Preparation(spacing_mm=(1, 1), normalisation=("rescale",), intensities=(None,), crop=False),
        network=NetworkChoice(name=name, spatial_dims=2, options=networks.sized(name, SIZE, options)),
        training=Training(
            patch=SIZE, batch=2, steps=2, workers=0, loss="squared" if kind == "reconstruction" else "cross_entropy"
        ),
        inference=Inference(patch=SIZE, overlap=0),
    )


def model(folder: Path, kind) -> str:
    """Save a model with weights as they are drawn."""
    plan, (name, _) = plan_of(kind), NETWORKS[kind]
    torch.manual_seed(0)
    outputs = plan.task.outputs.out_channels
    network = networks.create(name, spatial_dims=2, out_channels=outputs, **plan.network.options)
    usual = {"anomaly": {"mean": [0.5], "std": [0.2], "smoothing_voxels": 1.0}} if kind == "reconstruction" else {}
    return str(Model.save(folder, plan, network.state_dict(), usual).folder)


def reconstructed(told: str) -> dict[str, tuple[float, int]]:
    """Return measure → (mean, n) as it is shown."""
    lines = re.findall(r"^image ([\w ]+): (\S+)(?: \(95 % \S+ … \S+\))?, n (\d+)$", told, flags=re.MULTILINE)
    return {name: (float(mean), int(n)) for name, mean, n in lines}


@pytest.mark.parametrize("verb", [["check"], ["plan", "--network", "mlp", "--steps", "2"]], ids=lambda v: v[0])
def test_what_was_understood_is_said(cohort, capsys, verb):
    assert run([verb[0], str(cohort), *verb[1:]]) == 0
    told = capsys.readouterr().err
    assert "a folder per class: left (2), right (2)" in told and "a subject of its own" in told


@pytest.mark.parametrize(
    "verb", [["plan", "--network", "mlp"], ["compare", "--networks", "mlp", "--dry-run"]], ids=lambda v: v[0]
)
def test_a_class_of_one_subject_is_told_as_a_warning(cohort, tmp_path, capsys, monkeypatch, verb):
    """Not as Python shows it, with the line of code that said it."""
    shutil.copytree(cohort, tmp_path / "three")
    (tmp_path / "three" / "rare").mkdir()
    shutil.copy(cohort / "left" / "p0.png", tmp_path / "three" / "rare" / "p9.png")
    monkeypatch.chdir(tmp_path)
    assert run([verb[0], "three", *verb[1:], "--steps", "2"]) == 0
    told = capsys.readouterr().err
    assert len(re.findall("^warning: class 'rare' is in no case for", told, flags=re.MULTILINE)) == 1
    assert "RuntimeWarning" not in told and ".py" not in told


def test_a_comparison_of_nothing_is_refused(cohort, tmp_path, capsys):
    assert run(["compare", str(cohort), "--networks", "", "--out", str(tmp_path / "new")]) == 2
    assert "networks: none is given" in capsys.readouterr().err


def test_a_model_that_nothing_was_held_out_for_says_so(tmp_path, capsys):
    saved = Model.open(model(tmp_path / "run" / "model", "classification"))
    show_finished(Finished(tmp_path / "run", saved, None, tmp_path / "report.html", 0.0, 2, {}), as_json=False)
    assert "No case was held out, so nothing is known of how good the model is." in capsys.readouterr().err


def test_predict_and_evaluate_reconstructions(cohort, tmp_path, capsys):
    given, out = model(tmp_path / "model", "reconstruction"), tmp_path / "out"
    assert run(["predict", given, str(cohort), "--out", str(out)]) == 0
    told = capsys.readouterr()
    summary = ReconstructionEvaluation.read(out).summary["image"]
    shown = {m.replace("_", " "): (pytest.approx(s.mean, rel=5e-3), 4) for m, s in summary.items()}
    assert told.out == "" and reconstructed(told.err) == shown and len(shown) == 4
    assert "striate report" in told.err
    assert run(["predict", given, str(cohort), "--out", str(tmp_path / "again"), "--json"]) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert told.err == "" and document["summary"]["image"]["mse"] == summary["mse"].to_dict()
    assert document["duration_s"] > 0 and document["peak_rss_bytes"] > 0
    assert run(["evaluate", str(out), str(cohort)]) == 0
    told = capsys.readouterr().err
    assert reconstructed(told) == shown and "is not read" in told
    assert run(["evaluate", str(out), str(cohort), "--json", "--out", str(tmp_path / "kept.json")]) == 0
    assert json.loads(capsys.readouterr().out) == ReconstructionEvaluation.read(out).to_dict()
    assert ReconstructionEvaluation.read(tmp_path / "kept.json") == ReconstructionEvaluation.read(out)


def test_predict_and_evaluate_classes(cohort, tmp_path, capsys):
    given, out = model(tmp_path / "model", "classification"), tmp_path / "out of it"
    assert run(["predict", given, str(cohort), "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert f"Look at it: striate report '{out}'" in told.err
    assert told.out == "" and re.search(r"classes, uncalibrated:\n +case +slice +predicted +left +right", told.err)
    assert all(re.search(rf"p{n} +– +(left|right) +0\.\d+ +0\.\d+", told.err) for n in range(4))
    assert f"4 rows in {out / 'predictions.csv'}" in told.err
    assert run(["predict", given, str(cohort), "--out", str(tmp_path / "again"), "--json"]) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert told.err == "" and {c["case"] for c in document["cases"]} == {f"p{n}" for n in range(4)}
    assert all(sum(c["probabilities"].values()) == pytest.approx(1) for c in document["cases"])
    assert run(["evaluate", str(out), str(cohort)]) == 0
    assert "4 samples of 4 subjects" in capsys.readouterr().err
    record = json.loads((out / "record.json").read_text())
    record["facts"]["trained_on"] = ["p0"]
    (out / "record.json").write_text(json.dumps(record))
    assert run(["evaluate", str(out), str(cohort)]) == 0
    assert capsys.readouterr().err.count("the model learned from 1 of 4 cases") == 1


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(
    ("option", "value"),
    [("--regions", "all=1"), ("--min-overlap", "0.5"), ("--min-lesion-ml", "1"), ("--out", "table.csv")],
)
def test_options_of_masks_are_refused_where_there_are_none(cohort, tmp_path, capsys, kind, option, value):
    out = tmp_path / "out"
    assert run(["predict", model(tmp_path / "model", kind), str(cohort), "--out", str(out)]) == 0
    capsys.readouterr()
    assert run(["evaluate", str(out), str(cohort), option, value]) == 2
    told = capsys.readouterr().err
    assert option in told and "masks" in told and not Path("table.csv").exists()


@pytest.mark.parametrize("verb", [["plan"], ["train"], ["compare", "--networks", "mlp"]], ids=lambda v: v[0])
@pytest.mark.parametrize("option", [["--dims", "2"], ["--regions", "all=1"]], ids=lambda o: o[0])
def test_what_only_masks_can_be_learned_with_is_refused(cohort, tmp_path, capsys, monkeypatch, verb, option):
    monkeypatch.chdir(tmp_path)
    assert run([verb[0], str(cohort), *verb[1:], "--steps", "1", *option]) == 2
    assert f"{option[0][2:]} {option[1]}: " in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_train_shows_how_well_it_reconstructs(cohort, tmp_path, capsys):
    plan_of("reconstruction").write(tmp_path / "plan.yaml")
    arguments = [
        "--plan",
        str(tmp_path / "plan.yaml"),
        "--out",
        str(tmp_path / "run"),
        "--holdout",
        "p0",
        "--holdout",
        "p1",
    ]
    assert run(["train", str(cohort), *arguments]) == 0
    told = reconstructed(capsys.readouterr().err)
    assert told["mse"][1] == 2 and told["mse"][0] > 0 and {"mae", "psnr db", "ssim"} <= told.keys()


def test_too_little_memory_is_told_in_images(cohort, tmp_path, capsys):
    plan_of("reconstruction").write(tmp_path / "plan.yaml")
    out = tmp_path / "run"
    assert run(["train", str(cohort), "--plan", str(tmp_path / "plan.yaml"), "--out", str(out), "--memory", "50M"]) == 5
    assert "(now 2 images of 28×28 voxels)" in capsys.readouterr().err and not out.exists()
