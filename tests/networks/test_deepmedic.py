"""DeepMedic against the paper's counts, its field of view, and dense against patch-wise prediction."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from striate import networks
from striate.networks.deepmedic import Bias
from striate.networks.layers.mirror import mirrored
from striate.networks.layers.rolling_norm import WINDOW, RollingNorm

FEW = {"features": (2,) * 8, "hidden": (3, 3)}


def trained(dims: int, **options: Any) -> Any:
    """A small network with the paper's depth, statistics of two batches, in float64."""
    torch.manual_seed(0)
    network = networks.create("deepmedic", spatial_dims=dims, out_channels=2, **(FEW | options)).double()
    size = network.least if options.get("padding") != "same" else (8,) * dims
    for _ in range(2):
        network.train()(torch.randn(2, 1, *size, dtype=torch.float64))
    return network.eval()


def test_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        network = networks.create("deepmedic", spatial_dims=3, in_channels=4, out_channels=5)
    found: dict[type, int] = {}
    for module in network.modules():
        found[type(module)] = found.get(type(module), 0) + sum(p.numel() for p in module.parameters(recurse=False))
    convolutions = sum(n for kind, n in found.items() if issubclass(kind, nn.Conv3d))
    assert (convolutions, found[RollingNorm], found[nn.PReLU], found[Bias]) == (660_330, 1_880, 940, 13)
    assert sum(found.values()) == 663_163
    weights = [m.weight.numel() for m in network.paths[0].modules() if isinstance(m, nn.Conv3d)]
    assert weights == [3_240, 24_300, 32_400, 43_200, 43_200, 43_200, 54_000, 67_500]


@pytest.mark.parametrize(
    ("channels", "size", "options", "parameters", "macs"),
    [
        (4, 57, {}, 663_163, 1_370_108_250),
        (2, 57, {}, 659_919, None),
        (4, 25, {"pathways": 1}, 343_659, None),
    ],
)
def test_the_training_segment(
    channels: int, size: int, options: dict[str, Any], parameters: int, macs: int | None
) -> None:
    cost = networks.cost("deepmedic", (size,) * 3, in_channels=channels, out_channels=5, **options)
    assert cost.parameters == parameters
    assert cost.layers[-1].output_shape == (5, 9, 9, 9)
    if macs is not None:
        assert cost.macs == macs
        inputs = {layer.name: layer.output_shape[1:] for layer in cost.layers if layer.kind == "Bias"}
        assert inputs["paths.0.0"] == (25, 25, 25)
        assert inputs["paths.1.0"] == (19, 19, 19)


@pytest.mark.parametrize("dims", [2, 3])
def test_relation_of_sizes(dims: int) -> None:
    with torch.device("meta"):
        network = networks.create("deepmedic", spatial_dims=dims)
        one = networks.create("deepmedic", spatial_dims=dims, pathways=1)
        assert network.eval()(torch.empty(1, 1, *(51, 54, 75)[:dims])).shape[2:] == (3, 6, 27)[:dims]
    assert (network.least, network.divisor, network.margin) == ((51,) * dims, (3,) * dims, (24,) * dims)
    assert (one.least, one.divisor, one.margin) == ((17,) * dims, (1,) * dims, (8,) * dims)


def seen(network: Any, size: tuple[int, ...], voxel: tuple[int, ...]) -> list[np.ndarray]:
    """Return, per axis, the input voxels whose gradient from one output voxel is not zero; asserts that they form a grid."""
    x = torch.randn(1, 1, *size, dtype=torch.float64, requires_grad=True)
    network(x)[(0, 0, *voxel)].backward()
    support = (x.grad[0, 0] != 0).numpy()
    axes = [np.flatnonzero(support.any(tuple(b for b in range(support.ndim) if b != a))) for a in range(support.ndim)]
    return [support, *axes]


def test_one_pathway_sees_17_voxels_along_each_axis() -> None:
    support, *axes = seen(trained(3, pathways=1), (19, 18, 17), (2, 1, 0))
    assert [a.tolist() for a in axes] == [list(range(2, 19)), list(range(1, 18)), list(range(17))]
    assert support.sum() == 17**3


