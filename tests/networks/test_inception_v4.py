"""`inception_v4` is the paper's network, block for block."""

from __future__ import annotations

import pytest
import torch

from striate import networks

BLOCKS = {
    **{f"a{i}": ((384, 35, 35), 317_632) for i in range(1, 5)},
    "reduction_a": ((1024, 17, 17), 2_306_112),
    **{f"b{i}": ((1024, 17, 17), 2_936_256) for i in range(1, 8)},
    "reduction_b": ((1536, 8, 8), 2_747_392),
    **{f"c{i}": ((1536, 8, 8), 4_553_088) for i in range(1, 4)},
}


def size(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_totals() -> None:
    cost = networks.cost("inception_v4", (299, 299), in_channels=3, out_channels=1000)
    assert (cost.parameters, cost.macs) == (42_679_816, 12_253_974_624)


def test_every_stage() -> None:
    with torch.device("meta"):
        network = networks.create("inception_v4", in_channels=3, out_channels=1000)
        x, found = torch.empty(1, 3, 299, 299), []
        for part in network.stem:
            x = part(x)
            found.append((tuple(x.shape[1:]), size(part)))
        assert found == [
            ((64, 147, 147), 928 + 9_280 + 18_560),
            ((160, 73, 73), 55_488),
            ((192, 71, 71), 189_312),
            ((384, 35, 35), 332_160),
        ]
        found = []
        for name, block in network.blocks.named_children():
            x = block(x)
            found.append((name, (tuple(x.shape[1:]), size(block))))
    assert found == list(BLOCKS.items())
    assert size(network.classifier) == 1_537_000


@pytest.mark.parametrize(("pixels", "grids"), [(64, (27, 13, 6)), (79, (35, 17, 8)), (96, (43, 21, 10))])
def test_small_input_gives_the_grids_of_inception_v3(pixels: int, grids: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = networks.create("inception_v4", small_input=True)
        x = network.stem(torch.empty(1, 1, pixels, pixels))
        found = {x.shape[-1]}
        for block in network.blocks:
            x = block(x)
            found.add(x.shape[-1])
    assert sorted(found, reverse=True) == list(grids)


@pytest.mark.parametrize(("small", "dims", "least"), [(False, 2, 75), (True, 2, 23), (True, 3, 23)])
def test_the_least_size_is_the_least(small: bool, dims: int, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device("meta"):
        network = networks.create("inception_v4", spatial_dims=dims, small_input=small).train()
        assert network.least == (least,) * dims
        network(torch.empty(2, 1, *(least,) * dims))
        monkeypatch.setattr(network, "check_input", lambda x: None)
        with pytest.raises(RuntimeError):
            network(torch.empty(2, 1, *(least - 1,) * dims))


def test_a_quarter_of_the_width_has_a_sixteenth_of_the_weights() -> None:
    with torch.device("meta"):
        whole, narrow = (networks.create("inception_v4", width=w).blocks for w in (1, 0.25))
        weights = [sum(p.numel() for p in b.parameters() if p.ndim > 1) for b in (whole, narrow)]
    assert weights[0] == 16 * weights[1]


def test_three_axes() -> None:
    with torch.device("meta"):
        network = networks.create("inception_v4", spatial_dims=3, small_input=True)
        kernels = [tuple(u.conv.kernel_size) for i in (1, 2) for u in network.blocks.b1.twice_seven[i]]
        assert kernels == 2 * [(7, 1, 1), (1, 7, 1), (1, 1, 7)]
        assert network.blocks.c1.outputs == 256 + 2 * 3 * 256 + 256
        assert network(torch.empty(2, 1, 23, 24, 25)).shape == (2, 10)
