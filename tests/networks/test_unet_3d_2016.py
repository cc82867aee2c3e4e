"""3D U-Net against the paper's sizes and its count of parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from striate import networks

PAPER = (132, 132, 116)


def test_the_papers_count_and_what_it_leaves_out() -> None:
    with torch.device("meta"):
        network = networks.create("unet_3d_2016", spatial_dims=3, in_channels=3, out_channels=3)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv3d)]
    enlarging = [m for m in network.modules() if isinstance(m, nn.ConvTranspose3d)]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm3d)]

    def numbers(modules: list[nn.Module]) -> int:
        return sum(p.numel() for m in modules for p in m.parameters())

    weights = sum(m.weight.numel() for m in enlarging)
    assert numbers([*convolutions]) + weights == 19_069_955
    assert numbers([*enlarging]) - weights == 512 + 256 + 128
    assert numbers([*norms]) == 4_672
    assert numbers([network]) == 19_075_523


def test_the_papers_patch() -> None:
    cost = networks.cost("unet_3d_2016", PAPER, in_channels=3, out_channels=3)
    assert cost.parameters == 19_075_523
    assert cost.macs == 266_731_018_496
    assert cost.layers[-1].output_shape == (3, 44, 44, 28)
    maps = [layer.output_shape[0] for layer in cost.layers if layer.macs]
    assert maps == [32, 64, 64, 128, 128, 256, 256, 512, 512, 256, 256, 256, 128, 128, 128, 64, 64, 3]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_sizes_that_fit(dims: int, padding: str) -> None:
    with torch.device("meta"):
        network = networks.create("unet_3d_2016", spatial_dims=dims, padding=padding)
        assert network.least == ((92,) * dims if padding == "valid" else (8,) * dims)
        size = tuple(n + 8 * i for i, n in enumerate(network.least))
        margin = 44 if padding == "valid" else 0
        assert network.eval()(torch.empty(1, 1, *size)).shape[2:] == tuple(n - 2 * margin for n in size)
        assert network.margin == (margin,) * dims


def test_normalisation_stands_before_the_rectifier() -> None:
    with torch.device("meta"):
        network = networks.create("unet_3d_2016", spatial_dims=3)
    for stage in (*network.analysis, *network.synthesis):
        assert [type(m).__name__ for m in stage] == ["Conv3d", "BatchNorm3d", "ReLU"] * 2


def test_overlapping_patches_give_the_whole_images_logits() -> None:
    torch.manual_seed(0)
    network = networks.create("unet_3d_2016", spatial_dims=3, features=(2, 3)).double()
    network.train()(torch.randn(2, 1, 20, 20, 20, dtype=torch.float64))
    image = torch.randn(1, 1, 24, 22, 20, dtype=torch.float64)
    with torch.inference_mode():
        whole = network.eval()(image)
        for i, j in ((0, 0), (4, 0), (2, 2)):
            patch = network(image[:, :, i : i + 20, j : j + 20])
            torch.testing.assert_close(patch, whole[:, :, i : i + 4, j : j + 4], rtol=0, atol=1e-12)
