"""`inception_resnet_v2` is the released network, block for block, and adds what it says it adds."""

from __future__ import annotations

import pytest
import torch

from striate import networks
from striate.networks.inception_resnet_v2 import RESIDUALS, Residual
from striate.networks.layers.branches import Scale

BLOCKS = {
    "entry": ((320, 35, 35), 268_320),
    **{f"a{i}": ((320, 35, 35), 123_168) for i in range(1, 11)},
    "reduction_a": ((1088, 17, 17), 2_664_960),
    **{f"b{i}": ((1088, 17, 17), 1_126_784) for i in range(1, 21)},
    "reduction_b": ((2080, 8, 8), 3_880_960),
    **{f"c{i}": ((2080, 8, 8), 2_035_424) for i in range(1, 11)},
}
GRIDS = pytest.mark.parametrize("grid", [0, 1, 2])


def size(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_totals() -> None:
    cost = networks.cost("inception_resnet_v2", (299, 299), in_channels=3, out_channels=1000)
    assert (cost.parameters, cost.macs) == (55_843_464, 13_155_794_016)


def test_the_numbers_of_modules_in_the_papers_figure() -> None:
    with torch.device("meta"):
        network = networks.create("inception_resnet_v2", in_channels=3, out_channels=1000, blocks=(5, 10, 5))
    assert size(network) == 33_782_664


def test_every_stage() -> None:
    with torch.device("meta"):
        network = networks.create("inception_resnet_v2", in_channels=3, out_channels=1000)
        x, found = network.stem(torch.empty(1, 3, 299, 299)), []
        assert x.shape[1:] == (192, 35, 35)
        for name, block in network.blocks.named_children():
            x = block(x)
            found.append((name, (tuple(x.shape[1:]), size(block))))
        assert network.final(x).shape[1:] == (1536, 8, 8)
    assert found == list(BLOCKS.items())


def test_scales_per_grid_and_the_last_module_adds_all() -> None:
    with torch.device("meta"):
        blocks = networks.create("inception_resnet_v2").blocks
    found = [(b.factor, b.rectified) for b in blocks if isinstance(b, Residual)]
    assert found == [(0.17, True)] * 10 + [(0.1, True)] * 20 + [(0.2, True)] * 9 + [(1.0, False)]


@GRIDS
def test_with_factor_0_a_module_is_identity_and_rectifier(grid: int) -> None:
    torch.manual_seed(grid)
    x = torch.randn(2, 24, 9, 8, dtype=torch.float64)
    scale = Scale(2, 1 / 16)
    module = Residual(scale, 24, RESIDUALS[grid], 0.0).double()
    assert torch.equal(module(x), x.clamp_min(0))
    assert torch.equal(Residual(scale, 24, RESIDUALS[grid], 0.0, rectified=False).double()(x), x)


@GRIDS
def test_the_correction_grows_with_the_factor(grid: int) -> None:
    torch.manual_seed(grid)
    x = torch.randn(2, 24, 9, 8, dtype=torch.float64)
    module = Residual(Scale(2, 1 / 16), 24, RESIDUALS[grid], 0.1, rectified=False).double().eval()
    little = module(x) - x
    module.factor = 0.3
    assert torch.allclose(module(x) - x, 3 * little, atol=1e-12)


def test_a_quarter_of_the_width_has_a_sixteenth_of_the_weights() -> None:
    with torch.device("meta"):
        whole, narrow = (networks.create("inception_resnet_v2", width=w).blocks for w in (1, 0.25))
        weights = [sum(p.numel() for p in b.parameters() if p.ndim > 1) for b in (whole, narrow)]
    assert weights[0] == 16 * weights[1]


def test_three_axes() -> None:
    with torch.device("meta"):
        network = networks.create("inception_resnet_v2", spatial_dims=3, small_input=True, blocks=(1, 1, 1))
        kernels = [tuple(u.conv.kernel_size) for u in network.blocks.c1.branches.three[1]]
        assert kernels == [(1, 1, 3), (1, 3, 1), (3, 1, 1)]
        assert network(torch.empty(2, 1, 23, 24, 25)).shape == (2, 10)
