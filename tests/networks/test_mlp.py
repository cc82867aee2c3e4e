"""The multi-layer perceptron: counts, gradients, XOR, and what it cannot know of an image."""

from __future__ import annotations

import itertools

import pytest
import torch

from striate import networks
from striate.core.errors import UsageError
from striate.networks.layers.activation import ScaledTanh

XOR = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).reshape(4, 1, 1, 2)
ODD = torch.tensor([0, 1, 1, 0])


def test_784_300_100_10() -> None:
    cost = networks.cost("mlp", (28, 28))
    assert (cost.parameters, cost.macs) == (266_610, 266_200)
    assert [layer.parameters for layer in cost.layers if layer.parameters] == [235_500, 30_100, 1_010]
    assert networks.cost("mlp", (28, 28), rule="feedback_alignment").parameters == 266_610


def test_the_slide_256_by_256_to_16() -> None:
    assert networks.cost("mlp", (256, 256), out_channels=16, hidden=()).macs == 1_048_576
    assert networks.cost("mlp", (256, 256, 256), out_channels=16, hidden=()).macs == 268_435_456


def test_scaled_tanh() -> None:
    """f(±1) = ±1, and the second derivative is largest there."""
    a = torch.linspace(0, 3, 3001, dtype=torch.float64)
    f = ScaledTanh()(a)
    assert float(f[1000]) == pytest.approx(1, abs=1e-4)
    bend = (f[2:] - 2 * f[1:-1] + f[:-2]).abs()
    assert float(a[1 + int(bend.argmax())]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("activation", ["scaled_tanh", "tanh", "sigmoid", "relu"])
def test_gradients_are_those_of_finite_differences(activation: str) -> None:
    torch.manual_seed(3)
    network = networks.create("mlp", input_size=(3, 2), hidden=(4, 3), out_channels=2, activation=activation).double()
    x = torch.randn(2, 1, 3, 2, dtype=torch.float64)
    names, weights = zip(*network.named_parameters(), strict=True)
    points = [w.detach().clone().requires_grad_() for w in weights]

    def error(*values: torch.Tensor) -> torch.Tensor:
        out = torch.func.functional_call(network, dict(zip(names, values, strict=True)), (x,))
        return 0.5 * (out - 1).pow(2).sum()

    assert torch.autograd.gradcheck(error, points, rtol=1e-6, atol=1e-8)


def learned(hidden: tuple[int, ...], seed: int) -> float:
    """Return the share of XOR's four cases that are right after training."""
    torch.manual_seed(seed)
    network = networks.create("mlp", input_size=(1, 2), hidden=hidden, out_channels=2, activation="tanh")
    optimiser = torch.optim.LBFGS(network.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def error() -> torch.Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(network(XOR), ODD)
        value.backward()
        return value

    optimiser.step(error)
    return float((network(XOR).argmax(1) == ODD).float().mean())


def test_xor_needs_two_hidden_neurons() -> None:
    assert max(learned((), seed) for seed in range(5)) <= 0.75
    assert max(learned((2,), seed) for seed in range(5)) == 1


def test_no_straight_line_solves_xor() -> None:
    """Of a fine set of lines, none gets more than three of four right, and some get three."""
    lines = torch.tensor(list(itertools.product(torch.linspace(-2, 2, 21).tolist(), repeat=3)))
    said = lines[:, :2] @ XOR.reshape(4, 2).T + lines[:, 2:] > 0
    assert float((said == ODD.bool()).float().mean(dim=1).max()) == 0.75


def test_the_order_of_pixels_does_not_matter() -> None:
    """A fixed permutation of pixels is undone by the first layer's weights: no neighbourhood is known."""
    torch.manual_seed(0)
    network = networks.create("mlp", input_size=(6, 5), hidden=(7,)).double().eval()
    x, order = torch.randn(3, 1, 6, 5, dtype=torch.float64), torch.randperm(30)
    before = network(x)
    network.layers[0].weight.data = network.layers[0].weight.data[:, order]
    assert torch.allclose(network(x.flatten(1)[:, order].reshape(3, 1, 6, 5)), before, atol=1e-12)


def test_initial_weights() -> None:
    torch.manual_seed(0)
    lecun = networks.create("mlp").layers[0].weight.detach()
    assert float(lecun.abs().max()) <= 2.4 / 784
    assert float(lecun.std()) == pytest.approx(2.4 / 784 / 3**0.5, rel=0.01)
    he = networks.create("mlp", activation="relu").layers[0]
    assert float(he.weight.detach().std()) == pytest.approx((2 / 784) ** 0.5, rel=0.01)
    assert not he.bias.any()
    xavier = networks.create("mlp", activation="sigmoid", rule="feedback_alignment").layers[1]
    assert float(xavier.feedback.std()) == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert float(xavier.weight.detach().std()) == pytest.approx((2 / 400) ** 0.5, rel=0.02)


def test_one_number_per_axis() -> None:
    with pytest.raises(UsageError, match=r"option input_size: \(28, 28\); .* 3 axes"):
        networks.create("mlp", spatial_dims=3)
    with pytest.raises(UsageError, match=r"built for one size \(option input_size\)\. The size \(28, 28\) would work"):
        networks.create("mlp")(torch.zeros(1, 1, 27, 28))
