"""What is particular to `deep_autoencoder`: its size, the bound of principal components, and layer-wise learning."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from striate import networks
from striate.core.errors import UsageError
from striate.networks.layers import rbm

SIZE = (4, 3)


def test_counts_of_the_paper() -> None:
    cost = networks.cost("deep_autoencoder", (28, 28))
    weights = 784 * 1000 + 1000 * 500 + 500 * 250 + 250 * 30
    assert cost.parameters == 2_837_314
    assert cost.macs == 2 * weights
    units = [layer.output_shape for layer in cost.layers if layer.macs]
    assert units == [(1000,), (500,), (250,), (30,), (250,), (500,), (1000,), (784,)]
    assert networks.cost("deep_autoencoder", (28, 28), tied=True).parameters == 2_837_314 - weights


def test_one_size_per_network() -> None:
    assert networks.cost("deep_autoencoder", (6, 5, 4), in_channels=2, layers=[7]).parameters == 240 * 7 * 2 + 7 + 240
    with pytest.raises(UsageError, match=r"input_size: \(28, 28\); one number for each of 3 axes"):
        networks.create("deep_autoencoder", spatial_dims=3)


def linear(units: int) -> Any:
    return networks.create(
        "deep_autoencoder", input_size=SIZE, layers=[units], tied=True, output="linear", pretraining="none"
    )


@pytest.mark.parametrize("units", [1, 4, 12])
def test_linear_and_tied_it_reaches_the_bound_of_principal_components(units: int) -> None:
    """P. Baldi, K. Hornik, Neural Networks 2:53-58, 1989: the error is the sum of the other squared singular values."""
    draw = torch.Generator().manual_seed(0)
    spread = 0.8 ** torch.arange(12, dtype=torch.float64)
    x = torch.randn(40, 12, generator=draw, dtype=torch.float64) * spread
    x = (x - x.mean(0)) @ torch.linalg.qr(torch.randn(12, 12, generator=draw, dtype=torch.float64))[0]
    images = x.reshape(40, 1, *SIZE)
    bound = float(torch.linalg.svdvals(x)[units:].square().sum())
    torch.manual_seed(0)
    network = linear(units).double()
    optimiser = torch.optim.LBFGS(
        network.parameters(), max_iter=400, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )
    errors = []

    def error() -> torch.Tensor:
        optimiser.zero_grad()
        found = (network(images) - images).square().sum()
        found.backward()
        errors.append(float(found.detach()))
        return found

    optimiser.step(error)
    assert min(errors) == pytest.approx(bound, rel=1e-4, abs=1e-8)
    assert min(errors) >= bound - 1e-9


def blobs(count: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    axis = torch.arange(12) + 0.5
    rows, columns = (torch.exp(-((axis - 3 - 6 * torch.rand(count, 1, generator=draw)) ** 2) / 8) for _ in range(2))
    return (rows[:, :, None] * columns[:, None, :])[:, None]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("output", ["sigmoid", "linear"])
def test_learning_layer_by_layer_lowers_the_error_of_the_start(tied: bool, output: str) -> None:
    images, unseen = blobs(300, seed=1), blobs(100, seed=2)
    if output == "linear":
        images, unseen = ((i - images.mean()) / images.std() for i in (images, unseen))
    options = {"input_size": (12, 12), "layers": [40, 20, 6], "tied": tied, "output": output, "pretraining_epochs": 100}
    errors = {}
    for pretraining in ("none", "rbm"):
        torch.manual_seed(0)
        network = networks.create("deep_autoencoder", pretraining=pretraining, **options)
        network.organise(images, torch.Generator().manual_seed(3))
        with torch.inference_mode():
            errors[pretraining] = float((network(unseen) - unseen).square().mean())
    mean_image = float((images.mean(0) - unseen).square().mean())
    assert errors["rbm"] < 0.6 * mean_image < errors["none"]


def test_the_generator_decides_what_is_learned() -> None:
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        network = networks.create("deep_autoencoder", input_size=(12, 12), layers=[9, 3], pretraining_epochs=2)
        network.organise(blobs(30, seed=1), torch.Generator().manual_seed(seed))
        weights.append(network.encoder[1].weight.clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_machine_prefers_what_it_has_seen() -> None:
    """Two patterns of eight units: shown one of them, a learned machine returns it; hidden means by hand."""
    patterns = torch.tensor([[1.0, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]])
    draw = torch.Generator().manual_seed(0)
    machine, hidden = rbm.learn(patterns.repeat(50, 1), 4, 60, draw, visible="logistic", kind="logistic")
    by_hand = 1 / (1 + torch.exp(-(patterns @ machine.weights.T + machine.hidden_bias)))
    assert torch.allclose(hidden[:2], by_hand, atol=1e-6)
    assert (machine.down(machine.up(patterns)) - patterns).abs().max() < 0.1
