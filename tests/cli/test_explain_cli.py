"""``striate explain`` as a user meets it: a table of checks or one JSON document, and sentences."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from striate import networks
from striate.cli.main import run
from striate.core.image import Image
from striate.data.prepare import Preparation
from striate.io.write import write_image
from striate.model.model import Model
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A model of one label that finds it in half of the voxels, and a scan."""
    root = tmp_path_factory.mktemp("explain_cli")
    plan = Plan(
        task=Task(channels=("flair",), label_names={1: "lesion"}, regions={"lesion": (1,)}),
        preparation=Preparation(spacing_mm=(1.0,) * 3, normalisation=("zscore",), intensities=(None,)),
        network=NetworkChoice(name="small_unet", spatial_dims=3, options={"features": [4, 8]}),
        training=Training(patch=(16, 16, 16), batch=1, steps=1),
        inference=Inference(patch=(16, 16, 16)),
    )
    torch.manual_seed(0)
    network = networks.create("small_unet", spatial_dims=3, in_channels=1, out_channels=1, features=[4, 8])
    Model.save(root / "model", plan, network.state_dict(), {})
    image = np.random.default_rng(0).normal(100, 20, (1, 14, 14, 12)).astype(np.float32)
    write_image(root / "s1.nii.gz", Image(image, np.diag([-1.0, 1, 1, 1])))
    return str(root / "model"), str(root / "s1.nii.gz")


def test_the_table_shows_every_check_and_the_report_is_named(given, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("striate.workflows.explain.PATIENCE_S", 0.0)
    out = tmp_path / "out"
    assert run(["explain", *given, "--out", str(out), "--method", "grad_cam", "--method", "gradient_input"]) == 0
    told = capsys.readouterr()
    document = json.loads((out / "explanations.json").read_text())
    assert told.out == ""
    assert "random weights  faithfulness  inside" in told.err and "passes through the network" in told.err
    for row in document["explanations"]:
        words = [{True: "passed", False: "FAILED"}[c["passed"]] for c in row["checks"]]
        line = next(text for text in told.err.splitlines() if text.startswith("  s1 ") and f" {row['method']} " in text)
        assert line.split()[-3:] == words
    failed = sum(not row["passed"] for row in document["explanations"])
    assert (f"{failed} of 2 maps failed a check and should not be trusted" in told.err) == (failed > 0)
    assert f"Look at it: {out / 'report.html'}" in told.err and (out / "report.html").exists()


def test_json_prints_one_document(given, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("striate.workflows.explain.PATIENCE_S", 0.0)
    out = tmp_path / "out"
    assert run(["explain", *given, "--out", str(out), "--method", "grad_cam", "--json"]) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert told.err == "" and document["out"] == str(out)
    assert document["explanations"] == json.loads((out / "explanations.json").read_text())["explanations"]


def test_a_dry_run_tells_the_cost_and_writes_nothing(given, tmp_path, capsys):
    assert run(["explain", *given, "--method", "grad_cam", "--dry-run"]) == 0
    assert "nothing was written" in capsys.readouterr().err
    assert run(["explain", *given, "--method", "grad_cam", "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["seconds"] > 0 and document["cases"][0]["case"] == "s1"


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ([], 2, "no --out was given"),
        (["--out", "OUT", "--method", "shap"], 2, "unknown method 'shap'"),
        (["--out", "OUT", "--label", "liver"], 2, "unknown label 'liver'"),
        (["--out", "OUT", "--lesion", "1000"], 2, "--lesion 1000"),
        (["--out", "OUT", "--budget", "soon"], 2, "duration 'soon'"),
        (["--out", "OUT", "--budget", "0.001s"], 5, "--budget"),
    ],
)
def test_mistakes_are_sentences(given, tmp_path, capsys, options, code, sentence):
    out = tmp_path / "out"
    assert run(["explain", *given, *(str(out) if o == "OUT" else o for o in options)]) == code
    told = capsys.readouterr().err
    assert sentence in told and "Traceback" not in told and not out.exists()
