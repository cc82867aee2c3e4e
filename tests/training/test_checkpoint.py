"""A checkpoint holds everything, survives being cut, and says what is wrong with it."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from striate.core.errors import ModelError
from striate.training import checkpoint, optimise
from striate.training.average import WeightAverage
from striate.training.loop import initialise
from striate.training.step import channels_last


class Learner:
    """A network with its optimiser and average."""

    def __init__(self, plan):
        self.plan, self.network = plan, initialise(plan).train()
        self.average = WeightAverage(self.network, plan.training.ema)
        self.optimiser = optimise.create(self.network, plan.training)

    def learn(self, step):
        draw = torch.Generator().manual_seed(step)
        images = torch.randn((2, 1, *self.plan.training.patch), generator=draw)
        self.optimiser.zero_grad(set_to_none=True)
        self.network(images.to(memory_format=channels_last(3))).square().mean().backward()
        self.optimiser.step()
        self.average.update(self.network, step + 1)

    def save(self, path, step=3):
        checkpoint.save(path, step=step, network=self.network, average=self.average.network,
                        optimiser=self.optimiser)  # fmt: skip

    def load(self, path):
        return checkpoint.load(path, network=self.network, average=self.average.network, optimiser=self.optimiser)

    def numbers(self):
        state = self.optimiser.state_dict()["state"]
        moments = [v for _, s in sorted(state.items()) for _, v in sorted(s.items()) if isinstance(v, torch.Tensor)]
        return [*self.network.state_dict().values(), *self.average.network.state_dict().values(), *moments]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.safetensors"


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("options", [{}, {"norm": "batch"}])
def test_going_on_is_bit_identical(path, tiny_plan, optimiser, options):
    """Also with channels-last weights, whose moments must come back in the same order in memory."""
    plan = tiny_plan(optimiser=optimiser)
    plan = plan.changed(network=plan.network.changed(options={**plan.network.options, **options}).model_dump())
    straight, resumed = Learner(plan), Learner(plan)
    for step in range(3):
        straight.learn(step)
    straight.save(path)
    for step in range(3, 6):
        straight.learn(step)
    assert resumed.load(path) == 3
    for step in range(3, 6):
        resumed.learn(step)
    pairs = zip(straight.numbers(), resumed.numbers(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_nothing_is_lost(path, tiny_plan):
    learner = Learner(tiny_plan())
    learner.learn(0)
    learner.save(path, step=1)
    again = Learner(tiny_plan(seed=5))
    again.load(path)
    assert all(torch.equal(a, b) for a, b in zip(learner.numbers(), again.numbers(), strict=True))
    assert checkpoint.step_of(path) == 1
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_a_truncated_file(path, tiny_plan, share):
    learner = Learner(tiny_plan())
    learner.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match=r"checkpoint\.safetensors: not a readable checkpoint .*Remove it"):
        learner.load(path)
    with pytest.raises(ModelError, match="not a readable checkpoint"):
        checkpoint.step_of(path)


def test_a_missing_file(path, tiny_plan):
    with pytest.raises(ModelError, match="not a readable checkpoint"):
        Learner(tiny_plan()).load(path)


@pytest.mark.parametrize("features", [[8, 16], [4, 8, 16]])
def test_another_network(path, tiny_plan, features):
    plan = tiny_plan()
    Learner(plan).save(path)
    other = Learner(plan.changed(network=plan.network.changed(options={"features": features}).model_dump()))
    with pytest.raises(
        ModelError, match=r"it does not fit the plan's network .*the plan that the run was started with"
    ):
        other.load(path)


@pytest.mark.parametrize("header", [{"schema_version": 2, "step": 1}, {}, None])
def test_another_version_or_no_checkpoint_at_all(path, header):
    metadata = None if header is None else {"striate-checkpoint": json.dumps(header)}
    save_file({"a": torch.zeros(1)}, path, metadata=metadata)
    with pytest.raises(ModelError, match=r"checkpoint version (2|None); this Striate reads version 1.*pip install -U"):
        checkpoint.step_of(path)


def test_a_kill_while_writing_leaves_the_last_one(path, tiny_plan, monkeypatch):
    learner = Learner(tiny_plan())
    learner.save(path, step=3)
    before = path.read_bytes()

    def killed(tensors, beside, metadata):
        beside.write_bytes(b"half")
        raise OSError("killed")

    monkeypatch.setattr(checkpoint, "save_file", killed)
    with pytest.raises(OSError, match="killed"):
        learner.save(path, step=4)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def test_it_holds_no_pickle(path, tiny_plan):
    Learner(tiny_plan()).save(path)
    with safe_open(path, framework="pt") as file:
        assert set(file.metadata()) == {"striate-checkpoint"}
