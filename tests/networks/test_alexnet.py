"""`alexnet` is the network of 2012 to the unit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from striate import networks
from striate.core.errors import UsageError

IMAGENET: Any = {"in_channels": 3, "out_channels": 1000}
PER_LAYER = {
    "conv1": (34_944, 105_415_200),
    "conv2": (307_456, 223_948_800),
    "conv3": (885_120, 149_520_384),
    "conv4": (663_936, 112_140_288),
    "conv5": (442_624, 74_760_192),
    "fc6": (37_752_832, 37_748_736),
    "fc7": (16_781_312, 16_777_216),
    "fc8": (4_097_000, 4_096_000),
}


def test_parameters_and_macs_of_each_layer() -> None:
    cost = networks.cost("alexnet", (227, 227), **IMAGENET)
    rows = {row.name.partition(".")[2]: row for row in cost.layers}
    assert {name: (rows[name].parameters, rows[name].macs) for name in PER_LAYER} == PER_LAYER
    assert (cost.parameters, cost.macs) == (60_965_224, 724_406_816)
    assert rows["conv1"].output_shape == (96, 55, 55)
    assert rows["pool5"].output_shape == (256, 6, 6)
    connected = sum(rows[name].parameters for name in ("fc6", "fc7", "fc8"))
    assert round(100 * connected / cost.parameters, 1) == 96.2


def test_without_groups() -> None:
    cost = networks.cost("alexnet", (227, 227), **IMAGENET, groups=False)
    assert (cost.parameters, cost.macs) == (62_378_344, 1_135_256_096)


def test_the_two_halves_do_not_see_each_other_before_the_third_convolution() -> None:
    torch.manual_seed(0)
    network = networks.create("alexnet", input_size=(67, 67), width=0.125)
    conv2 = network.convolutions.conv2
    x = torch.randn(1, 12, 7, 7, requires_grad=True)
    seen = torch.autograd.grad(conv2(x)[:, :16].sum(), x)[0].abs().sum((0, 2, 3)) > 0
    assert seen.tolist() == [True] * 6 + [False] * 6


def test_the_form_for_small_images() -> None:
    """Shin et al. 2016: conv1 with 64 filters and stride 2. By hand: 64 → 27 → 13 → 13 → 6 → 6 → 2."""
    cost = networks.cost("alexnet", (64, 64), **IMAGENET, small_input=True)
    shapes = {row.name: row.output_shape for row in cost.layers}
    assert shapes["convolutions.conv1"] == (64, 27, 27)
    assert shapes["convolutions.pool5"] == (256, 2, 2)
    conv2 = 307_456 - 16 * 25 * 256  # 32 in place of 48 inputs to each filter
    conv1 = 64 * (3 * 121 + 1)
    rest = sum(PER_LAYER[name][0] for name in ("conv3", "conv4", "conv5", "fc7", "fc8"))
    assert cost.parameters == conv1 + conv2 + rest + (256 * 4 + 1) * 4096


def test_3d_has_the_same_kernels_along_each_axis() -> None:
    cost = networks.cost("alexnet", (67, 67, 75), **IMAGENET, width=0.125)
    rows = {row.name: row for row in cost.layers}
    assert rows["convolutions.conv1"].output_shape == (12, 15, 15, 17)
    assert rows["convolutions.conv1"].parameters == 12 * (3 * 11**3 + 1)
    assert rows["convolutions.conv2"].parameters == 32 * (6 * 5**3 + 1)
    assert rows["classifier.fc6"].parameters == 512 * (32 + 1)


def test_initial_weights() -> None:
    torch.manual_seed(0)
    network = networks.create("alexnet", input_size=(67, 67), width=0.25)
    layers = {**dict(network.convolutions.named_children()), **dict(network.classifier.named_children())}
    biases = {name: layers[name].bias.unique().tolist() for name in PER_LAYER}
    assert biases == {name: [1.0 if name[-1] in "24567" else 0.0] for name in PER_LAYER}
    assert layers["conv3"].weight.std().item() == pytest.approx(0.01, rel=0.02)
    he = networks.create("alexnet", input_size=(67, 67), width=0.25, initial="he")
    assert he.convolutions.conv3.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert not he.convolutions.conv3.bias.any()


def test_dropout_works_only_while_training() -> None:
    torch.manual_seed(0)
    network = networks.create("alexnet", input_size=(67, 67), width=0.125, initial="he")
    x = torch.randn(1, 1, 67, 67)
    with torch.no_grad():
        assert not torch.equal(network.train()(x), network(x))
        assert torch.equal(network.eval()(x), network(x))


@pytest.mark.parametrize(
    ("dims", "options", "match"),
    [
        (2, {"input_size": (32, 32)}, r"input_size: \(32, 32\); 2 numbers of at least 67 are needed\.$"),
        (2, {"input_size": (64, 64)}, "small_input takes 39 and more"),
        (2, {"input_size": (38, 64), "small_input": True}, "at least 39"),
        (3, {}, "3 numbers of at least 67"),
        (2, {"dropout": 1}, "key 'dropout' is 1"),
    ],
)
def test_impossible_options_are_refused(dims: int, options: dict[str, Any], match: str) -> None:
    with torch.device("meta"), pytest.raises(UsageError, match=match):
        networks.create("alexnet", spatial_dims=dims, **options)
