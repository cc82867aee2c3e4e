"""Model folders: whole, readable back, and refused with a sentence when they are not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from striate import networks
from striate.core.errors import DataError, ModelError, PlanError
from striate.data.prepare import Preparation
from striate.model.model import Model
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training

OPTIONS = {"features": [4, 8]}


def _plan(channels=("flair", "t1c")) -> Plan:
    return Plan(
        task=Task(channels=channels, label_names={0: "background", 1: "oedema", 4: "enhancing"}),
        preparation=Preparation(
            spacing_mm=(1, 1, 1), normalisation=("zscore",) * len(channels), intensities=(None,) * len(channels)
        ),
        network=NetworkChoice(name="small_unet", spatial_dims=3, options=OPTIONS),
        training=Training(patch=(16, 16, 16), batch=2, steps=10),
        inference=Inference(patch=(16, 16, 16)),
    )


def _network(seed=0):
    torch.manual_seed(seed)
    return networks.create("small_unet", spatial_dims=3, in_channels=2, out_channels=3, **OPTIONS)


@pytest.fixture
def folder(tmp_path) -> Path:
    facts = {
        "training_subjects": 3,
        "validation": {"oedema": {"dice": {"mean": 0.8, "low": 0.7, "high": 0.9, "n": 4}, "hd95_mm": {"mean": 4.2}}},
    }
    Model.save(tmp_path / "model", _plan(), _network().state_dict(), facts)
    return tmp_path / "model"


def test_what_was_saved_comes_back(folder):
    model = Model.open(folder)
    assert model.plan == _plan()
    assert model.facts["training_subjects"] == 3
    assert model.channels == ("flair", "t1c")
    network, image = model.network(), torch.randn(1, 2, 16, 16, 16)
    assert not network.training
    assert torch.equal(network(image), _network().eval()(image))


def test_a_run_folder_holds_its_model(folder):
    assert Model.open(folder.parent).folder == folder


def test_saving_again_replaces_the_model_and_leaves_nothing_else(folder):
    second = _network(seed=1)
    Model.save(folder, _plan(), second.state_dict(), {})
    image = torch.randn(1, 2, 16, 16, 16)
    assert torch.equal(Model.open(folder).network()(image), second.eval()(image))
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_failing_save_leaves_the_old_model(folder):
    with pytest.raises(AttributeError, match="detach"):
        Model.save(folder, _plan(), {**_network().state_dict(), "wrong": "text"}, {})
    assert Model.open(folder).facts["training_subjects"] == 3
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_the_old_model_stays_where_it_cannot_be_replaced(folder, monkeypatch):
    before, usual = Model.open(folder).facts["weights_sha256"], Path.replace

    def refuse(path, target):
        if ".new." in path.name and Path(target) == folder:
            raise PermissionError("another program looks into it")
        return usual(path, target)

    monkeypatch.setattr(Path, "replace", refuse)
    model = Model.open(folder)
    with pytest.raises(PermissionError):
        Model.save(folder, model.plan, {name: t + 1 for name, t in model.network().state_dict().items()}, {})
    assert Model.open(folder).facts["weights_sha256"] == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_is_not_a_model_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match="not empty"):
        Model.save(tmp_path, _plan(), _network().state_dict(), {})
    assert (tmp_path / "thesis.tex").read_text() == "x"


def test_the_card_has_the_sections_of_mitchell_et_al(folder):
    card = (folder / "card.md").read_text()
    titles = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert titles == [
        "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
        "Quantitative analyses", "Ethical considerations", "Caveats and recommendations",
    ]  # fmt: skip
    assert "oedema: Dice 0.8 (0.7 to 0.9), n 4, HD95 (mm) 4.2." in card
    assert Model.open(folder).facts["weights_sha256"] in card


def test_the_card_writes_measures_of_classes_as_numbers(tmp_path):
    one = {"value": 0.912345, "low": 0.8, "high": None, "n": 12}
    facts = {
        "validation": {"overall": {"accuracy": one | {"high": 1.0}, "ece": one | {"low": None}, "auc": {"value": None}}}
    }
    Model.save(tmp_path / "model", _plan(), _network().state_dict(), facts)
    card = (tmp_path / "model" / "card.md").read_text()
    assert "overall: Accuracy 0.912 (0.8 to 1), n 12, Calibration error (ECE) 0.912, n 12, AUC not measurable." in card


def test_parameters_are_those_that_learn(tmp_path):
    """What a normalisation counts and averages is stored, but is no parameter; the plan counts the same."""
    network = networks.create("inception_3d", spatial_dims=3, in_channels=2, out_channels=3)
    assert any("running_mean" in name for name in network.state_dict())
    plan = _plan().changed(network=NetworkChoice(name="inception_3d", spatial_dims=3).model_dump())
    saved = Model.save(tmp_path / "model", plan, network.state_dict(), {})
    assert saved.facts["parameters"] == sum(p.numel() for p in network.parameters())


def test_opening_needs_no_torch(folder):
    code = "import sys; from striate.model.model import Model; Model.open(sys.argv[1]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def _truncate(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-7])


def _text(folder):
    (folder / "weights.safetensors").write_text("not weights at all, but text")


def _empty(folder):
    (folder / "weights.safetensors").write_bytes(b"")


def _newer(folder):
    facts = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**facts, "schema_version": 99}))


def _newer_plan(folder):
    plan = yaml.safe_load((folder / "plan.yaml").read_text())
    (folder / "plan.yaml").write_text(yaml.safe_dump({**plan, "schema_version": 99}))


def _no_weights(folder):
    (folder / "weights.safetensors").unlink()


def _no_folder(folder):
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (_truncate, r"header announces \d+ bytes, so the weights are truncated"),
        (_text, "no safetensors header"),
        (_empty, "no safetensors header"),
        (_newer, "schema version 99; this Striate reads up to 1"),
        (_newer_plan, "schema version 99; this Striate reads up to 1"),
        (_no_weights, r"weights.safetensors missing \(found: card.md, model.json, plan.yaml\)"),
        (_no_folder, "there is no such folder; a model or run folder is needed"),
    ],
)
def test_a_broken_model_is_refused_when_opened(folder, damage, match):
    damage(folder)
    with pytest.raises(ModelError, match=match) as caught:
        Model.open(folder)
    assert caught.value.exit_code == 4


def test_a_file_is_no_model(folder):
    with pytest.raises(ModelError, match=r"it is a file; a model or run folder is needed\. Give its folder"):
        Model.open(folder / "plan.yaml")


def test_changed_weights_are_refused(folder):
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ModelError, match="the weights are not its own"):
        Model.open(folder).network()


def test_weights_of_another_network_name_the_tensor(folder):
    text = (folder / "plan.yaml").read_text()
    (folder / "plan.yaml").write_text(text.replace("features: [4, 8]", "features: [4, 16]"))
    with pytest.raises(ModelError, match=r"tensor .* is .*; the network of plan.yaml has it as"):
        Model.open(folder).network()


def test_weights_that_are_not_finite_name_the_tensor(tmp_path):
    state = _network().state_dict()
    name = next(iter(state))
    state[name] = torch.full_like(state[name], float("nan"))
    model = Model.save(tmp_path / "model", _plan(), state, {})
    with pytest.raises(ModelError, match=rf"tensor {name} holds numbers that are not finite; .* train again"):
        model.network()


def test_an_unknown_network_is_a_plan_error(folder):
    text = (folder / "plan.yaml").read_text()
    (folder / "plan.yaml").write_text(text.replace("name: small_unet", "name: small_une"))
    with pytest.raises(PlanError, match="Did you mean 'small_unet'"):
        Model.open(folder).network()
