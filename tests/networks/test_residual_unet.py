"""The residual U-Net against counts of nnU-Net's network, and its block against the formula.

The counts were taken once from ``ResidualEncoderUNet`` of dynamic_network_architectures 0.4.4, built with the same options.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from striate import networks
from striate.core.errors import UsageError

THICK = {
    "features": (32, 64, 128, 256, 320, 320, 320),
    "strides": (1, (1, 2, 2), (1, 2, 2), 2, 2, (1, 2, 2), (1, 2, 2)),
    "kernels": ((1, 3, 3), (1, 3, 3), 3, 3, 3, 3, 3),
}


@pytest.mark.parametrize(
    ("patch", "channels", "classes", "options", "parameters", "macs"),
    [
        ((128, 128, 128), 4, 4, {}, 102_353_972, 723_061_964_800),
        ((40, 56, 40), 1, 3, {"features": (32, 64, 128, 256)}, 25_895_593, 29_093_299_200),
        ((20, 320, 256), 2, 3, THICK, 140_403_602, 1_004_370_611_200),
        ((512, 512), 1, 2, {"features": (32, 64, 128, 256, 512, 512, 512, 512)}, 140_017_038, 130_131_755_008),
    ],
)
def test_counts_of_nnunets_network(
    patch: tuple[int, ...], channels: int, classes: int, options: dict[str, Any], parameters: int, macs: int
) -> None:
    cost = networks.cost("residual_unet", patch, in_channels=channels, out_channels=classes, **options)
    assert (cost.parameters, cost.macs) == (parameters, macs)


def test_blocks_per_stage() -> None:
    with torch.device("meta"):
        network = networks.create("residual_unet", features=(2, 2, 2, 2, 2, 2, 2))
        assert [len(stage) for stage in network.encoder] == [1, 3, 4, 6, 6, 6, 6]
        assert [len(stage) for stage in network.decoder] == [1] * 6
        assert [len(s) for s in networks.create("residual_unet", features=(2, 4), blocks=(2, 5)).encoder] == [2, 5]
    with pytest.raises(UsageError, match="blocks has 3 entries, features has 2"):
        networks.create("residual_unet", features=(2, 4), blocks=(1, 1, 1))


def test_a_block_by_its_formula() -> None:
    torch.manual_seed(0)
    block = networks.create("residual_unet", features=(3, 5)).double().encoder[1][0]
    for p in block.parameters():
        torch.nn.init.normal_(p)
    x = torch.randn(2, 3, 8, 6, dtype=torch.float64)

    def norm(y: torch.Tensor, layer: Any) -> torch.Tensor:
        centred = y - y.mean((2, 3), keepdim=True)
        scaled = centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
        return scaled * layer.weight[:, None, None] + layer.bias[:, None, None]

    first, (second, second_norm) = block.first, block.second
    y = functional.conv2d(x, first[0].weight, first[0].bias, stride=2, padding=1)
    y = functional.leaky_relu(norm(y, first[1]), 0.01)
    y = norm(functional.conv2d(y, second.weight, second.bias, padding=1), second_norm)
    means = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
    assert [type(m).__name__ for m in block.shortcut] == ["AvgPool2d", "Conv2d", "InstanceNorm2d"]
    short = norm(functional.conv2d(means, block.shortcut[1].weight), block.shortcut[2])
    torch.testing.assert_close(block(x), functional.leaky_relu(y + short, 0.01), rtol=0, atol=1e-10)


def test_a_fresh_block_passes_on_its_shortcut() -> None:
    network = networks.create("residual_unet", spatial_dims=3, features=(3, 5))
    x = torch.randn(1, 5, 4, 4, 4)
    with torch.no_grad():
        later = network.encoder[1][1]
        assert len(later.shortcut) == 0
        torch.testing.assert_close(later(x), functional.leaky_relu(x, 0.01))


def test_deep_supervision_gives_one_output_per_stage_of_the_decoder() -> None:
    with torch.device("meta"):
        network = networks.create("residual_unet", spatial_dims=3, features=(2, 3, 4, 5), strides=(1, 2, (1, 2, 2), 2))
        outputs = network.train()(torch.empty(1, 1, 8, 16, 24))
    assert [tuple(o.shape[2:]) for o in outputs] == [(8, 16, 24), (4, 8, 12), (4, 4, 6)]
    assert network.divisor == (4, 8, 8)
