"""The fast instance normalisation is PyTorch's own, forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from striate.networks.layers.instance_norm import InstanceNorm, InstanceNorm2d, InstanceNorm3d


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("shape", [(1, 3, 8, 10), (2, 4, 6, 8, 4), (3, 2, 5, 7, 3)])
def test_equals_instance_norm_forward_and_backward(shape: tuple[int, ...], grouped: bool) -> None:
    torch.manual_seed(0)
    kind, own = (nn.InstanceNorm2d, InstanceNorm2d) if len(shape) == 4 else (nn.InstanceNorm3d, InstanceNorm3d)
    theirs = kind(shape[1], eps=1e-3, affine=True).double()
    ours = (InstanceNorm(shape[1], 1e-3) if grouped else own(shape[1], eps=1e-3, affine=True)).double()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(shape, dtype=torch.float64)
    mine, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    seed = torch.randn(shape, dtype=torch.float64)
    (ours.train()(mine) * seed).sum().backward()
    (theirs.train()(other) * seed).sum().backward()
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.eval()(x), theirs(x))
    torch.testing.assert_close(mine.grad, other.grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)


@pytest.mark.parametrize("cases", [1, 3])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "norm", [InstanceNorm(2, 1e-3), InstanceNorm2d(2, affine=True), InstanceNorm3d(2, affine=True)]
)
def test_one_voxel_maps_become_the_shift(norm: Any, training: bool, cases: int) -> None:
    norm.train(training)
    with torch.no_grad():
        norm.bias.copy_(torch.tensor([1.0, -2.0]))
    axes = (1, 1) if isinstance(norm, InstanceNorm2d) else (1, 1, 1)
    x = torch.randn(cases, 2, *axes, requires_grad=True)
    found = norm(x)
    torch.testing.assert_close(found, norm.bias.view(1, 2, *axes).expand(cases, 2, *axes))
    found.sum().backward()
    assert x.grad is not None and not x.grad.any()  # every layer before it has a gradient, of 0


@pytest.mark.parametrize("kind", ["2d", "3d"])
def test_training_keeps_the_layout_in_which_convolutions_are_fast(kind: str) -> None:
    form, norm = (
        (torch.channels_last, InstanceNorm2d(4, affine=True))
        if kind == "2d"
        else (torch.channels_last_3d, InstanceNorm3d(4, affine=True))
    )
    x = torch.randn((2, 4, *[6] * int(kind[0]))).to(memory_format=form)
    assert norm.train()(x).is_contiguous(memory_format=form)


def test_prediction_is_pytorchs_to_the_bit() -> None:
    torch.manual_seed(0)
    ours, theirs, x = InstanceNorm3d(4, affine=True), nn.InstanceNorm3d(4, affine=True), torch.randn(2, 4, 5, 6, 7)
    assert torch.equal(ours.eval()(x), theirs(x))
    with torch.no_grad():
        assert torch.equal(ours.train()(x), theirs(x))
