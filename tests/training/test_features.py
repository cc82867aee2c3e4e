"""Fixed features: where they are computed, by whom, in which mode, and what they are kept for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from striate import networks
from striate.core.files import write_json
from striate.data.samples import IMAGES, INDEX, TRUTH, VERSION, SampleForm, SampleStore
from striate.networks.network import Network
from striate.networks.scattering import Config
from striate.training import distributed
from striate.training.features import feature_store, organise

COUNT, SIZE = 6, (8, 8)


def store_of(folder: Path, seed: int = 0, key: str = "a") -> SampleStore:
    """Write noise as samples."""
    folder.mkdir()
    draw = np.random.default_rng(seed)
    draw.normal(size=(COUNT, 1, *SIZE)).astype(np.float16).tofile(folder / IMAGES)
    np.save(folder / TRUTH, np.arange(COUNT, dtype=np.uint8) % 2)
    write_json(folder / INDEX, {
        "kind": "striate-samples", "schema_version": VERSION, "key": key, "keep_zero": [False], "spacing_mm": [1, 1],
        "form": SampleForm(size=SIZE, classes=("x", "y")).model_dump(mode="json"), "inputs": {},
        "cases": {f"c{n}": [[]] for n in range(COUNT)},
    })  # fmt: skip
    return SampleStore.open(folder)


def scattering() -> Network:
    torch.manual_seed(0)
    return networks.create("scattering", input_size=SIZE, scales=1, angles=2, out_channels=2)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_network_is_kept(tmp_path, training):
    store, network = store_of(tmp_path / "store"), scattering().train(training)
    for _ in range(2):  # written, then found
        feature_store(network, store, tmp_path / "features")
        assert {m.training for m in network.modules()} == {training}


def test_other_samples_have_other_features(tmp_path):
    network = scattering()
    kept = [feature_store(network, store_of(tmp_path / key, seed, key), tmp_path / "features").images
            for seed, key in enumerate("ab")]  # fmt: skip
    assert kept[0].shape == kept[1].shape and not np.array_equal(*kept)


def test_process_0_writes_and_the_others_wait(tmp_path, monkeypatch):
    store, network, told = store_of(tmp_path / "store"), scattering(), []
    rank = [1]
    plain = network.features
    monkeypatch.setattr(distributed, "rank", lambda: rank[0])
    monkeypatch.setattr(network, "features", lambda x: told.append(rank[0]) or plain(x))

    def meet() -> None:
        """Let process 0 come here, too."""
        if rank[0] == 1:
            rank[0] = 0
            feature_store(network, store, tmp_path / "features")
            rank[0] = 1

    monkeypatch.setattr(distributed, "wait_for_all", meet)
    assert len(feature_store(network, store, tmp_path / "features").images) == COUNT
    assert told == [0]


class Elsewhere(Network):
    """A network whose weights lie on another device ("meta" stands for it), to which images have to come."""

    config_type = Config
    task = "classification"
    fixed_features = True

    def __init__(self) -> None:
        super().__init__(2, 1, 2, Config())
        self.readout = nn.Linear(3, 2, device="meta")

    def features(self, x: Tensor) -> Tensor:
        assert x.device == self.readout.weight.device
        return torch.ones(len(x), 3)

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


def test_images_come_to_the_device_of_the_network(tmp_path):
    assert (feature_store(Elsewhere(), store_of(tmp_path / "store"), tmp_path / "features").images == 1).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_it_is_the_same(tmp_path):
    store = store_of(tmp_path / "store")
    found = []
    for device in ("cpu", "cuda"):
        network = scattering().to(device)
        organise(network, store, tuple(store.rows), seed=0)
        assert next(network.parameters()).device.type == device
        found.append(feature_store(network, store, tmp_path / device).images)
    assert found[0] == pytest.approx(found[1], rel=2e-3, abs=2e-3)


def test_organising_is_done_on_the_cpu_and_the_network_comes_back(tmp_path, monkeypatch):
    store, network, told = store_of(tmp_path / "store"), scattering(), []
    plain, weight = nn.Module.to, network.readout.weight
    monkeypatch.setattr(Network, "cpu", lambda self: told.append("cpu") or self)
    monkeypatch.setattr(Network, "organise", lambda self, images, generator: told.append(images.device.type))
    monkeypatch.setattr(type(network), "organise", Network.organise)
    monkeypatch.setattr(Network, "to", lambda self, place: told.append(f"back to {place}") or plain(self, place))
    organise(network, store, tuple(store.rows), seed=0)
    assert told == ["cpu", "cpu", "back to cpu"] and network.readout.weight is weight
