"""Attacks where the network lies on a GPU (see `played_gpu`): everything that they add up lies there too."""

from __future__ import annotations

import copy

import attacked
import numpy as np
import pytest

from played_gpu import played_gpu
from striate.trust.attacks import ATTACKS, Effort, open_attack

SOME = Effort(steps=2, restarts=1, queries=4)


@pytest.fixture(scope="module")
def plan(tiny_plan):
    return attacked.flat_plan(tiny_plan)


@pytest.fixture(scope="module")
def network(plan):
    return attacked.trained(plan, steps=5)


@pytest.mark.parametrize("name", ATTACKS)
def test_the_images_of_an_attack_are_those_of_the_processor(plan, network, name):
    here = open_attack(name)(attacked.victim(plan, network), 0.1, SOME, np.random.default_rng(0))
    with played_gpu():
        victim = attacked.victim(plan, copy.deepcopy(network).to("cuda"))
        there = open_attack(name)(victim, 0.1, SOME, np.random.default_rng(0))
        assert there.is_cuda and victim.reached().is_cuda
        close = np.isclose(there.cpu().numpy(), here.numpy(), atol=1e-3)
    assert close.mean() > 0.9
