"""Learning rate, optimisers and the average of the weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from striate.planning.plan import Training
from striate.training import optimise
from striate.training.average import WeightAverage


def training(**changed):
    return Training(**{"patch": (8, 8, 8), "batch": 1, "steps": 10, "learning_rate": 0.01, **changed})


def test_warm_up_then_polynomial_decay():
    plan = training(warmup=0.1, decay_power=0.9)
    assert optimise.learning_rate(plan, 0.0) == pytest.approx(0.0001)  # 1 %
    assert optimise.learning_rate(plan, 0.05) == pytest.approx(0.01 * (0.01 + 0.99 / 2))
    assert optimise.learning_rate(plan, 0.1) == pytest.approx(0.01)
    assert optimise.learning_rate(plan, 0.55) == pytest.approx(0.01 * 0.5**0.9)
    assert optimise.learning_rate(plan, 1.0) == pytest.approx(0.01 * 1e-3**0.9)


def test_without_warm_up_it_is_nnunets_poly():
    plan = training(warmup=0.0)
    for epoch in (0, 10, 500, 999):
        assert optimise.learning_rate(plan, epoch / 1000) == pytest.approx(0.01 * (1 - epoch / 1000) ** 0.9)


@given(st.floats(-1, 2), st.floats(0, 0.9), st.floats(0, 3))
def test_always_positive_and_never_above_the_peak(fraction, warmup, power):
    rate = optimise.learning_rate(training(warmup=warmup, decay_power=power), fraction)
    assert 0 < rate <= 0.01 * (1 + 1e-9)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_only_matrices_decay(name):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(2, 2))
    optimiser = optimise.create(network, training(optimiser=name, weight_decay=0.1))
    decayed, others = optimiser.param_groups
    assert decayed["weight_decay"] == 0.1 and [p.ndim for p in decayed["params"]] == [4]
    assert others["weight_decay"] == 0.0 and [p.ndim for p in others["params"]] == [1, 1, 1]
    assert optimise.set_learning_rate(optimiser, training(warmup=0), 0.0) == 0.01
    assert {g["lr"] for g in optimiser.param_groups} == {0.01}


def test_what_an_optimiser_is_by_name():
    network = nn.Conv2d(1, 2, 3)
    adamw = optimise.create(network, training(momentum=0.8))
    assert isinstance(adamw, torch.optim.AdamW) and adamw.param_groups[0]["betas"] == (0.8, 0.999)
    sgd = optimise.create(network, training(optimiser="sgd", momentum=0.99))
    assert isinstance(sgd, torch.optim.SGD) and sgd.param_groups[0]["nesterov"]
    plain = optimise.create(network, training(optimiser="sgd", momentum=0))
    assert not plain.param_groups[0]["nesterov"]


def test_the_average_by_hand():
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    average = WeightAverage(network, 0.5)
    nn.init.constant_(network.weight, 1.0)
    expected = 0.0
    for step in (1, 2, 3):
        average.update(network, step)
        decay = min(0.5, (1 + step) / (10 + step))  # 2/11, 3/12, 4/13
        expected = decay * expected + (1 - decay)
        assert float(average.network.weight.detach()) == pytest.approx(expected)


def test_late_steps_use_the_plans_decay():
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    average = WeightAverage(network, 0.9)
    nn.init.constant_(network.weight, 1.0)
    average.update(network, 10_000)
    assert float(average.network.weight.detach()) == pytest.approx(0.1)


def test_without_decay_it_is_the_last_weights_and_buffers_follow():
    network = nn.BatchNorm1d(3)
    average = WeightAverage(network, 0.0)
    network.train()(torch.randn(8, 3))
    nn.init.constant_(network.weight, 7.0)
    average.update(network, 1)
    assert torch.equal(average.network.weight, network.weight)
    assert torch.equal(average.network.running_mean, network.running_mean)
    assert int(average.network.num_batches_tracked) == 1
    assert not average.network.training and not any(p.requires_grad for p in average.network.parameters())
