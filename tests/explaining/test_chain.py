"""From an output back to the voxel of the image that counts most."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from striate import networks
from striate.explaining.chain import chain
from striate.explaining.sums import sum_of
from striate.explaining.trace import trace


def test_the_largest_term_is_followed_to_the_image() -> None:
    first, second = nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 1, (1, 3), bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([1.0, 10]).reshape(2, 1, 1, 1))
        second.weight.copy_(torch.tensor([[1.0, 2, 3], [0.5, 0, 0]]).reshape(1, 2, 1, 3))
    x = torch.tensor([4.0, 1, -6, 2]).reshape(1, 1, 1, 4)
    found = chain(nn.Sequential(first, nn.ReLU(inplace=True), second), x, 3, 0, (0, 0))
    # unit 1 through 0.5: 0.5 · 10 · 4 = 20; unit 0: 1 · 4, 2 · 1 and 3 · 0, as the rectifier is shut for -6
    assert [(s.node, s.unit, s.at, s.value) for s in found] == [
        (3, 0, (0, 0), 26), (2, 1, (0, 0), 40), (1, 1, (0, 0), 40), (0, 0, (0, 0), 4)
    ]  # fmt: skip
    assert [s.terms[0].product for s in found[:-1]] == [20, 40, 40]
    assert len(found[-1].terms) == 0


@pytest.mark.parametrize("name", ["small_unet", "residual_unet"])
def test_every_link_is_the_sum_of_that_number_whatever_is_kept(name: str) -> None:
    torch.manual_seed(0)
    network = networks.create(name, 2, 2, 3).eval()
    x = torch.randn((1, 2, 64, 64))
    passes: list[int] = []
    network.register_forward_pre_hook(lambda *_: passes.append(1))
    found = trace(network, x)
    last = found.nodes[found.output]
    passes.clear()
    links = chain(network, x, last.id, 1, last.place_of(found.point, found.size))
    assert len(passes) == 1
    frugal = chain(network, x, last.id, 1, last.place_of(found.point, found.size), budget=0)
    assert len(passes) >= len(links) - 1
    assert links[0].node == last.id
    assert links[-1].node == 0
    for one, other in zip(links, frugal, strict=True):
        single = sum_of(network, x, one.node, one.unit, one.at)
        assert single.value == one.value == other.value
        assert single.total == one.total == other.total
    for one, following in itertools.pairwise(links):
        largest = one.terms[0]
        assert (following.node, following.unit, following.at) == (largest.source, largest.unit, largest.at)
        assert following.value == largest.input


def test_what_a_copy_is_written_over_was_another_number_before() -> None:
    class Overwriting(nn.Module):
        def forward(self, x):
            y = 2 * x
            z = torch.tanh(y)
            y.copy_(x)
            return z + 0 * y

    x = torch.tensor([0.5, -0.25]).reshape(1, 1, 1, 2)
    for one in chain(Overwriting(), x, 4, 0, (0, 1)):
        assert one.error < 1e-6, one.operation


def test_it_ends_where_nothing_can_be_opened() -> None:
    class Summing(nn.Module):
        def forward(self, x):
            return x.cumsum(2) * 2

    assert [s.node for s in chain(Summing(), torch.ones((1, 1, 2, 2)), 2, 0, (1, 1))] == [2]
