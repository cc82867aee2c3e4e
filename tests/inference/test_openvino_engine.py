"""OpenVINO: the same answers as PyTorch, made once, and PyTorch with a sentence wherever it cannot be had."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import openvino
import pytest
import torch

from striate import networks
from striate.core.case import Case
from striate.core.errors import Interrupted, ModelError, UsageError
from striate.core.image import Image
from striate.core.machine import cores, native_precision, processor
from striate.inference.engines import choose as choosing
from striate.inference.engines import fastest, verdict
from striate.inference.engines.choose import choose
from striate.inference.engines.convert import compare, convert, converted, probes
from striate.inference.engines.foresee import foresee
from striate.inference.engines.openvino import MADE, NETWORK, PARITY, OpenVINOEngine
from striate.inference.engines.pytorch import TorchEngine
from striate.inference.engines.separate import separate
from striate.inference.features import first_layer, pooling
from striate.inference.predict import predict_case
from striate.io.write import write_image
from striate.model.model import WEIGHTS


@pytest.fixture
def case(tmp_path):
    rng, files = np.random.default_rng(0), {}
    for name in ("flair", "t1c"):
        array = np.zeros((1, 24, 20, 18), dtype=np.float32)
        array[:, 2:-2, 3:-1, 1:-1] = rng.normal(100, 20, (1, 20, 16, 16))
        files[name] = tmp_path / f"{name}.nii.gz"
        write_image(files[name], Image(array, np.eye(4)))
    return Case("P1", "P1", files)


@pytest.fixture
def tiles():
    torch.manual_seed(1)
    return torch.randn(2, 2, 16, 16, 16).numpy()


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_same_probabilities_and_features_as_pytorch(plan_of, network_of, tmp_path, tiles, exclusive):
    network = network_of(plan_of()).eval()
    with pooling(network) as pooled:
        wanted = TorchEngine(network, exclusive, "fp32")(tiles)
        features = pooled.take()
    convert(network, exclusive, torch.from_numpy(tiles[:1]), tmp_path / NETWORK)
    engine = OpenVINOEngine(tmp_path / NETWORK, native_precision())
    found = engine(tiles)
    assert found.dtype == np.float32 and found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 0.05
    np.testing.assert_allclose(engine.pooled.take(), features, atol=0.03)
    assert np.array_equal(found, engine(tiles))


def test_an_answer_is_not_overwritten_by_the_next(plan_of, network_of, tmp_path, tiles):
    convert(network_of(plan_of()).eval(), True, torch.from_numpy(tiles[:1]), tmp_path / NETWORK)
    engine = OpenVINOEngine(tmp_path / NETWORK, native_precision())
    first = engine(tiles[:1])
    before = first.copy()
    engine(tiles[1:])
    assert np.array_equal(first, before)


def test_the_first_layer_is_the_one_that_is_pooled(plan_of, network_of, tiles):
    network = network_of(plan_of()).eval()
    name = next(n for n, m in network.named_modules() if m is first_layer(network, torch.from_numpy(tiles)))
    with torch.no_grad(), pooling(network) as by_default:
        network(torch.from_numpy(tiles))
    with torch.no_grad(), pooling(network, name) as by_name:
        network(torch.from_numpy(tiles))
    assert np.array_equal(by_default.take(), by_name.take())


def test_probes_are_windows_of_the_patch_whatever_the_size(plan_of):
    for shape in ((2, 9, 40, 16), (2, 24, 20, 18)):
        array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        found = probes(plan_of(), array)
        assert all(tile.shape == (1, 2, 16, 16, 16) for tile in found.values())
        assert np.unique(found["nearly blank"][:, :, :15]).size == 1
    assert np.unique(found["nearly blank"][:, :, 15:]).size > 1
    assert probes(plan_of(patch=(16, 16, 1), dims=2), array)["middle"].shape == (1, 2, 16, 16)


def test_both_engines_are_compared(plan_of, network_of, tmp_path, tiles):
    network = network_of(plan_of()).eval()
    convert(network, True, torch.from_numpy(tiles[:1]), tmp_path / NETWORK)
    engines = {"openvino": OpenVINOEngine(tmp_path / NETWORK, native_precision())}
    found = compare(network, True, engines, {"middle": tiles[:1]})
    assert found["tiles"]["middle"]["openvino"] < 0.01 and found["tiles"]["middle"]["same_decision"] > 0.98
    assert min(found["seconds"].values()) > 0


def test_convolutions_of_skips_are_taken_apart_with_the_same_answers(tiles):
    torch.manual_seed(0)
    network = networks.create("unet", spatial_dims=3, in_channels=2, out_channels=3, features=(32, 64, 64)).eval()
    model = converted(network, True, torch.from_numpy(tiles[:1]))
    whole = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(tiles[:1])[0]
    assert separate(model) == 2 and separate(model) == 0
    apart = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(tiles[:1])[0]
    assert np.abs(apart - whole).max() < 1e-4


def test_parts_of_few_channels_stay_together(plan_of, network_of, tiles):
    assert separate(converted(network_of(plan_of()).eval(), True, torch.from_numpy(tiles[:1]))) == 0


def test_small_unet_is_compiled_in_single_precision_too(tmp_path):
    """OpenVINO 2026.4 crashes on its group normalisations as they come, so that another process compiles it."""
    torch.manual_seed(0)
    network = networks.create("small_unet", spatial_dims=3, in_channels=2, out_channels=3, features=(8, 16)).eval()
    tile = torch.randn(1, 2, 16, 16, 16)
    made = converted(network, True, tile)
    assert not any(node.get_type_name() == "GroupNormalization" for node in made.get_ordered_ops())
    openvino.save_model(made, tmp_path / NETWORK, compress_to_fp16=False)
    np.save(tmp_path / "tile.npy", tile.numpy())
    program = (
        "import sys, numpy, openvino; tile = numpy.load(sys.argv[2]);"
        " made = openvino.compile_model(sys.argv[1], 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'});"
        " numpy.save(sys.argv[3], made(tile)[0])"
    )
    asked = [sys.executable, "-c", program, *(str(tmp_path / name) for name in (NETWORK, "tile.npy", "found.npy"))]
    assert subprocess.run(asked, check=False).returncode == 0
    assert np.abs(np.load(tmp_path / "found.npy") - TorchEngine(network, True, "fp32")(tile.numpy())).max() < 1e-4


def test_it_is_made_once_and_predicts_what_pytorch_predicts(model_of, case):
    model, told = model_of(), list[str]()
    first = choose(model, case, "openvino", tell=told.append)
    assert first.engine.name == "openvino" and first.parity["tiles"]["middle"]["same_decision"] > 0.98
    assert "as fast as PyTorch" in first.reason and len(told) == 1
    again = choose(model, case, "openvino", tell=told.append)
    assert len(told) == 1 and again.parity == first.parity
    ours = predict_case(model, case, network=first.engine, observe=True)
    theirs = predict_case(model, case, observe=True)
    assert (ours.label.array == theirs.label.array).mean() > 0.97
    assert ours.facts["engine"] == "openvino" and ours.facts["precision"] == native_precision()
    np.testing.assert_allclose(ours.observed.features, theirs.observed.features, atol=0.03)


def test_small_work_does_not_begin_it(model_of, case):
    model = model_of()
    found = choose(model, case, macs=lambda: 1.0)
    assert found.engine.name == "torch" and "too small" in found.reason
    assert not (model.folder / "openvino").exists()


def given(model, parity):
    """Let the parity of a model be what is given."""
    folder = model.folder / "openvino" / choosing._key(model, "openvino")
    folder.mkdir(parents=True)
    (folder / PARITY).write_text(json.dumps({"precision": "bf16", "processor": "", **parity}))


OTHER = 2 * cores()
"""Cores of another machine."""
NEAR = {"openvino": 1e-3, "torch": 1e-3, "same_decision": 0.999}


@pytest.fixture
def clear(monkeypatch):
    """Let every race be clear: the machine that runs the tests may be busy."""
    monkeypatch.setattr(choosing, "unclear", lambda parity: "")


@pytest.mark.usefixtures("clear")
def test_engines_are_compared_again_on_other_cores_where_the_work_is_worth_it(model_of, case, monkeypatch):
    model, told = model_of(), list[str]()
    first = choose(model, case, "openvino").parity
    assert first["cores"] == cores() and first["measured"] <= datetime.now(UTC).isoformat()
    network = next(model.folder.glob(f"openvino/*/{NETWORK}"))
    converted_at = network.stat().st_mtime_ns
    (network.parent / PARITY).write_text(json.dumps({**first, "cores": OTHER}))
    assert choose(model, case, tell=told.append).parity["cores"] == OTHER and told == []
    again = choose(model, case, macs=lambda: 1e15, tell=told.append).parity
    assert again["cores"] == cores() and again["tiles"] == first["tiles"]
    assert told == [f"comparing OpenVINO with PyTorch again: before, it was on {OTHER} cores"]
    assert network.stat().st_mtime_ns == converted_at
    assert choose(model, case, macs=lambda: 1e15, tell=told.append).parity == again
    monkeypatch.setattr(choosing, "cores", lambda: OTHER)
    assert choose(model, case, macs=lambda: 1e15, tell=told.append).parity["measured"] == first["measured"]
    assert len(told) == 1


@pytest.mark.usefixtures("clear")
def test_a_comparison_that_fails_on_other_cores_leaves_the_verdict_and_is_not_tried_again(model_of, case, monkeypatch):
    model, runs = model_of(), []
    choose(model, case, "openvino")
    network = next(model.folder.glob(f"openvino/*/{NETWORK}"))
    first = json.loads((network.parent / PARITY).read_text())
    first |= {"cores": OTHER, "ratios": {"openvino": 5.0, "torch": 1.0}}
    (network.parent / PARITY).write_text(json.dumps(first))

    def ended(*_, **__):
        runs.append("")
        raise subprocess.TimeoutExpired("", choosing.SECONDS)

    monkeypatch.setattr(subprocess, "run", ended)
    for _ in range(2):
        found = choose(model, case, macs=lambda: 1e15)
        assert found.engine.name == "openvino"
        again = {"cores": cores(), "failed": "it took more than 900 s", "tried": found.parity["again"]["tried"]}
        assert found.parity == {**first, "again": again}
    assert len(runs) == 1 and json.loads((network.parent / PARITY).read_text()) == first
    monkeypatch.setattr(choosing, "cores", lambda: OTHER)
    assert choose(model, case, macs=lambda: 1e15).parity == first and len(runs) == 1


def _a_day_later(monkeypatch):
    """Let a day have gone."""

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=1)

    monkeypatch.setattr(verdict, "datetime", Tomorrow)


def test_a_timeout_is_remembered_for_a_day_and_then_tried_again(model_of, case, monkeypatch):
    model, runs, told = model_of(), [], []

    def slow(*_, **__):
        runs.append("")
        raise subprocess.TimeoutExpired("", choosing.SECONDS)

    with monkeypatch.context() as busy:
        busy.setattr(subprocess, "run", slow)
        for _ in range(2):
            found = choose(model, case, macs=lambda: 1e15, tell=told.append)
            day = found.parity["tried"][:10]
            assert found.engine.name == "torch" and found.reason == (
                "the network could not be converted for OpenVINO (it took more than 900 s); that was on"
                f" {day}, and a call a day later tries again"
            )
        assert len(runs) == len(told) == 1
    _a_day_later(monkeypatch)
    assert foresee(model, "auto", lambda: 1e15).name == ""
    assert choose(model, case, macs=lambda: 1.0).reason == "the work is too small for preparing another engine"
    assert choose(model, case, "openvino").engine.name == "openvino"


@pytest.mark.parametrize("failed", [-11, 1])
def test_what_crashed_is_not_tried_a_day_later(model_of, case, monkeypatch, failed):
    model, runs = model_of(), []
    ended = subprocess.CompletedProcess([], failed, "", "ValueError: no\n")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: runs.append(a) or ended)
    first = choose(model, case, macs=lambda: 1e15)
    _a_day_later(monkeypatch)
    assert choose(model, case, macs=lambda: 1e15).reason == first.reason and len(runs) == 1


def test_a_timeout_on_other_cores_is_tried_again_a_day_later(model_of, case, monkeypatch):
    model = model_of()
    choose(model, case, "openvino")
    parity = next(model.folder.glob(f"openvino/*/{PARITY}"))
    first = {**json.loads(parity.read_text()), "cores": OTHER}
    parity.write_text(json.dumps(first))

    def slow(*_, **__):
        raise subprocess.TimeoutExpired("", choosing.SECONDS)

    with monkeypatch.context() as busy:
        busy.setattr(subprocess, "run", slow)
        assert "again" in choose(model, case, macs=lambda: 1e15).parity
    assert choose(model, case, macs=lambda: 1e15).parity["cores"] == OTHER
    _a_day_later(monkeypatch)
    assert choose(model, case, macs=lambda: 1e15).parity["cores"] == cores()


def test_an_image_that_cannot_be_read_is_no_verdict_of_another_number_of_cores(model_of, case, tmp_path):
    model = model_of()
    choose(model, case, "openvino")
    network = next(model.folder.glob(f"openvino/*/{NETWORK}"))
    first = json.loads((network.parent / PARITY).read_text())
    first |= {"cores": OTHER, "ratios": {"openvino": 5.0, "torch": 1.0}}
    (network.parent / PARITY).write_text(json.dumps(first))
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    broken = Case("P2", "P2", {**case.channels, "t1c": tmp_path / "broken.nii.gz"})
    assert choose(model, broken, macs=lambda: 1e15).parity == first
    assert choose(model, case, macs=lambda: 1e15).parity["cores"] == cores()


def test_what_failed_on_other_cores_is_tried_on_these(model_of, case, monkeypatch):
    model = model_of()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(choosing, "cores", lambda: OTHER)
        elsewhere.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess([], -9, "", ""))
        assert "ended by signal 9" in choose(model, case, macs=lambda: 1e15).reason
    assert choose(model, case).parity["cores"] == OTHER
    assert choose(model, case, macs=lambda: 1e15).parity["tiles"]
    assert len(list(model.folder.glob(f"openvino/*/{NETWORK}"))) == 1


def test_folders_that_nobody_reads_any_more_go_when_a_new_one_is_made(model_of, case):
    model, name = model_of(), processor().split(" (")[0]
    kept = {
        "of another processor": {"made": MADE - 1, "processor": "Another (avx2)"},
        "of a machine with other instructions": {"made": MADE, "processor": f"{name} (something)"},
        ".being filled": {"made": MADE, "processor": processor()},
    }
    gone = {
        "of other windows": {"made": MADE, "processor": processor()},
        "of the time before versions": {"processor": f"{name} (avx512f)"},
        "of an older version": {"made": MADE - 1, "processor": f"{name} (avx512f)"},
    }
    place = model.folder / "openvino"
    for folder, parity in {**kept, **gone}.items():
        (place / folder).mkdir(parents=True)
        (place / folder / PARITY).write_text(json.dumps(parity))
    for folder, text in (("cut off", '{"made'), ("somebody's own", None)):
        (place / folder).mkdir()
        if text:
            (place / folder / PARITY).write_text(text)
    choose(model, case, "openvino")
    here = choosing._key(model, "openvino")
    assert {found.name for found in place.iterdir()} == {*kept, "somebody's own", here}


def test_another_version_of_torch_or_openvino_is_another_verdict(model_of, monkeypatch):
    model, here = model_of(), importlib.metadata.version
    keys = {choosing._key(model, "openvino")}
    for package in ("torch", "openvino"):
        monkeypatch.setattr(importlib.metadata, "version", lambda p, one=package: "0.1" if p == one else here(p))
        keys.add(choosing._key(model, "openvino"))
    assert len(keys) == 3


def test_the_reason_says_by_what_it_was_chosen(model_of, case):
    model = model_of()
    raced = {"windows": 3, "seconds": {"openvino": 0.123, "torch": 0.5}, "measured": "2026-01-31T10:00:00+00:00"}
    ratios = {"ratios": {"openvino": 4.2, "torch": 1.0}, "spread": {"openvino": [3.9, 4.4], "torch": [1.0, 1.0]}}
    given(model, {"tiles": {"middle": NEAR}, **raced, **ratios})
    found = fastest.measured(choosing._read(model.folder / "openvino" / choosing._key(model, "openvino")), "openvino")
    assert found == (
        "measured 4.2 times as fast as PyTorch here (3.9 to 4.4 in 3 windows in turns, 0.12 s against 0.5 s, 2026-01-31)"
    )


def test_an_openvino_without_bf16_computes_in_single_precision_and_says_so(model_of, case, tmp_path):
    """``OV_CPU_MAX_ISA`` takes instructions away from OpenVINO; asked for bf16 it then refuses every network."""
    model = model_of()
    program = (
        "import json, sys; from pathlib import Path; from striate.core.case import Case;"
        " from striate.inference.engines.choose import choose; from striate.inference.engines.openvino import *;"
        " from striate.model.model import Model;"
        " files = {name: Path(path) for name, path in json.loads(sys.argv[2]).items()};"
        " found = choose(Model.open(sys.argv[1]), Case('P1', 'P1', files), 'openvino');"
        " network = next(Path(sys.argv[1]).glob('openvino/*/network.xml'));"
        " asked = OpenVINOEngine(network, 'bf16').precision;"
        " print(json.dumps([found.engine.precision, found.parity['precision'], found.reason, asked]))"
    )
    files = json.dumps({name: str(path) for name, path in case.channels.items()})
    asked = [sys.executable, "-c", program, str(model.folder), files]
    limited = {**os.environ, "OV_CPU_MAX_ISA": "AVX2"}
    done = subprocess.run(asked, capture_output=True, text=True, env=limited, check=True)
    engine, measured, reason, anyway = json.loads(done.stdout)
    assert (engine, measured, anyway) == ("fp32", "fp32", "fp32")
    assert ("this OpenVINO offers no bf16 here" in reason) == (native_precision() == "bf16")


def test_it_is_not_taken_where_it_is_slower(model_of, case, monkeypatch):
    model = model_of()
    given(model, {"tiles": {"middle": NEAR}, "seconds": {"openvino": 1.0, "torch": 0.5}})
    found = choose(model, case)
    assert found.engine.name == "torch" and found.reason == "OpenVINO was measured 0.5 times as fast here"
    monkeypatch.setattr(fastest, "native_precision", lambda: "bf16")
    told = fastest.fastest({**found.parity, "precision": "fp32"})[1]
    assert told == f"{found.reason}; in single precision, which is slower, because this OpenVINO offers no bf16 here"


@pytest.mark.parametrize(
    ("fitted", "apart", "said"),
    [
        (("torch", "bf16"), 0.02, True),
        (("torch", "bf16"), 0.009, False),
        (("openvino", "int8"), 0.02, False),
        (None, 0.02, False),
    ],
)
def test_limits_of_another_engine_are_said_where_probabilities_differ(model_of, fitted, apart, said):
    model = model_of()
    if fitted:
        facts = {**model.facts, choosing.FITTED: dict(zip(("name", "precision"), fitted, strict=True))}
        model = replace(model, facts=facts)
    engine = SimpleNamespace(name="openvino", precision="int8")
    parity = {"tiles": {"middle": {"torch": 1e-3, "int8": 1e-3}, "nearly blank": {"torch": 1e-3, "int8": apart}}}
    caution = choosing._caution(model, engine, "int8", parity)
    expected = (
        "Limits were fitted to probabilities of torch in bf16; those of int8 differ from single precision by 0.02 in the mean"
        " (window 'nearly blank'), PyTorch's by 0.001. For the engine of the limits give --engine torch."
    )
    assert caution == (expected if said else "")
    assert ("caution" in choosing.Chosen(engine, "", {}, caution).to_dict()) == said


def test_a_caution_names_a_window_that_is_far_and_advises_what_the_model_can(model_of):
    fitted = {choosing.FITTED: {"name": "torch", "precision": "bf16"}}
    model, engine = model_of(), SimpleNamespace(name="openvino", precision="int8")
    model = replace(model, facts={**model.facts, **fitted})
    near = {"torch": 0.015, "int8": 0.02, "openvino": 0.016}
    far = {"torch": 0.001, "int8": 0.018, "openvino": 0.001}
    parity = {"tiles": {"middle": near, "nearly blank": far}}
    caution = choosing._caution(model, engine, "int8", parity)
    assert "by 0.018 in the mean (window 'nearly blank'), PyTorch's by 0.001. For the engine of" in caution
    assert choosing._caution(model, engine, "int8", {"tiles": {"middle": near}}) == ""
    (model.folder / WEIGHTS).unlink()
    caution = choosing._caution(model, engine, "int8", parity)
    assert caution.endswith("PyTorch's by 0.001. Nearer to single precision lies --engine openvino.")
    engine.precision = "fp32"
    parity["tiles"]["nearly blank"]["openvino"] = 0.02
    assert choosing._caution(model, engine, "openvino", parity).endswith("(window 'nearly blank'), PyTorch's by 0.001.")


def test_it_is_not_taken_where_it_differs(model_of, case):
    model = model_of()
    far = {"openvino": 0.2, "torch": 1e-3, "same_decision": 0.7}
    seconds = {"openvino": 0.1, "torch": 0.5}
    given(model, {"tiles": {"middle": NEAR, "nearly blank": far}, "seconds": seconds})
    found = choose(model, case)
    assert found.engine.name == "torch" and "window 'nearly blank'" in found.reason
    with pytest.raises(
        UsageError, match=r"--engine openvino: OpenVINO's probabilities differ .* 0\.2 .* --engine torch"
    ):
        choose(model, case, "openvino")


def test_a_difference_that_is_no_number_is_no_agreement(model_of, case):
    model = model_of()
    broken = {**NEAR, "openvino": float("nan")}
    given(model, {"tiles": {"middle": broken}, "seconds": {"openvino": 0.1, "torch": 0.5}})
    assert choose(model, case).engine.name == "torch"


@pytest.mark.parametrize(("code", "says"), [(-11, "ended by signal 11"), (1, "ValueError: no")])
def test_a_crash_of_the_converter_is_a_sentence(model_of, case, monkeypatch, code, says):
    model, runs = model_of(), []
    ended = subprocess.CompletedProcess([], code, "", "Traceback\nValueError: no\n")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: runs.append(a) or ended)
    for _ in range(2):
        found = choose(model, case, macs=lambda: 1e15)
        assert found.engine.name == "torch" and says in found.reason
    assert len(runs) == 1
    with pytest.raises(UsageError, match="could not be converted"):
        choose(model, case, "openvino")


def test_images_that_cannot_be_read_are_no_fault_of_the_network(model_of, case, tmp_path):
    model = model_of()
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    broken = Case("P2", "P2", {**case.channels, "t1c": tmp_path / "broken.nii.gz"})
    found = choose(model, broken, macs=lambda: 1e15)
    assert found.engine.name == "torch" and "broken.nii.gz" in found.reason
    assert choose(model, case, macs=lambda: 1e15).parity["seconds"]


def test_without_openvino_there_is_pytorch(model_of, case, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert choose(model_of(), case, macs=lambda: 1e15).reason == "OpenVINO is not installed"
    with pytest.raises(UsageError, match=r"--engine openvino: OpenVINO is not installed\. Leave --engine away"):
        choose(model_of("other"), case, "openvino")


def test_a_model_folder_that_cannot_be_written(model_of, case, monkeypatch):
    model = model_of()
    (model.folder / "openvino").write_text("a file where the folder should be")
    with pytest.raises(UsageError, match="--engine openvino: "):
        choose(model, case, "openvino")
    assert choose(model, case, macs=lambda: 1e15).engine.name == "torch"


def test_a_broken_network_file_is_a_sentence(model_of, case):
    model = model_of()
    choose(model, case, "openvino")
    network = next(model.folder.glob(f"openvino/*/{NETWORK}"))
    network.write_text("<net")
    parity = json.loads((network.parent / PARITY).read_text())
    (network.parent / PARITY).write_text(json.dumps({**parity, "ratios": {"openvino": 5.0, "torch": 1.0}}))
    shutil.rmtree(network.parent / "compiled", ignore_errors=True)
    with pytest.raises(ModelError, match="a network that OpenVINO can compile is needed"):
        OpenVINOEngine(network, native_precision())
    assert "It was removed; the next call makes it again" in choose(model, case).reason
    assert not network.parent.exists()
    assert choose(model, case, "openvino").engine.name == "openvino" and network.exists()


@pytest.mark.parametrize("text", ['{"made": 5}', "{}", '{"half'])
def test_a_verdict_that_says_nothing_is_none_and_made_again(model_of, case, text):
    model = model_of()
    choose(model, case, "openvino")
    verdict = next(model.folder.glob(f"openvino/*/{PARITY}"))
    verdict.write_text(text)
    assert choose(model, case).reason == "the work is too small for preparing another engine"
    assert choose(model, case, "openvino").engine.name == "openvino"
    assert "tiles" in json.loads(verdict.read_text())


def test_an_unknown_engine(model_of, case):
    with pytest.raises(UsageError, match=r"unknown engine 'openvin'\. Did you mean 'openvino'"):
        choose(model_of(), case, "openvin")


def test_an_interruption_is_not_taken_for_a_doubt(model_of, case, monkeypatch):
    def stopped(*_, **__):
        raise Interrupted("stopped")

    monkeypatch.setattr(subprocess, "run", stopped)
    with pytest.raises(Interrupted):
        choose(model_of(), case, macs=lambda: 1e15)
