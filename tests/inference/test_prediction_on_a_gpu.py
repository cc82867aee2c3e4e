"""Prediction where tensors lie on a GPU, CUDA's or Apple's (see `played_gpu`): the same masks; what a GPU lacks is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import make_network, make_plan
from played_gpu import played_gpu
from striate.core.case import Case
from striate.core.errors import MemoryLimitError
from striate.core.image import Image
from striate.core.progress import Silent
from striate.inference.engines import choose as choosing
from striate.inference.engines import foresee as foreseeing
from striate.inference.engines import place, pytorch
from striate.inference.engines.dropout import DropoutEngine
from striate.inference.engines.pytorch import TorchEngine
from striate.inference.engines.uncertainty import open_uncertain
from striate.inference.predict import engine_of, predict_case
from striate.inference.whole import through
from striate.io.write import write_image
from striate.model.model import Model
from striate.workflows import predict_masks as predicting

WINDOW = (1, 1, 16, 16, 16)


@pytest.fixture
def model(tmp_path) -> Model:
    plan = make_plan(channels=("flair",), mirror=(0,))
    return Model.save(tmp_path / "model", plan, make_network(plan).state_dict(), {})


@pytest.fixture
def case(tmp_path) -> Case:
    array = np.random.default_rng(0).normal(100, 20, (1, 24, 18, 16)).astype(np.float32)
    write_image(tmp_path / "a.nii.gz", Image(array, np.eye(4)))
    return Case("a", "a", {"flair": tmp_path / "a.nii.gz"})


def window() -> np.ndarray:
    return np.random.default_rng(1).standard_normal(WINDOW, dtype=np.float32)


@pytest.mark.parametrize("kind", ["cuda", "mps"])
@pytest.mark.parametrize("tta", [True, False])
def test_masks_are_the_processors(model, case, kind, tta):
    here = predict_case(model, case, network=TorchEngine(model.network(), True, "fp32"), tta=tta, observe=True)
    with played_gpu(kind) as device:
        engine = TorchEngine(place.placed(model).network, True, "fp32")
        there = predict_case(model, case, network=engine, tta=tta, observe=True)
        assert device.holds(next(engine.network.parameters())) and not device.holds(torch.from_numpy(there.label.array))
    assert np.array_equal(here.label.array, there.label.array)
    assert here.observed is not None and np.allclose(here.observed.features, there.observed.features, atol=1e-5)


@pytest.mark.parametrize(("kind", "precision", "own"), [("cuda", "bf16", True), ("mps", "fp32", False)])
def test_every_way_lies_there_as_a_whole(model, kind, precision, own):
    with played_gpu(kind):
        for engine in (engine_of(model), open_uncertain(model, "ensemble", [model])):
            assert (engine.precision, engine.on_gpu) == (precision, own)
            assert np.isfinite(engine(window())).all()
        assert np.isfinite(engine.disagreement(window())).all()
        for network in (member.network for member in engine.members):
            assert {tensor.device.type for tensor in network.state_dict().values()} == {kind}


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_dropout_draws_there_the_same_each_time(kind):
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3, padding=1), torch.nn.Dropout3d(0.5))
    with played_gpu(kind):
        engine = DropoutEngine(network.to(kind), True, samples=3)
        assert np.array_equal(engine.disagreement(window()), engine.disagreement(window()))


def test_apples_gpu_that_is_asked_for_double_precision_leaves_the_work_to_the_processor(model):
    network = model.network()
    network.register_buffer("scale", torch.ones(1, dtype=torch.float64))
    with played_gpu("mps"):
        found = place.placed(model, network)
    assert found.network is network and "doesn't support float64" in found.problem


def test_whole_images_pass_there():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
    images = np.ones((40, 1, 4, 4), np.float16)
    here = through(network, images)
    with played_gpu():
        assert np.allclose(through(network.to("cuda"), images), here)


@pytest.mark.parametrize(
    ("kind", "error", "told"),
    [
        (
            "cuda",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            r"openvino, or CUDA_VISIBLE",
        ),
        ("cuda", "CUDA error: out of memory", r"openvino, or CUDA_VISIBLE_DEVICES= before the command\."),
        (
            "mps",
            "MPS backend out of memory (MPS allocated: 9 GB). Tried to allocate 1 GB on private pool.",
            r"openvino\.$",
        ),
    ],
)
def test_every_sign_that_memory_ran_out_is_a_sentence(model, monkeypatch, kind, error, told):
    def fails(*_):
        raise RuntimeError(error)

    with played_gpu(kind):
        engine = engine_of(model)
        monkeypatch.setattr(pytorch, "logits_of", fails)
        with pytest.raises(MemoryLimitError, match=rf"the memory of the GPU ran out.*{told}"):
            engine(window())
        assert "needs less" in place.placed(model).problem  # a smaller patch


def test_memory_of_the_processor_that_runs_out_is_pythons_error(model, monkeypatch):
    def fails(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    engine = engine_of(model)
    monkeypatch.setattr(pytorch, "logits_of", fails)
    with pytest.raises(MemoryError, match="DefaultCPUAllocator"):
        engine(window())


def test_a_gpu_that_shares_the_processors_memory_spares_none(monkeypatch):
    with played_gpu():
        assert place.own_memory(torch.device("cuda"))
        torch.cuda.get_device_properties().is_integrated = 1
        assert not place.own_memory(torch.device("cuda"))


def test_a_gpu_that_cannot_even_be_asked_is_foreseen_as_none(monkeypatch):
    def fails(*_):
        raise RuntimeError("CUDA driver error: all devices are busy.")

    monkeypatch.setattr(foreseeing, "may_have_gpu", lambda: True)
    with played_gpu():
        assert foreseeing.may_spare()
        for name in ("get_device_name", "get_device_properties"):
            monkeypatch.setattr(torch.cuda, name, fails)
        assert not foreseeing.may_spare()
        found = foreseeing.by_torch("it was asked for")
        told = "it was asked for; the GPU cannot compute a window (CUDA driver error: all devices are busy)"
        assert (found.reason, found.on_gpu) == (told, False)


def test_the_record_of_an_ensemble_names_the_gpu(model):
    with played_gpu():
        found = predicting._engine(
            model, Case("a", "a", {"flair": Path("a.nii.gz")}), {}, "ensemble", [model], "auto", Silent()
        )
        assert found.reason == "--uncertainty ensemble is computed by it; Played GPU computes it"


def test_the_engine_that_is_chosen_names_the_gpu(model, monkeypatch):
    monkeypatch.setattr(choosing, "may_have_gpu", lambda: True)
    with played_gpu():
        found = choosing.choose(model, Case("a", "a", {"flair": Path("a.nii.gz")}))
        assert (found.reason, found.engine.precision) == ("Played GPU computes it", "bf16")
