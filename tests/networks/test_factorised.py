"""One-axis kernels, branches and the unit that they are made of."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from striate.networks.layers.batch_norm import BatchNorm
from striate.networks.layers.branches import Average, Branch, Branches, Conv, Maximum, Scale
from striate.networks.layers.conv_unit import ConvUnit
from striate.networks.layers.factorised import Fan, Pair, along

CONVOLUTION = {2: functional.conv2d, 3: functional.conv3d}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_pair_of_positive_maps_is_the_outer_product_of_its_kernels(dims: int, backwards: bool) -> None:
    torch.manual_seed(0)
    module, outputs = Pair(1, 1, 5, backwards).build(Scale(dims), 1)
    module = module.double().eval()
    for unit in module:
        unit.norm.eps = 0.0
        unit.conv.weight.data.abs_()
    assert outputs == 1
    assert len(module) == dims
    units = list(module) if not backwards else list(module)[::-1]  # the last axis first
    whole = torch.ones((), dtype=torch.float64)
    for unit in units[::-1]:
        whole = torch.outer(whole.flatten(), unit.conv.weight.flatten())
    x = torch.rand((2, 1, *(9, 8, 7)[:dims]), dtype=torch.float64)
    expected = CONVOLUTION[dims](x, whole.reshape(1, 1, *(5,) * dims), padding=2)
    assert torch.allclose(module(x), expected, atol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
def test_maps_of_a_pair_and_of_a_fan(dims: int) -> None:
    scale = Scale(dims, 0.5)
    pair, outputs = Pair(6, 10, 7).build(scale, 4)
    assert [u.conv.out_channels for u in pair] == [3] * (dims - 1) + [5]
    assert outputs == 5
    fan, outputs = Fan(6, 3).build(scale, 4)
    x = torch.randn(2, 4, *(6,) * dims)
    assert outputs == 3 * dims == fan(x).shape[1]
    assert torch.equal(fan.eval()(x)[:, :3], fan[0](x))
    assert [u.conv.kernel_size for u in fan] == [along(a, 3, dims) for a in range(dims)][::-1]


def test_branches_are_concatenated_in_the_order_in_which_they_are_written() -> None:
    steps = {"a": [Conv(4), Conv(6, 3, 2)], "b": [Maximum()], "c": [Average(), Maximum()]}
    module = Branches(Scale(2), 3, steps).eval()
    x = torch.randn(1, 3, 9, 11)
    y = module(x)
    assert y.shape == (1, 12, 4, 5)
    assert module.outputs == 12
    assert torch.equal(y[:, 6:9], functional.max_pool2d(x, 3, 2))
    assert Branch(Scale(2), 3, steps["a"]).outputs == 6


def test_the_border_does_not_count_in_the_average() -> None:
    module, _ = Average().build(Scale(2), 1)
    assert torch.equal(module(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 1, 2), (2, 2, 5), (4, 2, 1), (3, 3, 3), (5, 4, 3)])
def test_the_average_of_short_maps_is_the_average_of_three_in_each_direction(size: tuple[int, ...]) -> None:
    x = torch.rand((2, 3, *size), dtype=torch.float64)
    expected = x
    for axis in (2, 3, 4):
        rows = expected.movedim(axis, -1)
        means = [rows[..., max(0, i - 1) : i + 2].mean(-1) for i in range(rows.shape[-1])]
        expected = torch.stack(means, -1).movedim(-1, axis)
    module, _ = Average().build(Scale(3), 3)
    assert torch.allclose(module(x), expected, atol=1e-14)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_batch_normalisation_is_pytorchs(axes: int) -> None:
    torch.manual_seed(0)
    ours, theirs = BatchNorm(4), {1: torch.nn.BatchNorm1d, 2: torch.nn.BatchNorm2d, 3: torch.nn.BatchNorm3d}[axes](4)
    x = torch.randn(2, 4, *(3,) * axes)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_one_number_per_map_can_be_trained_on() -> None:
    unit = ConvUnit(2, 3, (1, 1)).train()
    x = torch.randn(1, 2, 1, 1)
    before = unit.norm.running_mean.clone()
    y = unit(x)
    assert torch.allclose(y, (unit.conv(x) / (1 + 1e-3) ** 0.5).clamp_min(0), atol=1e-6)
    y.sum().backward()
    assert torch.equal(unit.norm.running_mean, before)