def test_the_second_pathway_sees_a_lattice_within_51_voxels() -> None:
    support, *axes = seen(trained(2), (57, 57), (3, 5))
    for axis, voxel in zip(axes, (3, 5), strict=True):
        block = voxel // 3 * 3
        lattice = {block + 3 * i for i in range(17)}
        assert set(axis.tolist()) == lattice | set(range(voxel + 16, voxel + 33))
        assert axis.max() - axis.min() + 1 == 49 <= 51
    assert (
        support.sum() == 17**2 + 17**2 - 6 * 5
    )  # both see the lattice's points in the 17² of the first: 6 and 5 of them


@pytest.mark.parametrize(("pathways", "step"), [(1, 1), (2, 3)])
def test_dense_prediction_is_prediction_patch_by_patch(pathways: int, step: int) -> None:
    network = trained(2, pathways=pathways)
    least, margin = network.least[0], network.margin[0]
    image = torch.randn(1, 1, least + 3 * step, least + 2 * step, dtype=torch.float64)
    with torch.inference_mode():
        whole = network(image)
        for i, j in itertools.product(range(4), range(3)):
            i, j = i * step, j * step
            patch = network(image[..., i : i + least, j : j + least])
            n = least - 2 * margin
            torch.testing.assert_close(patch, whole[..., i : i + n, j : j + n], rtol=0, atol=1e-12)
        if pathways == 2:
            moved = network(image[..., 1 : 1 + least, :least])
            assert not torch.allclose(moved, whole[..., 1:4, :3], atol=1e-6)


def test_padded_it_is_the_unpadded_network_on_the_mirrored_image() -> None:
    network = trained(2, padding="same")
    valid = networks.create("deepmedic", out_channels=2, **FEW).double().eval()
    valid.load_state_dict(network.state_dict())
    image = torch.randn(1, 1, 10, 7, dtype=torch.float64)
    around = np.pad(image.numpy(), ((0, 0), (0, 0), (24, 26), (24, 26)), mode="reflect")
    with torch.inference_mode():
        torch.testing.assert_close(network(image), valid(torch.from_numpy(around))[..., :10, :7], rtol=0, atol=1e-12)
    with torch.device("meta"):
        every = networks.create("deepmedic", spatial_dims=3, padding="same", **FEW).eval()
        assert every(torch.empty(1, 1, 1, 5, 33)).shape == (1, 10, 1, 5, 33)


@pytest.mark.parametrize(("size", "before", "after"), [(5, 20, 2), (5, 3, 4), (1, 3, 0), (2, 0, 7), (3, 1, 30)])
def test_mirrored_like_numpy(size: int, before: int, after: int) -> None:
    x = torch.arange(float(size))[None, None, :, None].repeat(1, 1, 1, 4)
    found = mirrored(x, (before, 1), (after, 0))
    want = np.pad(x.numpy(), ((0, 0), (0, 0), (before, after), (1, 0)), mode="reflect")
    assert np.array_equal(found.numpy(), want)


def test_statistics_are_those_of_the_last_batches() -> None:
    norm = RollingNorm(2, 1e-5).double()
    draw = torch.Generator().manual_seed(1)
    batches = [3 * torch.randn(4, 2, 5, generator=draw, dtype=torch.float64) + i for i in range(WINDOW + 3)]
    for i, batch in enumerate(batches, 1):
        out = norm.train()(batch)
        if i in (1, 7, WINDOW + 3):
            last = batches[max(0, i - WINDOW) : i]
            mean = torch.stack([b.mean((0, 2)) for b in last]).mean(0)
            variance = torch.stack([b.var((0, 2), correction=1) for b in last]).mean(0)
            torch.testing.assert_close(norm.running_mean, mean)
            torch.testing.assert_close(norm.running_var, variance)
            here = (batch - batch.mean((0, 2), keepdim=True)) / (
                batch.var((0, 2), correction=0, keepdim=True) + 1e-5
            ).sqrt()
            torch.testing.assert_close(out, here)
            predicted = (batch - mean[:, None]) / (variance[:, None] + 1e-5).sqrt()
            torch.testing.assert_close(norm.eval()(batch), predicted)


def test_one_number_per_map_has_no_variance_to_learn_from() -> None:
    norm = RollingNorm(2, 1e-5).train()
    x = torch.tensor([[[3.0], [4.0]]])
    torch.testing.assert_close(norm(x), x / (1 + 1e-5) ** 0.5)
    assert int(norm.batches) == 0
