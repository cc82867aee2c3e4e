"""Every operation of a pass, its statistics and its planes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from striate import networks
from striate.core.errors import UsageError
from striate.explaining.sums import sum_of
from striate.explaining.trace import planes_of, trace


class Joined(nn.Module):
    """Two paths, one of them strided."""

    spatial_dims = 3

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv3d(1, 2, 3, 2, 1), nn.InstanceNorm3d(2, affine=True), nn.LeakyReLU(0.1, inplace=True)
        )
        self.up = nn.ConvTranspose3d(2, 3, 2, 2)

    def forward(self, x):
        return torch.cat((self.up(self.down(x)), x), dim=1)


def tile(*shape: int) -> torch.Tensor:
    return torch.randn((1, *shape), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def joined() -> nn.Module:
    torch.manual_seed(2)
    return Joined()


def test_operations_in_the_order_of_execution(joined: nn.Module) -> None:
    found = trace(joined, tile(1, 4, 6, 8))
    rows = [(n.id, n.layer, n.operation, n.shape, n.sources, n.parameters) for n in found.nodes]
    assert rows == [
        (0, "input", "image", (1, 4, 6, 8), (), 0),
        (1, "down.0", "convolution", (2, 2, 3, 4), (0,), 2 * 27 + 2),
        (2, "down.1", "instance normalisation", (2, 2, 3, 4), (1,), 4),
        (3, "down.2", "leaky ReLU", (2, 2, 3, 4), (2,), 0),
        (4, "up", "transposed convolution", (3, 4, 6, 8), (3,), 2 * 3 * 8 + 3),
        (5, "", "concatenation", (4, 4, 6, 8), (4, 0), 0),
    ]
    assert (found.output, found.output_shape) == (5, (4, 4, 6, 8))
    assert [n.receptive_field for n in found.nodes] == [(1,) * 3, *[(3,) * 3] * 5]
    assert all(o.tensor is None for call in found.calls if call for o in call.tracked)  # no activation is held


def test_statistics_and_planes_are_those_of_the_maps(joined: nn.Module) -> None:
    maps: dict[int, Any] = {}
    joined.down[0].register_forward_hook(lambda _, __, out: maps.update({1: out[0].clone()}))
    joined.down[1].register_forward_hook(lambda _, __, out: maps.update({2: out[0].clone()}))
    joined.down[2].register_forward_hook(lambda _, __, out: maps.update({3: out[0].clone()}))
    x = tile(1, 4, 6, 8)
    found = trace(joined, x, point=(2, 5, 0), plane_axis=1)
    maps[0] = x[0]
    for node, wanted in maps.items():
        flat, given = wanted.detach().flatten(1).numpy(), found.statistics[node]
        np.testing.assert_allclose(given.mean, flat.mean(1), atol=1e-6)
        np.testing.assert_allclose(given.std, flat.std(1), rtol=1e-5)
        assert (given.least == flat.min(1)).all()
        assert (given.most == flat.max(1)).all()
        place = found.nodes[node].place_of((2, 5, 0), found.size)
        assert (found.planes[node] == wanted.detach().numpy()[:, :, place[1]]).all()
    assert found.nodes[1].place_of((2, 5, 0), found.size) == (1, 2, 0)
    assert (found.statistics[0].zeros == 0).all()


def test_places_of_maps_and_of_the_tile(joined: nn.Module) -> None:
    node = trace(joined, tile(1, 4, 6, 8)).nodes[1]
    assert node.field_of((0, 1, 3), (4, 6, 8)) == ((0, 1), (1, 3), (5, 7))
    assert node.place_of((3, 2, 7), (4, 6, 8)) == (1, 1, 3)


def test_share_of_zeros() -> None:
    x = torch.tensor([-1.0, 2, -3, 4]).reshape(1, 1, 2, 2)
    assert trace(nn.ReLU(), x).statistics[1].zeros.tolist() == [0.5]


def test_another_plane_of_one_node(joined: nn.Module) -> None:
    x = tile(1, 4, 6, 8)
    other = trace(joined, x, point=(3, 1, 6), plane_axis=2)
    for node in other.nodes:
        plane = node.place_of((3, 1, 6), other.size)[2]
        assert (planes_of(joined, x, node, plane, plane_axis=2) == other.planes[node.id]).all()


def test_each_plane_of_a_map_is_the_one_that_was_asked_for_also_where_all_of_the_image_is_seen() -> None:
    class Weighing(nn.Module):
        spatial_dims = 3

        def forward(self, x):
            y = nn.functional.interpolate(nn.functional.max_pool3d(x, 2), scale_factor=2)
            return y * y.mean((2, 3, 4), keepdim=True).sigmoid()

    network, x = Weighing(), tile(2, 4, 4, 8)
    nodes = trace(network, x).nodes
    for node, whole in ((nodes[0], x[0]), (nodes[-1], network(x)[0])):
        for plane in range(8):
            assert (planes_of(network, x, node, plane) == whole[..., plane].numpy()).all()


def test_images_of_a_sequence_have_their_units_one_after_another() -> None:
    torch.manual_seed(0)
    network = networks.create("cnn_rnn", 2, 1, 2, features=(3, 4), hidden=5).eval()
    x = tile(3, 1, 8, 8)
    found = trace(network, x)
    assert (found.nodes[0].shape, found.nodes[0].images) == ((3, 8, 8), 3)
    assert (found.nodes[1].operation, found.nodes[1].shape, found.nodes[1].images) == ("convolution", (9, 8, 8), 3)
    one = sum_of(network, x, 1, 2 * 3 + 1, (4, 4))  # map 1 of image 2
    assert set(one.terms.unit.tolist()) == {2}
    assert "lstm" not in {n.operation for n in found.nodes}
    assert {"sigmoid", "hyperbolic tangent", "matrix product"} <= {n.operation for n in found.nodes}
    assert torch._C._get_mkldnn_enabled()


def test_the_network_is_left_as_it_was_and_may_be_traced_while_predicting(joined: nn.Module) -> None:
    x = tile(1, 4, 6, 8)
    before = x.clone()
    joined.train()
    joined.down[1].eval()  # a layer that is frozen
    outside = trace(joined, x)
    assert [m.training for m in joined.down] == [True, False, True]
    with torch.inference_mode():
        inside = trace(joined, x.clone())
    assert joined.training
    assert torch.equal(x, before)
    assert [n.operation for n in inside.nodes] == [n.operation for n in outside.nodes]
    assert all((a == b).all() for a, b in zip(inside.planes, outside.planes, strict=True))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in joined.modules())


def test_what_cannot_be_traced_is_refused(joined: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"2 images at once; one is needed: \(1, C, \*S\), or a sequence"):
        trace(joined, torch.zeros((2, 1, 4, 6, 8)))
    with pytest.raises(UsageError, match=r"point \(4, 0, 0\); a voxel of a tile of size \(4, 6, 8\) is needed"):
        trace(joined, tile(1, 4, 6, 8), point=(4, 0, 0))
