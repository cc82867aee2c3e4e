"""Counts against hand-computed layers, and receptive fields against the gradient's support."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from striate import networks
from striate.networks.counting import count
from striate.networks.receptive_field import Axis


def on_meta(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers).to("meta")


def test_macs_by_hand() -> None:
    network = on_meta(
        nn.Conv2d(3, 8, 5, stride=2, padding=2),  # 16×16 outputs · 8 · 3·25
        nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False),  # 256 · 8 · 2·9
        nn.ConvTranspose2d(8, 4, 2, 2),  # 256 inputs · 8·4·4
        nn.Flatten(),
        nn.Linear(4 * 32 * 32, 10),
    )
    cost = count(network, (3, 32, 32))
    assert [layer.macs for layer in cost.layers] == [153_600, 36_864, 32_768, 0, 40_960]
    assert [layer.parameters for layer in cost.layers] == [608, 144, 132, 0, 40_970]
    assert [layer.receptive_field for layer in cost.layers] == [(5, 5), (9, 9), (9, 9), (32, 32), (32, 32)]
    assert cost.activations == 2048 + 2048 + 4096 + 10


def test_alexnet_as_published() -> None:
    """The lecture's AlexNet up to its last pooling: field 195, as in Araujo et al., Distill 2019."""
    network = on_meta(
        *(nn.Conv2d(3, 96, 11, 4), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.Conv2d(384, 384, 3, padding=1, groups=2)),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.MaxPool2d(3, 2)),
    )
    cost = count(network, (3, 227, 227))
    assert cost.receptive_field == (195, 195)
    want = [105_415_200, 223_948_800, 149_520_384, 112_140_288, 74_760_192]
    assert [layer.macs for layer in cost.layers if layer.macs] == want


def test_a_layer_used_twice_is_counted_once_in_parameters() -> None:
    layer = nn.Conv2d(4, 4, 3, padding=1)
    cost = count(on_meta(layer, layer), (4, 8, 8))
    assert [row.parameters for row in cost.layers] == [148, 0]
    assert cost.parameters == 148
    assert cost.macs == 2 * 64 * 144


def test_counting_leaves_the_network_as_it_was() -> None:
    network = on_meta(nn.Conv2d(1, 1, 3), nn.Dropout()).eval()
    count(network, (1, 8, 8), training=True)
    assert not network.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


class Parts(nn.Module):
    """Every way of changing a map's size that is followed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.pad(x, (1, 2, 3, 0))[:, :, 2:, 1:-1]
        x = nn.functional.avg_pool2d(x, 3, stride=2)
        x = torch.cat((x, x.roll(0)), dim=1)
        return nn.functional.interpolate(x, scale_factor=2, mode="nearest")[:, :, ::3]


def test_padding_slicing_pooling_and_enlarging_are_followed() -> None:
    assert count(Parts(), (1, 40, 40)).receptive_field == (3, 3)


def test_global_pooling_sees_everything() -> None:
    network = on_meta(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1))
    assert count(network, (1, 20, 30)).receptive_field == (20, 30)


def support(network: nn.Module, length: int) -> int:
    """Largest number of input rows between the first and the last that an output row's gradient reaches."""
    x = torch.zeros((1, 1, length, 1), dtype=torch.float64, requires_grad=True)
    y = network(x)[0, 0, :, 0]
    found = 0
    middle = len(y) // 2
    for i in range(middle - 14, middle + 14):  # longer than any period of three layers of stride 3 … 27
        (g,) = torch.autograd.grad(y[i], x, retain_graph=True)
        reached = g.flatten().nonzero().flatten()
        found = max(found, int(reached[-1] - reached[0]) + 1) if len(reached) else found
    return found


def layer_of(kind: str, kernel: int, stride: int) -> nn.Module:
    odd = kernel | 1
    if kind == "conv":
        made: nn.Module = nn.Conv2d(1, 1, (odd, 1), (stride, 1), (odd // 2, 0), bias=False)
    elif kind == "dilated":
        made = nn.Conv2d(1, 1, (odd, 1), (1, 1), (odd // 2 * 2, 0), dilation=(2, 1), bias=False)
    elif kind == "pool":
        return nn.AvgPool2d((kernel, 1), (stride, 1))
    elif kind == "transposed":
        made = nn.ConvTranspose2d(1, 1, (kernel, 1), (stride, 1), bias=False)
    else:
        return nn.Upsample(scale_factor=(stride, 1), mode="nearest" if kind == "nearest" else "bilinear")
    nn.init.ones_(made.weight)
    return made


KINDS = st.sampled_from(["conv", "dilated", "pool", "transposed", "nearest", "linear"])


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(KINDS, st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=3))
def test_receptive_field_is_the_support_of_the_gradient(recipe: list[tuple[str, int, int]]) -> None:
    network = nn.Sequential(*(layer_of(*step) for step in recipe)).double()
    length = 160
    with torch.no_grad():
        if not 30 <= network(torch.zeros((1, 1, length, 1), dtype=torch.float64)).shape[2] <= 400:
            return
    want = support(network, length)
    assert count(network.to("meta").float(), (1, length, 1)).receptive_field[0] == want


@pytest.mark.parametrize("name", ["small_unet", "unet"])
def test_receptive_field_of_a_network_is_the_support_of_its_gradient(name: str) -> None:
    network = networks.create(name, spatial_dims=2, features=(2, 2, 2), deep_supervision=False, out_channels=1)
    want = count(network.to("meta"), (1, 96, 96)).receptive_field
    network = network.to_empty(device="cpu").double().eval()
    for module in network.modules():
        for key, child in list(module.named_children()):
            if isinstance(child, (nn.LeakyReLU, nn.GroupNorm, nn.InstanceNorm2d, nn.BatchNorm2d)):
                setattr(module, key, nn.Identity())
            elif isinstance(child, nn.ModuleList):
                for i, norm in enumerate(child):
                    child[i] = nn.Identity() if isinstance(norm, nn.GroupNorm) else norm
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)
    x = torch.zeros((1, 1, 96, 96), dtype=torch.float64, requires_grad=True)
    y = network(x)[0, 0]
    found = [0, 0]
    for i in range(44, 52):
        (g,) = torch.autograd.grad(y[i, i], x, retain_graph=True)
        for axis in (0, 1):
            rows = g[0, 0].sum(1 - axis).nonzero().flatten()
            found[axis] = max(found[axis], int(rows[-1] - rows[0]) + 1)
    assert tuple(found) == want


def test_deterministic_algorithms_do_not_change_what_is_counted() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        network = nn.Sequential(nn.Upsample(scale_factor=(2, 1), mode="bilinear")).to("meta")
        assert count(network, (1, 160, 1)).receptive_field == (2, 1)
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_axis_by_hand() -> None:
    down = Axis().convolved(3, 2, 1)  # voxel i sees 2i-1 … 2i+1
    assert down.at(5) == (9, 11)
    up = down.transposed(2, 2)  # voxels 2i and 2i+1 see what i saw
    assert (up.at(10), up.at(11), up.size) == ((9, 11), (9, 11), 3)
    both = up.joined(Axis())
    assert both is not None
    assert both.size == 3
    assert both.at(10) == (9, 11)
    assert both.at(11) == (9, 11)
    assert down.joined(Axis()) is None
