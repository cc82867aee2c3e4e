"""What a timed step is: shapes and the part that learns; no time is measured."""

from __future__ import annotations

import pytest
from torch import nn

from striate.planning.plan import NetworkChoice, Task, Training
from striate.training import timing


@pytest.fixture
def stepped(monkeypatch):
    """Collect what is trained, and on what."""
    seen = []

    def step(network, optimiser, loss, training, images, truth):
        seen.append((network, tuple(images.shape), tuple(truth.shape)))

    monkeypatch.setattr(timing, "train_step", step)
    return seen


def timed(name, options, patch, kind="classification", **training):
    task = Task(kind=kind, channels=("image",), unit="case", classes=("a", "b"))
    setting = Training(patch=patch, batch=4, steps=1, loss="cross_entropy", **training)
    timing.time_step(task, NetworkChoice(name=name, spatial_dims=2, options=options), setting, precisions=("fp32",))


@pytest.mark.parametrize("classifier", [None, "lenet5_modern"])
def test_of_fixed_features_the_readout_is_timed(stepped, classifier):
    options = {"input_size": [64, 64]} | ({"classifier": classifier} if classifier else {})
    timed("scattering", options, (64, 64))
    network, images, truth = stepped[0]
    assert isinstance(network, nn.Sequential if classifier else nn.Linear)
    assert images == (4, 81 * 16 * 16) and truth == (4,)  # 1 + 2·8 + 8² maps of 16 × 16


@pytest.mark.parametrize("native", [True, False])
def test_bf16_is_not_timed_on_a_gpu_that_emulates_it(monkeypatch, native):
    monkeypatch.setattr(timing, "computes_in_bf16", lambda: not native)  # the processor beside it is not asked
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("striate.training.gpu.problem", lambda: "")
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert timing._native_bf16() is native


def test_others_are_timed_whole(stepped):
    timed("mlp", {"input_size": [20, 20]}, (20, 20))
    assert type(stepped[0][0]).__name__ == "MLP" and stepped[0][1:] == ((4, 1, 20, 20), (4,))
    timed("conv_lstm", {}, (32, 32), "sequence", length=3)
    assert stepped[-1][1:] == ((4, 3, 1, 32, 32), (4, 3))


def test_the_speed_of_a_product_is_measured_once_per_process():
    found = {timing.MachineTimer().peak_flops("fp32") for _ in range(3)}
    assert len(found) == 1 and found.pop() > 1e8
    seen = timing._peak_flops.cache_info()
    assert seen.hits >= 2 and seen.misses == seen.currsize
