"""``striate export``: a folder that predicts without torch, and a file that other programs read."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from striate import networks
from striate.cli.main import run
from striate.core.image import Image
from striate.data.prepare import Preparation
from striate.io.read import read_label
from striate.io.write import write_image
from striate.model.model import EXPORTED, Model
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training

NOT_THERE = (
    "torch",
    "monai",
    "safetensors",
    "PIL",
    "tifffile",
    "pydicom",
    "highdicom",
    "jinja2",
    "matplotlib",
    "tensorboardX",
    "platformdirs",
)
"""Packages that docs/concepts/inference.md#export does not name for a machine without torch."""
WITHOUT_TORCH = f"import sys; sys.modules.update(dict.fromkeys({NOT_THERE})); from striate.cli.main import main; main()"


def model_in(folder):
    """Save a model of fixed weights."""
    options = {"features": [4, 8]}
    plan = Plan(
        task=Task(channels=("flair",), label_names={0: "background", 1: "core", 2: "oedema"}),
        preparation=Preparation(spacing_mm=(1.0,) * 3, normalisation=("zscore_nonzero",), intensities=(None,)),
        network=NetworkChoice(name="small_unet", spatial_dims=3, options=options),
        training=Training(patch=(16, 16, 16), batch=1, steps=1),
        inference=Inference(patch=(16, 16, 16), mirror_axes=(0,)),
    )
    torch.manual_seed(0)
    network = networks.create("small_unet", spatial_dims=3, in_channels=1, out_channels=3, **options)
    return Model.save(folder / "model", plan, network.state_dict(), {})


def scan_in(folder):
    array = np.zeros((1, 24, 20, 18), dtype=np.float32)
    array[:, 2:-2, 2:-2, 2:-2] = np.random.default_rng(0).normal(100, 20, (1, 20, 16, 14))
    write_image(folder / "scan.nii.gz", Image(array, np.eye(4)))
    return folder / "scan.nii.gz"


@pytest.fixture
def model(tmp_path):
    return model_in(tmp_path)


