"""A network in int8: made by calibrate, kept where Dice allows it, used where it is measured to be faster."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from striate import networks
from striate.core.case import Case
from striate.core.errors import UsageError
from striate.core.image import Image, LabelMap
from striate.core.machine import native_precision
from striate.core.progress import Silent
from striate.inference.engines import choose as choosing
from striate.inference.engines.choose import choose
from striate.inference.engines.int8 import FOLDER, Int8, int8_of
from striate.inference.engines.openvino import PARITY
from striate.inference.engines.quantise import quantise, windows
from striate.inference.predict import predict_case
from striate.io.read import read_label
from striate.io.write import write_image, write_label
from striate.measure.evaluation import CaseEvaluation
from striate.model.model import Model
from striate.planning.plan import NetworkChoice
from striate.workflows.calibrate import calibrate


@pytest.fixture
def model_of(plan_of, tmp_path):
    """Models with `unet`, whose normalisation comes as OpenVINO's own."""

    def make(name="model"):
        options = {"features": (8, 16)}
        plan = plan_of().model_copy(update={"network": NetworkChoice(name="unet", spatial_dims=3, options=options)})
        torch.manual_seed(0)
        network = networks.create("unet", spatial_dims=3, in_channels=2, out_channels=4, **options)
        return Model.save(tmp_path / name, plan, network.state_dict(), {})

    return make


@pytest.fixture
def cases(tmp_path):
    """Two cases with a bright block, which is their mask; the folder is a cohort."""
    rng, found = np.random.default_rng(0), []
    for name in ("P1", "P2"):
        array, label, files = (
            rng.normal(100, 20, (1, 24, 20, 18)).astype(np.float32),
            np.zeros((24, 20, 18), np.uint8),
            {},
        )
        array[:, 5:12, 6:14, 5:11] += 80
        label[5:12, 6:14, 5:11] = 1
        (tmp_path / "cohort" / "images").mkdir(parents=True, exist_ok=True)
        (tmp_path / "cohort" / "masks").mkdir(exist_ok=True)
        for channel in ("flair", "t1c"):
            files[channel] = tmp_path / "cohort" / "images" / f"{name}_{channel}.nii.gz"
            write_image(files[channel], Image(array, np.eye(4)))
        mask = tmp_path / "cohort" / "masks" / f"{name}.nii.gz"
        write_label(mask, LabelMap(label, np.eye(4)))
        found.append(Case(name, name, files, label=mask))
    return found


def test_windows_are_those_of_prediction_and_hold_foreground(plan_of, cases):
    found = list(windows(plan_of(), cases))
    assert len(found) == 16 and all(w.shape == (1, 2, 16, 16, 16) and w.flags.c_contiguous for w in found)
    assert found[0].max() > 3 and not np.array_equal(found[0], found[1])
    assert [w.sum() for w in windows(plan_of(), cases)] == [w.sum() for w in found]


def test_it_is_made_measured_and_used_where_it_is_faster(model_of, cases):
    model = model_of()
    with pytest.raises(UsageError, match=r"--engine int8: the model has no network in int8; striate calibrate"):
        choose(model, cases[0], "int8")
    into = model.folder / FOLDER
    into.mkdir()
    assert quantise(model, cases, into) == ""
    before = [
        CaseEvaluation.of(c.name, predict_case(model, c).label, read_label(c.label), model.plan.targets) for c in cases
    ]
    Int8.measured(into, before, before, model.facts["weights_sha256"]).write()
    chosen = choose(model, cases[0], "int8")
    assert (chosen.engine.name, chosen.engine.precision) == ("openvino", "int8")
    assert chosen.reason.endswith("over 2 held-out subjects: it may be used") and "in int8 Dice falls" in chosen.reason
    near = chosen.parity["tiles"]["middle"]
    assert 0 < near["int8"] < 0.05 and set(chosen.parity["seconds"]) == {"openvino", "int8", "torch"}
    ours, theirs = (
        predict_case(model, cases[0], network=chosen.engine, observe=True),
        predict_case(model, cases[0], observe=True),
    )
    assert (ours.label.array == theirs.label.array).mean() > 0.9
    np.testing.assert_allclose(ours.observed.features, theirs.observed.features, atol=0.03)
    (parity,) = model.folder.glob(f"openvino/*/{PARITY}")
    assert set(chosen.parity["ratios"]) == {"openvino", "int8", "torch"}
    for ratios, name in (({"int8": 9.0, "openvino": 4.5}, "int8"), ({"int8": 4.5, "openvino": 9.0}, "fp32")):
        parity.write_text(json.dumps({**chosen.parity, "precision": "fp32", "ratios": {**ratios, "torch": 1.0}}))
        assert choose(model, cases[0]).engine.precision == name
    far = {window: {**apart, "int8": 0.5} for window, apart in chosen.parity["tiles"].items()}
    parity.write_text(json.dumps({**chosen.parity, "tiles": far, "ratios": {"int8": 9, "openvino": 4.5, "torch": 1}}))
    assert choose(model, cases[0]).engine.precision == chosen.parity["precision"]


def test_what_falls_is_not_used(model_of, cases, tmp_path):
    model = model_of()
    folder = model.folder / FOLDER
    folder.mkdir()
    (folder / "network.bin").write_bytes(b"")
    pair = [[CaseEvaluation("P1", {"core": {"dice": dice}})] for dice in (0.9, 0.8)]
    Int8.measured(folder, *pair, model.facts["weights_sha256"]).write()
    with pytest.raises(UsageError, match=r"--engine int8: in int8 Dice falls most for core, by 0\.1000 .* not used"):
        choose(model, cases[0], "int8")
    assert choosing._key(model, "openvino") == choosing._key(model_of("other"), "openvino")


def test_calibrate_makes_it_and_says_so_everywhere(model_of, cases, tmp_path):
    found = calibrate(model_of(), tmp_path / "cohort", tmp_path / "out", int8=True)
    model = Model.open(tmp_path / "out")
    int8 = int8_of(model)
    assert len(int8.cases) == 2 and model.facts["int8"]["reason"] == int8.reason
    assert int8.network.is_file() == int8.allowed
    assert model.facts[choosing.FITTED] == {"name": "torch", "precision": native_precision()}
    assert f"In whole numbers of 8 bits: {int8.reason}." in (model.folder / "card.md").read_text()
    dice = {row["case"]: row["dice"]["core"][0] for row in int8.cases}
    assert dice == {c.case: c.labels["core"]["dice"] for c in found.evaluation.cases}
    assert not (tmp_path / "out" / FOLDER).exists()


def test_a_crash_is_a_warning_and_the_calibration_stands(model_of, cases, tmp_path, monkeypatch):
    monkeypatch.setattr("striate.workflows.int8.quantise", lambda *_: "the process was ended by signal 11")
    listener = Silent()
    calibrate(model_of(), tmp_path / "cohort", tmp_path / "out", int8=True, progress=listener)
    assert any(
        "could not be brought to int8 (the process was ended by signal 11)" in text for text in listener.warnings
    )
    model = Model.open(tmp_path / "out")
    assert int8_of(model) is None and "int8" not in model.facts


def test_what_cannot_be_in_int8_is_refused_first(model_of, cases, tmp_path):
    model = model_of()
    with pytest.raises(UsageError, match=r"--int8: --uncertainty ensemble is computed by torch"):
        calibrate(model, tmp_path / "cohort", tmp_path / "out", int8=True, ensemble=[model.folder])
    assert not (tmp_path / "out").exists()
