"""A GPU is played by the processor: what is tested is who is asked, who answers, and what is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import make_network, make_plan
from striate.core.case import Case
from striate.inference.engines import choose as choosing
from striate.inference.engines import place
from striate.inference.engines.uncertainty import open_uncertain
from striate.inference.predict import engine_of
from striate.model.model import Model


@pytest.fixture
def model(tmp_path):
    plan = make_plan(channels=("flair",))
    return Model.save(tmp_path / "model", plan, make_network(plan).state_dict(), {})


@pytest.fixture
def with_gpu(monkeypatch):
    monkeypatch.setattr(choosing, "may_have_gpu", lambda: True)
    monkeypatch.setattr(place, "gpu", lambda: torch.device("cpu"))
    monkeypatch.setattr(place, "named", lambda device: "Some GPU")


def out_of_memory(*_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")


def chosen(model, *name):
    told = []
    return choosing.choose(
        model, Case("a", "a", {"flair": Path("a.nii.gz")}), *name, macs=lambda: 1.0, tell=told.append
    ), told


def test_without_a_gpu_the_processor_computes(model, monkeypatch):
    monkeypatch.setattr(place, "gpu", lambda: None)
    found = place.placed(model)
    assert not found.gpu and not found.problem and not found.network.training


def test_a_gpu_computes_and_nothing_is_converted(model, with_gpu):
    found, told = chosen(model)
    assert (found.engine.name, found.reason, found.parity, told) == ("torch", "Some GPU computes it", {}, [])
    assert chosen(model, "torch")[0].reason == "it was asked for; Some GPU computes it"
    assert not (model.folder / "openvino").exists()


def test_a_gpu_that_cannot_leaves_the_work_to_the_processor(model, with_gpu, monkeypatch):
    monkeypatch.setattr(place, "logits_of", out_of_memory)
    found, told = chosen(model)
    assert found.reason.startswith("the work is too small for preparing another engine; Some GPU cannot compute")
    assert told[0] == (
        "Some GPU cannot compute a window (CUDA out of memory. Tried to allocate 9 GiB); the processor does it"
    )
    assert "Some GPU cannot compute" in chosen(model, "torch")[0].reason
    tile = np.zeros((1, 1, 16, 16, 16), np.float32)
    assert found.engine(tile).shape == (1, 4, 16, 16, 16)


@pytest.mark.parametrize("opened", [engine_of, lambda model: open_uncertain(model, "none")])
def test_every_way_to_an_engine_asks_for_the_gpu(model, with_gpu, monkeypatch, opened):
    asked = []
    monkeypatch.setattr(place, "logits_of", lambda network, image: asked.append(tuple(image.shape)) or image)
    opened(model)
    assert asked == [(1, 1, 16, 16, 16)]


def test_an_ensemble_lies_there_as_a_whole(model, with_gpu, monkeypatch):
    asked = []
    monkeypatch.setattr(place, "logits_of", lambda network, image: asked.append(network) or image)
    open_uncertain(model, "ensemble", [model])
    assert len(asked) == 2


def test_the_precision_is_that_of_where_the_network_lies(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert place.precision_on(torch.device("cuda")) == place.precision_on(torch.device("mps")) == "fp32"
    monkeypatch.setattr(place, "native_precision", lambda: "bf16")
    assert place.precision_on(torch.device("cpu")) == "bf16"