@pytest.fixture
def scan(tmp_path):
    return scan_in(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Export the model once in each form; returns the folder and what was told of it."""
    done = {}

    def make(form):
        if form not in done:
            folder, text = tmp_path_factory.mktemp(form), io.StringIO()
            given = ["export", str(model_in(folder).folder), "--image", str(scan_in(folder)), "--format", form]
            with contextlib.redirect_stderr(text):
                assert run([*given, "--out", str(folder / "exported")]) == 0
            done[form] = folder / "exported", text.getvalue()
        return done[form]

    return make


@pytest.fixture
def exported(made, tmp_path):
    """Copy what was exported, to be used and damaged; returns the folder and what was told when it was made."""

    def copied(form="openvino"):
        folder, told = made(form)
        return shutil.copytree(folder, tmp_path / "exported"), told

    return copied


def test_what_was_exported_predicts_without_torch(model, scan, exported, tmp_path):
    out, told = exported()
    assert "torch is not needed there" in told
    assert not list(out.rglob("*.safetensors")) and (out / EXPORTED / "network.xml").is_file()
    assert run(["predict", str(model.folder), str(scan), "--out", str(tmp_path / "first"), "--engine", "torch"]) == 0
    for options in ((), ("--tta", "--save-probabilities", "--save-uncertainty")):
        place = tmp_path / f"second{len(options)}"
        command = [sys.executable, "-c", WITHOUT_TORCH, "predict", str(out), str(scan), "--out", str(place), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    foreseen = [*command[:6], "--out", str(tmp_path / "third"), "--dry-run"]
    done = subprocess.run(foreseen, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = (read_label(tmp_path / name / "scan.nii.gz") for name in ("first", "second0"))
    assert first.grid.matches(second.grid) and (first.array == second.array).mean() > 0.97
    record = json.loads((tmp_path / "second0" / "record.json").read_text())
    assert record["facts"]["engine"]["name"] == "openvino" and "exported" in record["facts"]["engine"]["reason"]
    assert record["facts"]["weights_sha256"] == model.facts["weights_sha256"]


def test_an_exported_model_says_what_it_cannot_do(model, scan, tmp_path, capsys):
    out = tmp_path / "exported"
    assert run(["export", str(model.folder), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tiles"]["middle"]["same_decision"] > 0.97
    assert run(["predict", str(out), str(scan), "--out", str(tmp_path / "m"), "--engine", "torch"]) == 2
    assert "holds no weights; leave it away" in capsys.readouterr().err
    assert run(["explain", str(out), str(scan), "--out", str(tmp_path / "e")]) == 4
    assert "it was exported for OpenVINO" in capsys.readouterr().err
    assert run(["export", str(out), "--out", str(tmp_path / "again")]) == 4
    assert "it was exported for OpenVINO" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["exported", "model", "scan.nii.gz"]


def test_what_only_the_model_itself_can_do_names_that_model(scan, exported, tmp_path, capsys):
    out, never = exported()[0], tmp_path / "never"
    assert run(["predict", str(out), str(scan), "--out", str(tmp_path / "masks")]) == 0
    assert "calibrate MODEL COHORT --out NEW, MODEL being what this was exported from" in capsys.readouterr().err
    command = [sys.executable, "-c", WITHOUT_TORCH, "predict", str(out), str(scan), "--out", str(never), "--exact"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and not never.exists()
    assert "was exported and holds no weights; give the model that it was exported from" in " ".join(
        done.stderr.split()
    )


@pytest.mark.parametrize(("form", "file"), [("openvino", f"{EXPORTED}/network.xml"), ("onnx", "network.onnx")])
def test_a_truncated_export_is_not_to_be_removed(scan, exported, tmp_path, capsys, form, file):
    out, _ = exported(form)
    (out / file).write_bytes((out / file).read_bytes()[:1000])
    assert run(["predict", str(out), str(scan), "--out", str(tmp_path / "masks")]) == 4
    told = capsys.readouterr().err
    assert "Export the model again, or copy the folder again." in told and "emove" not in told
    assert (out / file).is_file() and not (tmp_path / "masks").exists()


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("network.bin", "changed"),
        ("network.bin", "missing"),
        ("parity.json", "missing"),
        ("../../plan.yaml", "changed"),
    ],
)
def test_an_export_that_is_not_as_it_was_written_is_refused(scan, exported, tmp_path, capsys, file, damage):
    out, _ = exported()
    path = out / EXPORTED / file
    if damage == "missing":
        path.unlink()
    else:
        held = bytearray(path.read_bytes())
        at = held.index(b"flair") if file.endswith("yaml") else len(held) // 2
        held[at] ^= 1
        path.write_bytes(held)
    assert run(["predict", str(out), str(scan), "--out", str(tmp_path / "masks")]) == 4
    told = capsys.readouterr().err
    assert "as striate export wrote it" in told or "it is missing" in told
    assert not (tmp_path / "masks").exists()


def test_an_old_export_that_would_crash_is_refused(scan, exported, tmp_path, capsys, monkeypatch):
    out, _ = exported()
    network = out / EXPORTED / "network.xml"
    network.write_text(network.read_text().replace('type="MVN"', 'type="GroupNormalization"'))
    facts = json.loads((out / "model.json").read_text())
    del facts["exported"]["files"]  # as it was written then
    (out / "model.json").write_text(json.dumps(facts))
    monkeypatch.setattr("striate.inference.engines.choose.precision_here", lambda: "fp32")
    assert run(["predict", str(out), str(scan), "--out", str(tmp_path / "masks")]) == 4
    assert "Make it again: striate export MODEL --out FOLDER" in capsys.readouterr().err
    assert not (tmp_path / "masks").exists()


def test_onnx_gives_the_probabilities_of_the_network(model, tmp_path, capsys):
    import onnxruntime

    out = tmp_path / "onnx"
    assert run(["export", str(model.folder), "--out", str(out), "--format", "onnx", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["largest_difference"] < 1e-4
    assert sorted(p.name for p in out.iterdir()) == [
        "card.md",
        "model.json",
        "network.onnx",
        "parity.json",
        "plan.yaml",
    ]
    tile = np.random.default_rng(1).normal(size=(1, 1, 16, 16, 16)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(out / "network.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(["probabilities"], {"image": tile})[0]
    with torch.no_grad():
        wanted = model.network()(torch.from_numpy(tile)).softmax(1).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_onnx_predicts_without_torch(model, scan, exported, tmp_path, capsys):
    out, told = exported("onnx")
    assert "network.onnx differs from PyTorch by at most" in told
    assert run(["predict", str(model.folder), str(scan), "--out", str(tmp_path / "first"), "--engine", "torch"]) == 0
    place = tmp_path / "second"
    command = [sys.executable, "-c", WITHOUT_TORCH, "predict", str(out), str(scan), "--out", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = (read_label(tmp_path / name / "scan.nii.gz") for name in ("first", "second"))
    assert (first.array == second.array).mean() > 0.97
    engine = json.loads((place / "record.json").read_text())["facts"]["engine"]
    assert (engine["name"], engine["precision"]) == ("onnx", "fp32")
    assert run(["predict", str(out), str(scan), "--out", str(tmp_path / "m"), "--engine", "openvino"]) == 2
    assert "was exported for ONNX Runtime and holds no weights" in capsys.readouterr().err
    assert run(["explain", str(out), str(scan), "--out", str(tmp_path / "e")]) == 4
    assert "it was exported for ONNX Runtime" in capsys.readouterr().err


def test_the_engine_onnx_is_made_once_for_a_model(model, scan, tmp_path):
    for name in ("one", "two"):
        place = tmp_path / name
        assert run(["predict", str(model.folder), str(scan), "--out", str(place), "--engine", "onnx"]) == 0
        record = json.loads((place / "record.json").read_text())
        assert (
            record["facts"]["engine"]["name"] == "onnx" and "as fast as PyTorch" in record["facts"]["engine"]["reason"]
        )
    assert len(list(model.folder.glob("onnx/*/network.onnx"))) == 1 and not (model.folder / "openvino").exists()


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(model, tmp_path, capsys, monkeypatch):
    out = ["--out", str(tmp_path / "out")]
    assert run(["export", str(model.folder), *out, "--format", "tensorrt"]) == 2
    assert "unknown format 'tensorrt'" in capsys.readouterr().err
    assert run(["export", str(tmp_path / "nowhere"), *out]) == 4
    assert run(["export", str(model.folder), *out, "--image", str(tmp_path / "none.nii.gz")]) == 3
    far = {"openvino": 0.3, "torch": 0.001, "same_decision": 0.5}

    def differs(_model, into: Path, _channels, _form):
        (into / "parity.json").write_text(json.dumps({"tiles": {"middle": far}, "seconds": {}}))

    monkeypatch.setattr("striate.workflows.export.convert", differs)
    assert run(["export", str(model.folder), *out]) == 4
    assert "differ from those in single precision by 0.3" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
