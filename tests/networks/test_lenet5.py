"""LeNet-5 is the paper's to the unit."""

from __future__ import annotations

import pytest
import torch

from striate import networks
from striate.core.errors import UsageError
from striate.networks.lenet5 import C3_TABLE, RadialBasis, SubSampling, TableConv, codes
from striate.training.losses.map_rbf import map_criterion


def test_parameters_layer_by_layer() -> None:
    cost = networks.cost("lenet5", (32, 32))
    assert cost.parameters == 60_000
    found: dict[str, int] = {}
    for layer in cost.layers:
        found[layer.name.split(".")[0]] = found.get(layer.name.split(".")[0], 0) + layer.parameters
    found.pop("squash")
    assert found == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164, "output": 0}


def test_connections_layer_by_layer() -> None:
    with torch.device("meta"):
        found = networks.create("lenet5").connections()
    assert found == {
        "C1": 122_304,
        "S2": 5_880,
        "C3": 151_600,
        "S4": 2_000,
        "C5": 48_120,
        "F6": 10_164,
        "output": 840,
    }
    assert sum(found.values()) == 340_908


def test_multiplications_and_maps() -> None:
    cost = networks.cost("lenet5", (32, 32))
    assert cost.macs == 326_520 == 117_600 + 150_000 + 48_000 + 10_080 + 840
    shapes = {layer.name: layer.output_shape for layer in cost.layers if layer.name in ("c1", "s2", "s4", "c5", "f6")}
    assert shapes == {"c1": (6, 28, 28), "s2": (6, 14, 14), "s4": (16, 5, 5), "c5": (120, 1, 1), "f6": (84,)}


def test_more_channels_widen_c1_alone() -> None:
    assert networks.cost("lenet5", (32, 32), in_channels=3).parameters == 60_000 + 2 * 25 * 6


def test_c5_is_a_convolution() -> None:
    """On the S4 of a 36-pixel image it leaves 2×2, as in the paper's networks for whole words."""
    network = networks.create("lenet5")
    assert network.c5(torch.zeros(1, 16, 6, 6)).shape == (1, 120, 2, 2)
    wide = networks.create("lenet5", input_size=(36, 40))
    assert wide(torch.zeros(2, 1, 36, 40)).shape == (2, 10)
    assert sum(wide.connections().values()) > 340_908


def test_c3_sees_what_the_table_says() -> None:
    layer = TableConv(C3_TABLE, 5).double()
    x = torch.randn(1, 6, 5, 5, dtype=torch.float64, requires_grad=True)
    assert sum(conv.weight.shape[0] * conv.weight.shape[1] for conv in layer.convs) == 60
    y = layer(x)[0, :, 0, 0]
    for sources, value in zip(C3_TABLE, y, strict=True):
        (g,) = torch.autograd.grad(value, x, retain_graph=True)
        assert [m for m in range(6) if g[0, m].any()] == list(sources)
    dense = torch.zeros(16, 6, 5, 5, dtype=torch.float64)
    kernels = [k for conv in layer.convs for k in conv.weight.detach()]
    bias = torch.cat([conv.bias.detach() for conv in layer.convs])
    for row, (sources, kernel) in enumerate(zip(C3_TABLE, kernels, strict=True)):
        dense[row, list(sources)] = kernel
    want = torch.nn.functional.conv2d(x, dense, bias)[0, :, 0, 0]
    assert torch.allclose(y, want)


def test_the_table_uses_each_map_ten_times() -> None:
    assert [sum(m in row for row in C3_TABLE) for m in range(6)] == [10] * 6
    assert len(set(C3_TABLE)) == 16


def test_sub_sampling_with_a_quarter_is_the_mean() -> None:
    layer = SubSampling(2)
    layer.weight.data.fill_(0.25)
    layer.bias.data.zero_()
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    assert torch.equal(layer(x), torch.nn.functional.avg_pool2d(x, 2))
    layer.bias.data.fill_(3)
    assert float(layer(x)[0, 0, 0, 0].detach()) == 2.5 + 3


