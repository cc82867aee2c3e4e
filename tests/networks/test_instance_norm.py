"""The fast instance normalisation is PyTorch's own, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from striate.networks.layers.instance_norm import InstanceNorm


@pytest.mark.parametrize("shape", [(1, 3, 8, 10), (2, 4, 6, 8, 4), (3, 2, 5, 7, 3)])
def test_equals_instance_norm_forward_and_backward(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    kind = nn.InstanceNorm2d if len(shape) == 4 else nn.InstanceNorm3d
    ours, theirs = InstanceNorm(shape[1], 1e-3).double(), kind(shape[1], eps=1e-3, affine=True).double()
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


def test_one_voxel_maps_become_the_shift() -> None:
    norm = InstanceNorm(2, 1e-3).train()
    with torch.no_grad():
        norm.bias.copy_(torch.tensor([1.0, -2.0]))
    found = norm(torch.randn(3, 2, 1, 1, 1))
    torch.testing.assert_close(found, norm.bias.view(1, 2, 1, 1, 1).expand(3, 2, 1, 1, 1))
