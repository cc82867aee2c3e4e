"""A dry run of `predict`: says what would be done, refuses what would be refused, writes nothing."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from striate import networks
from striate.cli.main import run
from striate.core.errors import DataError, Interrupted, MemoryLimitError, UsageError
from striate.core.files import read_json, write_json
from striate.core.image import Image
from striate.core.progress import Silent
from striate.core.unfinished import unfinished
from striate.data.prepare import Preparation
from striate.inference import memory
from striate.inference.engines import choose as choosing
from striate.inference.engines import place
from striate.inference.engines.foresee import foresee
from striate.io.write import write_image
from striate.model.model import Model
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training
from striate.workflows import foresee as foreseeing
from striate.workflows.predict import predict

SHAPES = {"a": (20, 18, 14), "b": (36, 18, 14)}


def _saved(folder, task, *, dims, patch, network, mirror=()):
    plan = Plan(
        task=task,
        preparation=Preparation(
            spacing_mm=(1.0,) * len(patch), normalisation=("zscore",) * len(task.channels),
            intensities=(None,) * len(task.channels),
        ),
        network=network,
        training=Training(patch=patch, batch=1, steps=1, loss="cross_entropy"),
        inference=Inference(patch=patch, mirror_axes=mirror),
    )  # fmt: skip
    torch.manual_seed(0)
    made = networks.create(
        network.name, spatial_dims=dims, in_channels=len(task.channels), out_channels=task.outputs.out_channels,
        **network.options,
    )  # fmt: skip
    return Model.save(folder, plan, made.state_dict(), {})


@pytest.fixture
def model(tmp_path):
    choice = NetworkChoice(name="small_unet", spatial_dims=3, options={"features": [4, 8]})
    task = Task(channels=("flair",), label_names={0: "background", 1: "core", 2: "oedema"})
    return _saved(tmp_path / "model", task, dims=3, patch=(16, 16, 16), network=choice, mirror=(0,))


@pytest.fixture
def scans(tmp_path):
    for name, shape in SHAPES.items():
        path = tmp_path / "in" / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        array = np.random.default_rng(0).normal(100, 20, (1, *shape)).astype(np.float32)
        write_image(path, Image(array, np.diag([1.0, 1.0, 2.0, 1.0])))
    return tmp_path / "in"


def _listed(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_it_says_what_would_be_done_and_writes_nothing(model, scans, tmp_path, capsys):
    before, arguments = _listed(tmp_path), ["predict", str(model.folder), str(scans), "--out", str(tmp_path / "out")]
    assert run([*arguments, "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert run([*arguments, "--dry-run"]) == 0
    shown = capsys.readouterr().err
    assert _listed(tmp_path) == before
    first, second = document["cases"]
    assert first == {
        "case": "a", "channels": {"flair": str(scans / "a.nii.gz")}, "shape": [20, 18, 14], "spacing_mm": [1, 1, 2],
        "windows": 2 * 2 * 3,
    }  # fmt: skip
    assert (second["windows"], document["windows"]) == (4 * 2 * 3, 36)
    assert document["engine"]["name"] == "torch" and "too small for preparing" in document["engine"]["reason"]
    assert (document["network_s"], document["kept"], document["out"]) == (None, [], str(tmp_path / "out"))
    assert "36 × 18 × 14  1 × 1 × 2" in shown and f"2 cases would be predicted into {tmp_path / 'out'}" in shown
    assert run(arguments) == 0
    facts = read_json(tmp_path / "out" / "record.json")["facts"]
    assert [facts["cases"][name]["windows"] for name in "ab"] == [12, 24]
    assert facts["memory"]["neighbours_together"] == document["memory"]["neighbours_together"]
    assert facts["memory"]["announced_bytes"] == pytest.approx(document["memory"]["announced_bytes"], rel=0.5)


def test_what_is_kept_is_told_and_stays(model, scans, tmp_path):
    with contextlib.suppress(KeyboardInterrupt), unfinished(tmp_path / "out") as work:
        work.keep("b", {}, [])
        work.keep("not asked for", {}, [])
        raise KeyboardInterrupt
    before = _listed(tmp_path)
    assert predict(model, scans, tmp_path / "out", dry_run=True).document["kept"] == ["b"]
    assert _listed(tmp_path) == before


def test_what_would_be_refused_is_refused(model, scans, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    for out, options, error in (
        ("full", {}, "exists and is not empty"),
        ("out", {"engine": "tensorrt"}, "unknown engine"),
        ("out", {"engine": "int8"}, "no network in int8"),
        ("out", {"engine": "onnx", "uncertainty": "dropout"}, "is computed by torch"),
        ("out", {"exact": True}, "imported"),
    ):
        with pytest.raises((DataError, UsageError), match=error):
            predict(model, scans, tmp_path / out, dry_run=True, **options)


def test_the_time_of_what_was_measured_on_this_machine_is_told(model, scans, tmp_path):
    folder = model.folder / "openvino" / choosing._key(model, "openvino")
    apart = {"middle": {"torch": 0.001, "openvino": 0.001, "same_decision": 1.0}}
    parity = {
        "seconds": {"torch": 0.5, "openvino": 0.25}, "ratios": {"torch": 1.0, "openvino": 2.0}, "tiles": apart,
        "precision": "fp32",
    }  # fmt: skip
    folder.mkdir(parents=True)
    write_json(folder / "parity.json", parity)
    found = predict(model, scans, tmp_path / "out", dry_run=True).document
    assert (found["engine"]["name"], found["engine"]["precision"], found["network_s"]) == ("openvino", "fp32", 9.0)
    assert predict(model, scans, tmp_path / "out", dry_run=True, tta=True).document["network_s"] == 18.0
    write_json(folder / "parity.json", {**parity, "ratios": {"torch": 1.0, "openvino": 1.0}})
    slow = predict(model, scans, tmp_path / "out", dry_run=True).document
    assert (slow["engine"]["name"], slow["network_s"]) == ("torch", 18.0) and "1.0 times" in slow["engine"]["reason"]


def test_what_a_comparison_would_decide_is_left_open(model):
    large = foresee(model, "auto", lambda: 2 * choosing.WORTH_MACS)
    assert (large.name, large.window_s) == ("", None) and "would be prepared" in large.reason
    assert foresee(model, "openvino", lambda: 0.0).name == "openvino" and not (model.folder / "openvino").exists()


def test_memory_of_an_open_comparison_is_that_of_the_engine_that_takes_more(model, scans, tmp_path, monkeypatch):
    model = replace(model, facts={"activations_per_voxel": 20_000})
    monkeypatch.setattr(choosing, "WORTH_MACS", 0)
    monkeypatch.setattr(choosing, "may_have_gpu", lambda: False)

    def announced(engine):
        found = predict(model, scans, tmp_path / "out", dry_run=True, engine=engine).document
        return found["memory"]["announced_bytes"]

    both, by_openvino, by_torch = (announced(engine) for engine in ("auto", "openvino", "torch"))
    assert both - by_openvino > 50e6 and abs(both - by_torch) < 50e6

    def refused(*given, **more):
        if given[3].name == "torch":
            raise MemoryLimitError("case a: too large.")
        return needs_of(*given, **more)

    needs_of, progress = foreseeing.needs_of, Silent()
    told = []
    monkeypatch.setattr(progress, "note", told.append)
    monkeypatch.setattr(foreseeing, "needs_of", refused)
    smaller = predict(model, scans, tmp_path / "out", dry_run=True, progress=progress).document
    assert "if PyTorch were found faster: case a: too large." in told
    assert abs(smaller["memory"]["announced_bytes"] - by_openvino) < 50e6


def test_models_of_whole_images_have_no_windows(scans, tmp_path, monkeypatch):
    choice = NetworkChoice(name="mlp", spatial_dims=3, options={"input_size": (16, 16, 16)})
    task = Task(kind="classification", channels=("flair",), classes=("left", "right"))
    model = _saved(tmp_path / "classes", task, dims=3, patch=(16, 16, 16), network=choice)
    before = _listed(tmp_path)
    found = predict(model, scans, tmp_path / "out", dry_run=True).document
    assert _listed(tmp_path) == before and [case["case"] for case in found["cases"]] == ["a", "b"]
    assert "windows" not in found["cases"][0] and (found["windows"], found["memory"], found["kept"]) == (None, None, [])
    with monkeypatch.context() as short:
        short.setattr(memory, "memory_available_bytes", lambda: 30_000)
        (left,) = predict(model, scans, tmp_path / "out", dry_run=True).document["left_out"]
        too_large = "case b: images of 36 kB; 30 kB of memory are free. Cut"
        assert left["case"] == "b" and left["reason"].startswith(too_large) and _listed(tmp_path) == before
        told = Silent()
        with pytest.raises(MemoryLimitError, match=f"^{too_large}.* 1 of 2 cases is kept in ") as caught:
            predict(model, scans, tmp_path / "out", progress=told)
        assert caught.value.case == "b" and "left out: b; why is told at the end" in told.warnings[0]
        assert not (tmp_path / "out").exists()
        short.setattr(memory, "memory_available_bytes", lambda: 1)
        for dry_run in (True, False):
            with pytest.raises(MemoryLimitError, match=r"^2 of 2 cases cannot be predicted:\n  case a: images of"):
                predict(model, scans, tmp_path / "none", dry_run=dry_run)
            assert not list(tmp_path.glob("none*"))
    assert len(predict(model, scans, tmp_path / "out")) == 2 and not (tmp_path / "out.unfinished").exists()
    shutil.rmtree(tmp_path / "out")

    predict(model, scans, tmp_path / "whole")
    size = sum(path.stat().st_size for path in (tmp_path / "whole").rglob("*") if path.is_file())
    assert size <= found["disk"]["needed_bytes"] < 100_000

    def stopped(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("striate.workflows.predict_whole.class_table", stopped)
    with pytest.raises(Interrupted, match=r"stopped; 2 of 2 cases are kept in .*out\.unfinished"):
        predict(model, scans, tmp_path / "out")
    assert predict(model, scans, tmp_path / "out", dry_run=True).document["kept"] == ["a", "b"]


def test_where_onnx_runtime_would_be_compared_openvino_is_not_asked_for(model, scans, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")

    def missing():
        raise UsageError("the engine openvino could not be loaded")

    version = choosing._version
    monkeypatch.setattr(choosing, "_version", lambda package: "" if package == "openvino" else version(package))
    monkeypatch.setattr(choosing, "WORTH_MACS", 0)
    monkeypatch.setattr(choosing, "may_have_gpu", lambda: False)
    monkeypatch.setattr(foreseeing, "runtime", missing)
    found = predict(model, scans, tmp_path / "out", dry_run=True).document
    assert found["engine"]["name"] == "" and found["engine"]["reason"].startswith("ONNX Runtime would be prepared")
    assert found["memory"]["announced_bytes"] > 0


def test_exact_masks_are_not_said_to_come_from_a_gpu(model, monkeypatch):
    monkeypatch.setattr(place, "gpu", lambda: torch.device("cpu"))
    monkeypatch.setattr(place, "named", lambda device: "Some GPU")
    found = foreseeing._engine(model, {}, {"exact": True, "uncertainty": "none", "engine": "auto", "ensemble": []})
    assert (found.name, found.reason) == ("torch", "--exact is computed by it, on the processor")
