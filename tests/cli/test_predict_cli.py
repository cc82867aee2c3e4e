"""``striate predict`` as a user meets it: files in, a folder out, one JSON document, sentences and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from striate import networks
from striate.cli.main import run
from striate.core.image import Image, LabelMap
from striate.core.record import Record
from striate.data.prepare import Preparation
from striate.io.read import read_header, read_image, read_label
from striate.io.write import write_image, write_label
from striate.measure.finding import CaseFindings, LabelFindings, Ood, Quantity, Review
from striate.measure.findings import Findings
from striate.model.model import Model
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training


def _model(
    folder: Path, channels, *, dims=3, patch=(16, 16, 16), labels=None, mirror=(), features=(4, 8), says=None
) -> Path:
    count = len(channels)
    plan = Plan(
        task=Task(channels=channels, label_names=labels or {0: "background", 1: "core", 2: "oedema"}),
        preparation=Preparation(
            spacing_mm=(1.0,) * len(patch), normalisation=("zscore_nonzero",) * count, intensities=(None,) * count
        ),
        network=NetworkChoice(name="small_unet", spatial_dims=dims, options={"features": list(features)}),
        training=Training(patch=patch, batch=1, steps=1),
        inference=Inference(patch=patch, mirror_axes=mirror),
    )
    torch.manual_seed(0)
    network = networks.create(
        "small_unet",
        spatial_dims=dims,
        in_channels=count,
        out_channels=plan.targets.out_channels,
        features=list(features),
    )
    weights = network.state_dict()
    if says is not None:  # the same class everywhere
        weights = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
        weights[[name for name in weights if name.endswith("bias")][-1]][says] = 5
    return Model.save(folder, plan, weights, {}).folder


def _scan(path: Path, seed=0, shape=(1, 20, 18, 14)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros(shape, dtype=np.float32)
    inner = (slice(None), *(slice(2, -2) for _ in shape[1:]))
    array[inner] = np.random.default_rng(seed).normal(100, 20, array[inner].shape)
    if len(shape) == 3:
        array = array.clip(0, 255).astype(np.uint8)
    write_image(path, Image(array, np.diag([-1.0, 1.0, 1.0, 1.0]) if len(shape) == 4 else np.eye(4)))
    return path


@pytest.fixture
def two(tmp_path):
    return _model(tmp_path / "model", ("flair", "t1c"), mirror=(0,))


@pytest.fixture
def one(tmp_path):
    return _model(tmp_path / "model", ("flair",))


@pytest.fixture
def pair(tmp_path):
    return [str(_scan(tmp_path / "in" / f"P1_{n:04d}.nii.gz", seed=n)) for n in range(2)]


def test_files_of_one_case(two, pair, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["predict", str(two), *pair, "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "peak memory" in shown.err and "P1" in shown.err and "oedema" in shown.err
    assert sorted(p.name for p in out.iterdir()) == [
        "P1.nii.gz",
        "findings.csv",
        "findings.json",
        "panels",
        "record.json",
    ]
    mask, image = read_label(out / "P1.nii.gz"), read_header(Path(pair[0]))
    assert mask.grid.matches(image.grid, 1e-5)
    found = Findings.read(out).cases[0].labels["oedema"]
    assert found.volume_ml.value == pytest.approx((mask.array == 2).sum() / 1000)
    record = Record.read(out / "record.json")
    assert record.facts["peak_rss_bytes"] > 0 and record.inputs.keys() == {"P1/flair", "P1/t1c"}
    assert record.outputs.keys() == {"P1.nii.gz", "findings.csv", "findings.json", "panels/P1.npz"}


def test_one_json_document(two, pair, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["predict", str(two), *pair, "--out", str(out), "--tta", "--save-probabilities", "--json"]) == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["peak_rss_bytes"] > 0 and document["duration_s"] > 0
    case = document["cases"][0]
    assert case["case"] == "P1" and case["facts"]["tta"] is True
    assert {"core", "oedema"} == case["labels"].keys() == case["probabilities"].keys()
    assert all(Path(p).is_file() for p in (case["mask"], *case["probabilities"].values()))
    assert read_image(Path(case["probabilities"]["core"])).array.max() <= 1
    assert not [p for p in (out / "probabilities").iterdir() if p.name.startswith(".")]


GUARANTEE = "At most 10 % go unflagged."


@pytest.fixture
def judged(monkeypatch):
    """Let `predict` find what a calibrated model says of three cases."""
    label = LabelFindings(Quantity(12.3, 10.1, 15.25, 0.9), Quantity(3, 1, 6, 0.9))
    review = Review(False, "the expected Dice is 0.83", {"lesion": 0.83})
    fine = CaseFindings("P1", {"lesion": label}, ood=Ood(1.5, 4.0), review=review)
    doubtful = replace(fine, case="P2", review=Review(True, f"the expected Dice is 0.55 {GUARANTEE}", {"lesion": 0.55}))
    bad = replace(fine, case="P3", review=Review(True, "T1 in the place of FLAIR", {"lesion": 0.2}))

    def predict(model, inputs, out, **options):
        out.mkdir()
        Findings((fine, doubtful, bad)).write(out)
        Record("predict", facts={"peak_rss_bytes": 1, "limits": [GUARANTEE]}, duration_s=1.0).write(out / "record.json")
        facts = {"seconds": {"network": 1.0}, "engine": "torch", "precision": "fp32"}
        names = [SimpleNamespace(name=case.case) for case in (fine, doubtful, bad)]
        return [SimpleNamespace(case=n, path=out / f"{n.name}.nii.gz", probabilities={}, facts=facts) for n in names]

    monkeypatch.setattr("striate.workflows.predict.predict", predict)


def test_what_must_not_be_used_is_named_worst_first(judged, tmp_path, capsys):
    assert run(["predict", "model", "scan.nii.gz", "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().err
    assert [line for line in shown.splitlines() if line.startswith("do not use")] == [
        "do not use without review: P3: T1 in the place of FLAIR",
        "do not use without review: P2: the expected Dice is 0.55",
    ]
    assert "12.30 (10.10 to 15.25)" in shown and "3 (1 to 6)" in shown


def test_the_judgement_is_in_the_document(judged, tmp_path, capsys):
    assert run(["predict", "model", "scan.nii.gz", "--out", str(tmp_path / "out"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    first, middle, last = document["cases"]
    assert document["limits"] == [GUARANTEE] and middle["review"]["reason"].endswith(GUARANTEE)
    assert first["ood"] == {"score": 1.5, "threshold": 4.0} and first["review"]["needed"] is False
    assert first["labels"]["lesion"]["volume_ml"] == {"value": 12.3, "low": 10.1, "high": 15.25, "coverage": 0.9}
    assert (last["review"]["needed"], last["review"]["expected_dice"]) == (True, 0.2)


def test_twice_the_same_mask(two, pair, tmp_path):
    for name in ("a", "b"):
        assert run(["predict", str(two), *pair, "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "a" / "P1.nii.gz").read_bytes() == (tmp_path / "b" / "P1.nii.gz").read_bytes()


def test_a_folder_of_cases_and_a_cohort_with_truth(one, tmp_path):
    for n in range(2):
        _scan(tmp_path / "bare" / f"s{n}.nii.gz", seed=n)
    assert run(["predict", str(one), str(tmp_path / "bare"), "--out", str(tmp_path / "a")]) == 0
    assert [c.case for c in Findings.read(tmp_path / "a").cases] == ["s0", "s1"]
    write_label(tmp_path / "m.nii.gz", LabelMap(np.ones((20, 18, 14), dtype=np.uint8), np.diag([-1.0, 1, 1, 1])))
    (tmp_path / "cohort.csv").write_text("subject,flair,label\nS,bare/s0.nii.gz,m.nii.gz\n")
    assert run(["predict", str(one), str(tmp_path / "cohort.csv"), "--out", str(tmp_path / "b")]) == 0
    with np.load(tmp_path / "b" / "panels" / "S.npz") as panel:
        assert "truth" in panel


@pytest.mark.parametrize(("given", "made"), [("a.png", "a.png"), ("a.tif", "a.tif"), ("a.jpg", "a.png")])
def test_pictures_give_pictures(tmp_path, given, made):
    model = _model(tmp_path / "model", ("image",), dims=2, patch=(16, 16))
    path = _scan(tmp_path / given, shape=(1, 40, 28))
    assert run(["predict", str(model), str(path), "--out", str(tmp_path / "out")]) == 0
    assert read_label(tmp_path / "out" / made).array.shape == (40, 28)


def _truncated(model: Path) -> None:
    path = model / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def _removed(model: Path) -> None:
    (model / "model.json").unlink()


def _newer(model: Path) -> None:
    facts = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps({**facts, "schema_version": 2}))


@pytest.mark.parametrize(
    ("damage", "text"),
    [(_truncated, "no safetensors"), (_removed, "model.json missing"), (_newer, "schema version 2")],
)
def test_a_bad_model_exits_4(two, pair, tmp_path, capsys, damage, text):
    damage(two)
    assert run(["predict", str(two), *pair, "--out", str(tmp_path / "out")]) == 4
    shown = capsys.readouterr().err
    assert text in shown and "Traceback" not in shown
    assert not (tmp_path / "out").exists()


def _cases(tmp_path):
    text = tmp_path / "text.nii.gz"
    text.write_text("this is no image")
    short = tmp_path / "short.nii.gz"
    short.write_bytes(_scan(tmp_path / "long.nii.gz").read_bytes()[:-900])
    return {
        "missing model": (["predict", "{tmp}/none", "{scan}"], 4, "there is no such folder"),
        "missing image": (["predict", "{model}", "{tmp}/none.nii.gz"], 3, "there is no such file or folder"),
        "one channel of two": (["predict", "{two}", "{scan}"], 4, "the model needs 2 channels"),
        "picture for a volume": (["predict", "{model}", "{png}"], 3, "2D, shape (40, 28); the model was trained on 3D"),
        "text": (["predict", "{model}", str(text)], 3, "text.nii.gz"),
        "truncated": (["predict", "{model}", str(short)], 3, "short.nii.gz"),
        "tta without axes": (["predict", "{model}", "{scan}", "--tta"], 2, "inference.mirror_axes"),
        "wrong names": (["predict", "{two}", "{csv}"], 4, "the model was trained on flair, t1c"),
    }


NAMES = [
    "missing model", "missing image", "one channel of two", "picture for a volume", "text", "truncated",
    "tta without axes", "wrong names",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_gets_a_sentence_and_leaves_nothing(tmp_path, capsys, name):
    scan = _scan(tmp_path / "scan.nii.gz")
    (tmp_path / "c.csv").write_text("subject,t2,pd\nS,scan.nii.gz,scan.nii.gz\n")
    places = {
        "tmp": tmp_path, "scan": scan, "csv": tmp_path / "c.csv", "png": _scan(tmp_path / "a.png", shape=(1, 40, 28)),
        "model": _model(tmp_path / "m1", ("flair",)), "two": _model(tmp_path / "m2", ("flair", "t1c")),
    }  # fmt: skip
    arguments, code, text = _cases(tmp_path)[name]
    before = sorted(p.name for p in tmp_path.iterdir())
    given = [a.format(**places) for a in arguments]
    assert run([*given, "--out", str(tmp_path / "out")]) == code
    shown = capsys.readouterr().err
    assert text in shown and "Traceback" not in shown
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_folder_with_something_in_it_is_not_touched(one, tmp_path, capsys):
    scan = _scan(tmp_path / "scan.nii.gz")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("x")
    assert run(["predict", str(one), str(scan), "--out", str(tmp_path / "out")]) == 3
    assert "exists and is not empty" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_a_case_that_fails_does_not_take_the_others_with_it(one, tmp_path, capsys):
    for name in "abc":
        data = _scan(tmp_path / "in" / f"{name}.nii.gz").read_bytes()
    (tmp_path / "in" / "b.nii.gz").write_bytes(data[: len(data) - 900])
    arguments = ["predict", str(one), str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert run([*arguments, "--json"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["path"].endswith("b.nii.gz") and error["code"] == "format"
    assert "2 of 3 cases are kept" in error["message"] and "the same call goes on with them" in error["message"]
    assert not (tmp_path / "out").exists()
    (tmp_path / "in" / "b.nii.gz").write_bytes(data)
    assert run(arguments) == 0
    assert "resumed: 2 of 3 cases were there" in capsys.readouterr().err
    assert [c.case for c in Findings.read(tmp_path / "out").cases] == ["a", "b", "c"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "model", "out"]


def test_the_crf_that_does_not_fit_is_refused_before_anything_is_computed(one, tmp_path, capsys, monkeypatch):
    scan = str(_scan(tmp_path / "scan.nii.gz", shape=(1, 120, 120, 120)))
    monkeypatch.setattr("striate.inference.memory.memory_available_bytes", lambda: 300_000_000)
    assert run(["predict", str(one), scan, "--out", str(tmp_path / "out"), "--crf"]) == 5
    assert "Leave --crf away." in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert run(["predict", str(one), scan, "--out", str(tmp_path / "out")]) == 0


INTERRUPTED = """
import signal, time
from striate.cli.main import main
from striate.workflows import predict_masks

signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs tests may ignore it
answer = predict_masks.answer

def answered(*given, **more):
    made = answer(*given, **more)
    time.sleep(3600)  # the signal comes while the network computes, or here, should its sender be slow
    return made

predict_masks.answer = answered
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_half_written(tmp_path, number):
    model = _model(tmp_path / "model", ("flair",), features=(32, 64))
    scan = _scan(tmp_path / "scan.nii.gz", shape=(1, 160, 160, 160))
    before = sorted(p.name for p in tmp_path.iterdir())
    arguments = [sys.executable, "-c", INTERRUPTED, "predict", str(model), str(scan), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not list(tmp_path.glob("out.unfinished")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(600) == 130
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    assert sorted(p.name for p in tmp_path.iterdir()) == before


MEASURE = """
import sys
from pathlib import Path
import torch, numpy, scipy.ndimage, typer
from striate.core.machine import peak_rss_bytes
before = peak_rss_bytes()
from striate.cli.main import run
code = run(["predict", *sys.argv[1:]])
print(code, peak_rss_bytes() - before)
loaded = [m for m in ("monai", "matplotlib", "torch._dynamo", "tensorboardX", "SimpleITK") if m in sys.modules]
print(",".join(loaded) or "lean")
"""


def test_memory_stays_below_two_gigabytes_and_imports_stay_lean(tmp_path):
    labels = {0: "background", 1: "necrosis", 2: "oedema", 3: "solid", 4: "enhancing"}
    model = _model(tmp_path / "model", ("flair", "t1c"), patch=(96, 96, 96), labels=labels, says=2)
    rng, files = np.random.default_rng(0), []
    for n in range(2):
        array = rng.integers(1, 200, (1, 240, 240, 155)).astype(np.uint8)  # no background: nothing can be cut
        write_image(tmp_path / f"a_{n:04d}.nii", Image(array, np.eye(4)))
        files.append(str(tmp_path / f"a_{n:04d}.nii"))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(model), *files, "--out", str(tmp_path / "out")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    measured, loaded = done.stdout.splitlines()[-2:]
    assert measured.split()[0] == "0", done.stderr
    assert int(measured.split()[1]) < 2.0e9
    facts = json.loads((tmp_path / "out" / "record.json").read_text())["facts"]
    assert facts["peak_rss_bytes"] < facts["memory"]["announced_bytes"] < 1.5 * facts["peak_rss_bytes"]
    assert (read_label(tmp_path / "out" / "a.nii").array == 2).all()
    assert loaded == "lean"


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_the_engine_that_was_asked_for_computes_and_is_recorded(one, tmp_path, engine):
    scan, out = str(_scan(tmp_path / "scan.nii.gz")), str(tmp_path / "out")
    code = "from striate.cli.main import main; main()"  # in a process of its own: see tests/inference/test_openvino.py
    command = [sys.executable, "-c", code, "predict", str(one), scan, "--out", out, "--engine", engine]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["facts"]["engine"]["name"] == record["facts"]["cases"]["scan"]["engine"] == engine
    assert record["options"]["engine"] == engine and f"{engine}: " in done.stderr


def test_engines_that_are_unknown_or_cannot_do_it(one, tmp_path, capsys):
    scan, out = str(_scan(tmp_path / "scan.nii.gz")), str(tmp_path / "out")
    assert run(["predict", str(one), scan, "--out", out, "--engine", "tensorrt"]) == 2
    assert "unknown engine 'tensorrt'" in capsys.readouterr().err
    assert run(["predict", str(one), scan, "--out", out, "--engine", "openvino", "--uncertainty", "ensemble"]) == 2
    assert "--uncertainty ensemble is computed by torch" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
