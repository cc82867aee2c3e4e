"""The network that most code calls LeNet-5: its counts, and the sizes it is built for."""

from __future__ import annotations

import pytest
import torch

from striate import networks
from striate.core.errors import UsageError


def test_61_706() -> None:
    cost = networks.cost("lenet5_modern", (32, 32))
    assert (cost.parameters, cost.macs) == (61_706, 416_520)
    assert [layer.parameters for layer in cost.layers if layer.parameters] == [156, 2_416, 48_120, 10_164, 850]


@pytest.mark.parametrize(
    ("size", "left"), [((28, 28), 16), ((64, 64), 169), ((16, 16), 1), ((33, 47), 40), ((16, 20, 32), 10)]
)
def test_the_first_linear_layer_follows_the_size(size: tuple[int, ...], left: int) -> None:
    """Each axis of n voxels leaves ((n - 4) // 2 - 4) // 2."""
    network = networks.create("lenet5_modern", spatial_dims=len(size), input_size=size)
    assert network.c5.in_features == 16 * left
    assert network(torch.zeros(1, 1, *size)).shape == (1, 10)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_it_learns(activation: str) -> None:
    torch.manual_seed(0)
    network = networks.create("lenet5_modern", input_size=(16, 16), out_channels=2, activation=activation)
    x, classes = torch.randn(24, 1, 16, 16), torch.arange(24) % 2
    x[classes == 1, :, 4:8, 4:8] += 2
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(40):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(x), classes).backward()
        optimiser.step()
    assert torch.equal(network(x).argmax(1), classes)


def test_small_images_are_refused() -> None:
    with pytest.raises(UsageError, match=r"input_size.* is 15; input should be greater than or equal to 16"):
        networks.create("lenet5_modern", input_size=(15, 32))
    with pytest.raises(UsageError, match=r"option input_size: \(32, 32\); .* 3 axes"):
        networks.create("lenet5_modern", spatial_dims=3)
