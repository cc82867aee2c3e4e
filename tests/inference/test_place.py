"""A GPU is played by the processor: what is tested is who is asked, who answers, and what is said."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import make_network, make_plan
from striate.core.case import Case
from striate.core.errors import MemoryLimitError
from striate.core.image import Grid, Image
from striate.core.progress import Silent
from striate.inference import memory
from striate.inference.engines import choose as choosing
from striate.inference.engines import foresee as foreseeing
from striate.inference.engines import place, pytorch
from striate.inference.engines.foresee import foresee
from striate.inference.engines.uncertainty import open_uncertain
from striate.inference.predict import engine_of, predict_case
from striate.io.write import write_image
from striate.model.model import Model
from striate.workflows import predict_masks as predicting
from striate.workflows.predict import predict


@pytest.fixture
def model(tmp_path):
    plan = make_plan(channels=("flair",))
    return Model.save(tmp_path / "model", plan, make_network(plan).state_dict(), {})


@pytest.fixture
def with_gpu(monkeypatch):
    monkeypatch.setattr(choosing, "may_have_gpu", lambda: True)
    monkeypatch.setattr(place, "gpu", lambda: torch.device("cpu"))
    monkeypatch.setattr(place, "named", lambda device: "Some GPU")


def raising(error):
    def answer(*_, **__):
        raise error

    return answer


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")


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
    monkeypatch.setattr(place, "answer", raising(OUT_OF_MEMORY))
    found, told = chosen(model)
    assert found.reason.startswith("the work is too small for preparing another engine; Some GPU cannot compute")
    assert told[0] == (
        "Some GPU cannot compute a window (CUDA out of memory. Tried to allocate 9 GiB); a smaller inference.patch than"
        f" [16, 16, 16] in {model.folder / 'plan.yaml'} needs less; the processor does it"
    )
    assert "Some GPU cannot compute" in chosen(model, "torch")[0].reason
    tile = np.zeros((1, 1, 16, 16, 16), np.float32)
    assert found.engine(tile).shape == (1, 4, 16, 16, 16)


def test_a_gpu_that_cannot_is_asked_once(model, with_gpu, monkeypatch):
    asked = []

    def fails(*_):
        asked.append("")
        raise OUT_OF_MEMORY

    monkeypatch.setattr(place, "answer", fails)
    found, told = chosen(model)
    assert len(asked) == len(told) == 1 and "Some GPU cannot compute" in found.reason


@pytest.mark.parametrize("error", [RuntimeError("all devices are busy"), TypeError("no float64 here")])
def test_a_gpu_that_does_not_even_begin_costs_nothing(model, with_gpu, monkeypatch, error):
    monkeypatch.setattr(place, "named", raising(error))
    found = place.placed(model)
    assert (found.gpu, found.problem) == ("", f"the GPU cannot compute a window ({error})")


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [(np.nan, "its answer is not finite"), (0.4, "its probabilities differ from the processor's by 0.4 in the mean")],
)
def test_a_gpu_that_answers_wrongly_is_not_taken(model, with_gpu, monkeypatch, wrong, problem):
    asked, answer = [], place.answer

    def answered(model, network, precision=None):
        asked.append(precision)
        return answer(model, network, precision) + np.float32(wrong if len(asked) == 1 else 0)

    monkeypatch.setattr(place, "answer", answered)
    found = place.placed(model)
    assert (found.gpu, found.problem) == ("", f"Some GPU cannot compute a window ({problem})")
    assert asked == ([None] if np.isnan(wrong) else [None, "fp32"])


def test_the_window_that_is_tried_is_computed_as_all_others_will_be(model, with_gpu, monkeypatch):
    seen, logits_of = [], pytorch.logits_of

    def noted(network, image):
        seen.append((tuple(image.shape), image.is_contiguous(memory_format=torch.channels_last_3d)))
        return logits_of(network, image)

    monkeypatch.setattr(pytorch, "logits_of", noted)
    place.placed(model)
    assert seen == 2 * [((1, 1, 16, 16, 16), True)]


def test_memory_of_a_gpu_that_runs_out_later_is_a_sentence(model, monkeypatch):
    engine = engine_of(model)
    monkeypatch.setattr(pytorch, "logits_of", raising(OUT_OF_MEMORY))
    with pytest.raises(MemoryLimitError, match="the memory of the GPU ran out"):
        engine(np.zeros((1, 1, 16, 16, 16), np.float32))


@pytest.mark.parametrize("opened", [engine_of, lambda model: open_uncertain(model, "none")])
def test_every_way_to_an_engine_asks_for_the_gpu(model, with_gpu, monkeypatch, opened):
    asked, answer = [], place.answer
    monkeypatch.setattr(place, "answer", lambda model, *given: asked.append(model) or answer(model, *given))
    opened(model)
    assert asked == [model, model]  # there, and here


def test_an_ensemble_lies_there_as_a_whole(model, with_gpu, monkeypatch):
    asked, answer = [], place.answer
    monkeypatch.setattr(place, "answer", lambda _, network, *way: asked.append(network) or answer(_, network, *way))
    open_uncertain(model, "ensemble", [model])
    assert len(asked) == len({id(network) for network in asked}) == 4


BUSY = RuntimeError("all devices are busy")
CANNOT = "Some GPU cannot compute a window (all devices are busy)"


def test_a_window_that_is_too_large_for_the_gpu_leaves_the_work_to_the_processor(model, with_gpu, monkeypatch):
    seen, logits_of = [], pytorch.logits_of

    def computed(network, image):
        seen.append("")
        if len(seen) == 1:
            raise OUT_OF_MEMORY
        return logits_of(network, image)

    monkeypatch.setattr(pytorch, "logits_of", computed)
    found = place.placed(model)
    assert found.problem.startswith(
        "Some GPU cannot compute a window (CUDA out of memory. Tried to allocate 9 GiB); a smaller"
    )


def test_main_memory_is_spared_where_the_network_lies_in_that_of_a_gpu(model, with_gpu, monkeypatch):
    grids = {"a": (Grid((40, 40, 40), np.eye(4)), 1)}
    case = Case("a", "a", {"flair": Path("a.nii.gz")})

    def network(engine, *, exact=False):
        return predicting.needs_of(model, [case], grids, engine, crf=False, exact=exact)[0][0]["network"]

    assert not engine_of(model).on_gpu and not foresee(model, "auto", lambda: 0.0).on_gpu
    by_processor = network(engine_of(model)), network(engine_of(model), exact=True)
    monkeypatch.setattr(place, "own_memory", lambda device: True)
    monkeypatch.setattr(pytorch, "own_memory", lambda device: True)
    monkeypatch.setattr(foreseeing, "may_have_gpu", lambda: True)
    ways = (
        engine_of(model), open_uncertain(model, "ensemble", [model]), foresee(model, "auto", lambda: 0.0),
        foreseeing.by_torch("--uncertainty dropout is computed by it"), memory.GPU,
    )  # fmt: skip
    assert foreseeing.may_spare()
    in_gpu = memory.LIBRARIES_BYTES + memory.GPU_BYTES + 4 * 16**3 * (1 + 3 * 4)
    assert [network(engine) for engine in ways] == 5 * [in_gpu] and by_processor[0] != in_gpu
    assert network(ways[0], exact=True) == by_processor[1]  # the processor computes that


def test_without_a_gpu_nobody_waits_for_pytorch_to_be_told_so():
    program = (
        "import sys; from striate.inference.engines import foresee; foresee.may_have_gpu = lambda: False;"
        " print(foresee.may_spare(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("spared", [True, False])
def test_a_window_too_large_for_main_memory_is_refused_only_where_no_gpu_holds_it(model, monkeypatch, tmp_path, spared):
    scan = tmp_path / "a.nii.gz"
    write_image(scan, Image(np.random.default_rng(0).normal(100, 20, (1, 20, 18, 16)).astype(np.float32), np.eye(4)))
    model = replace(model, facts={"activations_per_voxel": 5e5})  # 9 GB in a window
    monkeypatch.setattr(memory, "memory_available_bytes", lambda: 3_000_000_000)
    monkeypatch.setattr(predicting, "may_spare", lambda: spared)
    monkeypatch.setattr(predicting, "_engine", raising(RuntimeError("it begins")))
    with pytest.raises(RuntimeError if spared else MemoryLimitError, match="begins" if spared else "inference.patch"):
        predict(model, scan, tmp_path / "out")


@pytest.mark.parametrize(
    "opened",
    [
        lambda model, tell: engine_of(model, tell=tell),
        lambda model, tell: open_uncertain(model, "none", tell=tell),
        lambda model, tell: open_uncertain(model, "ensemble", [model, model], tell=tell),
    ],
)
def test_every_way_to_an_engine_says_once_that_the_processor_does_it(model, with_gpu, monkeypatch, opened):
    monkeypatch.setattr(place, "answer", raising(BUSY))
    told = []
    opened(model, told.append)
    assert told == [f"{CANNOT}; the processor does it"]


def test_the_record_of_an_ensemble_says_that_the_processor_does_it(model, with_gpu, monkeypatch):
    monkeypatch.setattr(place, "answer", raising(BUSY))
    told, progress = [], Silent()
    monkeypatch.setattr(progress, "note", told.append)
    case = Case("a", "a", {"flair": Path("a.nii.gz")})
    found = predicting._engine(model, case, {}, "ensemble", [model], "auto", progress)
    assert found.reason == f"--uncertainty ensemble is computed by it; {CANNOT}; the processor does it"
    assert told == [f"{CANNOT}; the processor does it"]


def test_the_reason_for_another_engine_names_a_gpu_that_cannot(model, with_gpu, monkeypatch):
    other = choosing.Chosen(engine_of(model), "it is faster", {})
    monkeypatch.setattr(place, "answer", raising(BUSY))
    monkeypatch.setattr(choosing, "_converted", lambda *_: (other, "", {}))
    assert chosen(model)[0].reason == f"it is faster; {CANNOT}"


def test_a_case_predicted_alone_says_it_in_its_facts(model, with_gpu, monkeypatch, tmp_path):
    scan = tmp_path / "a.nii.gz"
    array = np.random.default_rng(0).normal(100, 20, (1, 20, 18, 16)).astype(np.float32)
    write_image(scan, Image(array, np.eye(4)))
    case = Case("a", "a", {"flair": scan})
    assert "gpu" not in predict_case(model, case).facts
    monkeypatch.setattr(place, "answer", raising(BUSY))
    assert predict_case(model, case).facts["gpu"] == f"{CANNOT}; the processor does it"


def test_the_precision_is_that_of_where_the_network_lies(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert place.precision_on(torch.device("cuda")) == place.precision_on(torch.device("mps")) == "fp32"
    monkeypatch.setattr(place, "native_precision", lambda: "bf16")
    assert place.precision_on(torch.device("cpu")) == "bf16"


def test_single_precision_on_a_gpu_is_not_rounded_to_tf32(model, monkeypatch):
    cudnn, seen, logits_of = torch.backends.cudnn, [], pytorch.logits_of
    assert cudnn.allow_tf32  # PyTorch's default
    monkeypatch.setattr(
        pytorch, "logits_of", lambda network, image: seen.append(cudnn.allow_tf32) or logits_of(network, image)
    )
    asked, single = [], pytorch.single_precision
    monkeypatch.setattr(
        pytorch, "single_precision", lambda device: asked.append(device.type) or single(torch.device("cuda"))
    )
    tile = np.zeros((1, 1, 16, 16, 16), np.float32)
    pytorch.TorchEngine(model.network(), True, "fp32")(tile)
    pytorch.TorchEngine(model.network(), True, "bf16")(tile)
    assert (asked, seen, cudnn.allow_tf32) == (["cpu"], [False, True], True)