def test_penalties_are_squared_distances() -> None:
    digits = codes(10)
    layer = RadialBasis(digits)
    y = layer(torch.tensor(digits))
    assert torch.equal(y.diagonal(), torch.zeros(10))
    apart = [[sum(a != b for a, b in zip(one, two, strict=True)) for two in digits] for one in digits]
    assert torch.equal(y, 4 * torch.tensor(apart, dtype=torch.float32))
    x = torch.randn(3, 84)
    assert torch.allclose(layer(x), torch.cdist(x, layer.codes).pow(2), rtol=1e-4)


def test_penalties_are_not_rounded_under_autocast() -> None:
    layer, x = RadialBasis(codes(10)), 0.1 * torch.randn(3, 84)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x)
        assert layer(x.bfloat16()).dtype == torch.float32
    assert torch.allclose(found, (x[:, None] - layer.codes).pow(2).sum(dim=2))


def test_codes() -> None:
    for classes, kind in ((10, "digits"), (10, "random"), (3, "digits"), (40, "random")):
        found = codes(classes, kind)
        assert len(found) == classes
        assert {len(code) for code in found} == {84}
        assert {v for code in found for v in code} == {-1.0, 1.0}
        nearest = min(sum(x != y for x, y in zip(a, b, strict=True)) for a in found for b in found if a is not b)
        assert nearest >= 17
    assert codes(10, "random")[:3] == codes(3)
    assert codes(10) != codes(10, "random")


def test_codes_are_fixed_and_saved() -> None:
    network = networks.create("lenet5", codes="random")
    assert torch.equal(network.state_dict()["output.codes"], torch.tensor(codes(10, "random")))
    assert "output.codes" not in dict(network.named_parameters())


def test_logits_are_minus_penalties() -> None:
    network = networks.create("lenet5").eval()
    x = torch.randn(5, 1, 32, 32)
    logits, classes = network(x), torch.arange(5)
    assert (logits <= 0).all()
    want = torch.nn.functional.cross_entropy(logits, classes)
    assert torch.allclose(map_criterion(-logits, classes, j=1e6), want)


def test_initial_weights_are_uniform_by_fan_in() -> None:
    torch.manual_seed(0)
    network = networks.create("lenet5")
    for layer, fan_in in ((network.c1, 25), (network.c3.convs[0], 75), (network.c5, 400), (network.f6, 120)):
        assert 0.8 * 2.4 / fan_in < float(layer.weight.detach().abs().max()) <= 2.4 / fan_in
        assert float(layer.bias.detach().abs().max()) <= 2.4 / fan_in
    assert float(network.s4.weight.detach().abs().max()) <= 0.6


def test_it_learns_by_its_own_criterion() -> None:
    """Two shapes in noise: after 40 steps all are told apart."""
    torch.manual_seed(0)
    draw = torch.Generator().manual_seed(1)
    network = networks.create("lenet5").train()
    classes = torch.randint(0, 2, (16,), generator=draw)
    x = -0.1 + 0.1 * torch.randn(16, 1, 32, 32, generator=draw)
    x[classes == 0, :, 8:24, 14:18] += 1.2
    x[classes == 1, :, 14:18, 8:24] += 1.2
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    errors = []
    for _ in range(40):
        optimiser.zero_grad()
        error = map_criterion(-network(x), classes)
        error.backward()
        optimiser.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.2 * errors[0]
    assert torch.equal(network.eval()(x).argmax(1), classes)


@pytest.mark.parametrize("size", [(28, 28), (34, 32), (32, 30)])
def test_sizes_that_c5_cannot_take_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=r"input_size"):
        networks.create("lenet5", input_size=size)
    with pytest.raises(UsageError, match=r"The size \(32, 32\) would work"):
        networks.create("lenet5")(torch.zeros(1, 1, *size))
    with pytest.raises(UsageError, match="spatial_dims is 3; 2 is needed"):
        networks.create("lenet5", spatial_dims=3)
