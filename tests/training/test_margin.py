"""Networks of unpadded convolutions are trained against the centre of the truth."""

from __future__ import annotations

import pytest
import torch

from striate import networks
from striate.core.targets import Targets
from striate.planning.plan import Training
from striate.training import losses, optimise
from striate.training.step import total_error, train_step

TARGETS = Targets.of_labels({1: "lesion"})


@pytest.mark.parametrize("margin", [(2, 1), (0, 3), (0, 0)])
def test_the_truth_is_cropped_by_the_margin(margin):
    seen = []

    def loss(logits, classes):
        seen.append(classes)
        return logits.sum() * 0

    truth = torch.arange(80, dtype=torch.uint8).reshape(1, 8, 10)
    i, j = margin
    total_error(torch.zeros(1, 2, 8 - 2 * i, 10 - 2 * j), truth, loss, margin=margin)
    assert torch.equal(seen[0], truth[:, i : 8 - i, j : 10 - j])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("unet_2015", {"features": (4, 8), "dropout": 0.0}),
        ("unet_3d_2016", {"features": (4, 8)}),
        ("deepmedic", {"features": (8, 8, 8), "hidden": (8,), "dropout": 0.0}),
    ],
)
@pytest.mark.parametrize("dims", [2, 3])
def test_a_network_with_a_margin_learns_one_batch(name, options, dims):
    torch.manual_seed(0)
    network = networks.create(name, spatial_dims=dims, out_channels=2, **options).train()
    size = tuple(n + 2 * step for n, step in zip(network.least, network.divisor, strict=True))
    assert all(m > 0 for m in network.margin)
    training = Training(patch=size, batch=2, steps=1, learning_rate=1e-2)
    optimiser, loss = optimise.create(network, training), losses.create("cross_entropy", TARGETS)
    images = torch.randn(2, 1, *size)
    classes = (images[:, 0] > 0.5).to(torch.uint8)
    errors = [train_step(network, optimiser, loss, training, images, classes) for _ in range(25)]
    assert errors[-1] < 0.7 * errors[0]


def test_what_lies_in_the_margin_does_not_matter():
    torch.manual_seed(0)
    network = networks.create("unet_2015", out_channels=2, features=(2, 3))
    loss = losses.create("dice_ce", TARGETS)
    outputs = network.eval()(torch.randn(1, 1, 28, 28))
    truth = torch.randint(0, 2, (1, 28, 28), dtype=torch.uint8)
    other = 1 - truth
    other[:, 8:20, 8:20] = truth[:, 8:20, 8:20]
    assert network.margin == (8, 8)
    assert total_error(outputs, truth, loss, margin=(8, 8)) == total_error(outputs, other, loss, margin=(8, 8))
