"""`depth`: the depths that the papers put into their titles, and hand-made paths."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from striate import networks
from striate.networks.depth import depth


@pytest.mark.parametrize(
    ("name", "channels", "edge", "layers"),
    [
        ("mlp", 1, 28, 3),
        ("lenet5_modern", 1, 32, 5),
        ("alexnet", 3, 227, 8),  # five convolutions, three full layers
        ("googlenet", 3, 224, 22),  # "22 layers deep when counting only layers with parameters"
        ("inception_v3", 3, 299, 48),
    ],
)
def test_known_depths(name, channels, edge, layers):
    with torch.device("meta"):
        network = networks.create(name, in_channels=channels, **networks.sized(name, (edge, edge), {}))
    assert depth(network, (channels, edge, edge)) == layers


def test_the_longest_of_two_branches_counts_and_the_mode_stays():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.long = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(3)))
            self.short = nn.Conv2d(1, 1, 1)
            self.last = nn.Linear(4, 2)

        def forward(self, x):
            return self.last((self.long(x) + self.short(x) + x).flatten(1))

    with torch.device("meta"):
        network = Two().train()
    assert depth(network, (1, 2, 2)) == 4
    assert network.training
