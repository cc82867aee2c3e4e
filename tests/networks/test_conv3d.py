"""The gradient of a 3D convolution in bf16, where oneDNN's is garbage."""

from __future__ import annotations

import pytest
import torch

from striate import networks
from striate.networks.layers.conv3d import Conv3d


def poison() -> None:
    """Leave huge numbers in memory that is free to be taken again."""
    for size in (1_000, 10_000, 100_000, 700_000):
        torch.full((size,), 1e30)


def gradient(layer: Conv3d, x: torch.Tensor, *, bf16: bool) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        y = layer(x)
    seed = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(y.dtype)
    (found,) = torch.autograd.grad(y, layer.weight, seed)
    return found


@pytest.mark.parametrize("kernel", [(3, 3, 3), (5, 3, 3), (3, 1, 1)])
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6])
def test_gradient_on_flat_maps(kernel: tuple[int, int, int], depth: int) -> None:
    torch.manual_seed(0)
    layer = Conv3d(16, 16, kernel, padding=tuple(k // 2 for k in kernel), bias=False)
    x = torch.randn(2, 16, depth, 6, 6)
    want = gradient(layer, x, bf16=False)
    for _ in range(10):
        poison()
        found = gradient(layer, x, bf16=True)
        assert (found - want).abs().max() < 0.03 * want.abs().max()


def test_prediction_stays_in_bf16() -> None:
    layer = Conv3d(4, 4, 3, padding=1)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(1, 4, 2, 4, 4)).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["unet", "small_unet"])
def test_networks_have_finite_bf16_gradients_at_their_smallest_patch(name: str) -> None:
    torch.manual_seed(0)
    network = networks.create(name, features=(8, 8, 16, 16)).train()
    x = torch.randn(2, 1, *(2 * d for d in network.divisor))
    for _ in range(5):
        poison()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = network(x)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        sum(o.float().square().mean() for o in outputs).backward()
        largest = max(float(p.grad.abs().max()) for p in network.parameters() if p.grad is not None)
        network.zero_grad()
        assert largest < 100
