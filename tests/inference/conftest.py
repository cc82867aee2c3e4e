"""A small plan, networks with random weights, and engines made of plain functions."""

from __future__ import annotations

import pytest
import torch

from striate import networks
from striate.data.prepare import Preparation
from striate.model.model import Model
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training


class FunctionEngine:
    """An engine that is a plain function of tiles."""

    name, precision = "function", "fp32"

    def __init__(self, function) -> None:
        self.function, self.calls = function, []

    def __call__(self, tiles):
        self.calls.append(tuple(tiles.shape))
        return self.function(torch.from_numpy(tiles)).numpy()


def make_plan(
    *,
    channels=("flair", "t1c"),
    patch=(16, 16, 16),
    spacing_mm=(1.0, 1.0, 1.0),
    regions=None,
    dims=3,
    mirror=(),
    scheme="zscore_nonzero",
):
    """Return a plan for a tiny network."""
    count = len(channels)
    return Plan(
        task=Task(channels=channels, label_names={0: "background", 1: "core", 2: "oedema", 5: "cyst"}, regions=regions),
        preparation=Preparation(spacing_mm=spacing_mm, normalisation=(scheme,) * count, intensities=(None,) * count),
        network=NetworkChoice(name="small_unet", spatial_dims=dims, options={"features": (4, 8)}),
        training=Training(patch=patch, batch=1, steps=1),
        inference=Inference(patch=patch, mirror_axes=mirror),
    )


def make_network(plan, seed=0):
    """Return the plan's network with random weights."""
    torch.manual_seed(seed)
    return networks.create(
        plan.network.name, spatial_dims=plan.network.spatial_dims, in_channels=len(plan.task.channels),
        out_channels=plan.targets.out_channels, **plan.network.options,
    )  # fmt: skip


@pytest.fixture
def function_engine():
    return FunctionEngine


@pytest.fixture
def plan_of():
    return make_plan


@pytest.fixture
def network_of():
    return make_network


@pytest.fixture
def model_of(tmp_path):
    def make(name="model", **options):
        plan = make_plan(**options)
        return Model.save(tmp_path / name, plan, make_network(plan).state_dict(), {})

    return make
