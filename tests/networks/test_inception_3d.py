"""What is particular to `inception_3d`."""

from __future__ import annotations

import pytest
import torch

from striate import networks
from striate.core.errors import UsageError


def weights_of(maps: int, inputs: int, module: str) -> int:
    """Parameters of one 3D module, counted by hand; each convolution has a scale and a shift per map."""
    five = [(maps // 16, maps // 8, 125)]
    if module == "inception2":
        five = [(maps // 16, maps // 8, 27), (maps // 8, maps // 8, 27)]
    convs = [
        (inputs, maps // 4, 1),
        (inputs, 3 * maps // 8, 1),
        (3 * maps // 8, maps // 2, 27),
        (inputs, maps // 16, 1),
        *five,
        (inputs, maps // 8, 1),
    ]
    return sum(n * m * kernel + 2 * m for n, m, kernel in convs)


@pytest.mark.parametrize(("module", "total"), [("inception1", 555_834), ("inception2", 526_378)])
def test_parameters_counted_by_hand(module: str, total: int) -> None:
    cost = networks.cost("inception_3d", (40, 40, 40), out_channels=2, module=module)
    stem, linear = 16 * 27 + 2 * 16, 256 * 2 + 2
    counted = stem + weights_of(64, 16, module) + weights_of(128, 64, module) + weights_of(256, 128, module) + linear
    assert cost.parameters == counted == total
    assert [row.output_shape[1] for row in cost.layers if row.name in ("stages.0.0", "stages.1.0", "stages.2.0")] == [
        20,
        10,
        5,
    ]


def test_maps_are_divided_as_in_module_3a_of_googlenet() -> None:
    cost = networks.cost("inception_3d", (16, 16), features=(256,))
    convs = [row.output_shape[0] for row in cost.layers if row.kind == "Conv2d" and row.name.startswith("stages")]
    assert convs == [64, 96, 128, 16, 32, 32]


def test_views_of_all_sizes_pass_through_the_same_weights() -> None:
    torch.manual_seed(0)
    network = networks.create("inception_3d", spatial_dims=3, features=(16, 16), out_channels=2).eval()
    with torch.no_grad():
        small, large = (network(torch.ones(1, 1, n, n, n)) for n in (4, 12))
    assert small.shape == large.shape == (1, 2)


def test_features_that_a_module_cannot_divide_are_refused() -> None:
    with pytest.raises(UsageError, match="multiples of 16 are needed"):
        networks.create("inception_3d", features=(16, 40))
