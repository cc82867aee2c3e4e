"""RMSProp against the update computed by hand, and its state through a checkpoint."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from striate.planning.plan import Training
from striate.training import checkpoint, optimise
from striate.training.rmsprop import RMSProp


def test_two_updates_by_hand():
    weight = nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
    optimiser = RMSProp([weight], lr=0.1, momentum=0.6)
    weight.grad = torch.tensor([3.0, 0.0], dtype=torch.float64)
    optimiser.step()
    # a = 0.1·9 = 0.9; s = 0.4·0.1·3/√0.9001; v = −s; w = 2 − 0.6·s − s
    s = 0.12 / math.sqrt(0.9001)
    assert weight.tolist() == pytest.approx([2 - 1.6 * s, -1.0], abs=1e-12)
    weight.grad = torch.tensor([-1.0, 0.0], dtype=torch.float64)
    optimiser.step()
    # a = 0.9·0.9 + 0.1·1 = 0.91; t = −0.04/√0.9101; v = −0.6·s − t; w += 0.6·v − t
    t = -0.04 / math.sqrt(0.9101)
    assert float(weight[0].detach()) == pytest.approx(2 - 1.6 * s + 0.6 * (-0.6 * s - t) - t, abs=1e-12)


def test_weight_decay_is_added_to_the_gradient():
    weights = [nn.Parameter(torch.tensor([2.0], dtype=torch.float64)) for _ in range(2)]
    weights[0].grad, weights[1].grad = torch.tensor([1.0]).double(), torch.tensor([1.0 + 0.25 * 2.0]).double()
    RMSProp(weights[:1], lr=0.1, weight_decay=0.25).step()
    RMSProp(weights[1:], lr=0.1).step()
    assert torch.equal(weights[0], weights[1])


def test_the_steps_do_not_grow_with_the_momentum():
    """After many equal gradients a step is η·g/√(g² + ε), whatever the momentum."""
    for momentum in (0.0, 0.6, 0.9):
        weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimiser = RMSProp([weight], lr=0.01, momentum=momentum)
        for _ in range(400):
            before = float(weight.detach())
            weight.grad = torch.tensor([5.0], dtype=torch.float64)
            optimiser.step()
        assert before - float(weight.detach()) == pytest.approx(0.01 * 5 / math.sqrt(25 + 1e-4), rel=1e-6)


def test_it_is_an_optimiser_of_plans():
    training = Training(patch=(8, 8), batch=1, steps=1, optimiser="rmsprop", momentum=0.6, weight_decay=0.1)
    optimiser = optimise.create(nn.Conv2d(1, 2, 3), training)
    assert isinstance(optimiser, RMSProp)
    assert [(g["momentum"], g["weight_decay"]) for g in optimiser.param_groups] == [(0.6, 0.1), (0.6, 0.0)]
    assert optimise.set_learning_rate(optimiser, training, 1.0) == optimiser.param_groups[0]["lr"]


def test_it_minimises():
    torch.manual_seed(0)
    x = torch.randn(64, 3)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3
    line = nn.Linear(3, 1)
    optimiser = RMSProp(line.parameters(), lr=0.02)
    for _ in range(300):
        optimiser.zero_grad()
        error = (line(x) - y).square().mean()
        error.backward()
        optimiser.step()
    assert float(error.detach()) < 1e-3


def test_a_checkpoint_keeps_its_state_bit_for_bit(tmp_path):
    def learner():
        torch.manual_seed(0)
        network = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
        return network, RMSProp(network.parameters(), lr=0.01)

    def learn(network, optimiser, seeds):
        for seed in seeds:
            optimiser.zero_grad()
            x = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(seed))
            network(x.to(memory_format=torch.channels_last)).square().mean().backward()
            optimiser.step()

    whole = learner()
    learn(*whole, range(6))
    first = learner()
    learn(*first, range(3))
    checkpoint.save(tmp_path / "c", step=3, network=first[0], average=None, optimiser=first[1])
    second = learner()
    assert checkpoint.load(tmp_path / "c", network=second[0], average=None, optimiser=second[1]) == 3
    learn(*second, range(3, 6))
    for a, b in zip(whole[0].parameters(), second[0].parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(whole[1].state.values(), second[1].state.values(), strict=True):
        assert all(torch.equal(a[k], b[k]) for k in ("mean_square", "velocity"))
