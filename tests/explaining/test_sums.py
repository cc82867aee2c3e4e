"""Every number of every network is the sum that is shown of it; and small cases by hand."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from striate.core.errors import UsageError
from striate.explaining import opening
from striate.explaining.sums import sum_of, sums_of
from striate.explaining.trace import trace

sys.path.append(str(Path(__file__).resolve().parents[1] / "networks"))
from forms import forms

TOLERANCE = 4e-6
"""Largest error relative to Σ |product|: float32 summation in any order (measured over the registry: 1.5e-7) with room for other
processors."""
SMALL = {"unet_3d": {"features": [2, 4, 8, 16, 20, 20]}}


class Given(nn.Module):
    """A network that is one function."""

    def __init__(self, function, **modules) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


def tile(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed))


def opened(network: nn.Module, x: torch.Tensor, unit: int, at=(), node: int = -1):
    """Open a number of a node, the last one where not said."""
    nodes = trace(network, x).nodes
    return sum_of(network, x, nodes[node].id, unit, at)


def worst(network: nn.Module, x: torch.Tensor, units: int = 1) -> float:
    """Return the largest error, as a share of Σ |product|, over random units of every node; all of them open."""
    draw, found = random.Random(5), trace(network, x)
    assert [n.closed for n in found.nodes] == [None] * len(found.nodes)
    places = [
        (n.id, draw.randrange(n.units), tuple(draw.randrange(k) for k in n.map))
        for n in found.nodes
        for _ in range(units)
    ]
    sums = sums_of(network, x, places)
    for one in sums[units:]:
        assert set(one.terms.source.tolist()) <= set(found.nodes[one.node].sources)
        if one.additive:
            assert one.terms.product.sum() + one.offset == pytest.approx(one.total, abs=1e-9 * one.scale + 1e-12)
        assert sum(total for _, _, total in one.by_source_unit) == pytest.approx(
            one.terms.product.sum(), abs=1e-9 * one.scale
        )
    return max(one.error / max(one.scale, 1e-12) for one in sums)


@pytest.mark.parametrize("form", forms(), ids=lambda form: form.key)
def test_every_node_of_every_network_opens_and_adds_up(form) -> None:
    form = replace(form, options=SMALL.get(form.key, form.options))
    assert worst(form.built().eval(), form.input()) <= TOLERANCE


@pytest.mark.parametrize("form", [f for f in forms() if f.key in ("small_unet_3d", "cnn_rnn_2d")], ids=lambda f: f.key)
def test_the_sources_of_a_sum_are_what_it_took(form) -> None:
    """What a term took is what its source put out, also through slices, copies and numbers that were overwritten."""
    network, x = form.built().eval(), form.input()
    nodes = trace(network, x).nodes
    for node in nodes[1:]:
        one = sum_of(network, x, node.id, node.units // 2, tuple(n // 2 for n in node.map))
        terms = list(one.terms[:3])
        sources = sums_of(network, x, [(t.source, t.unit, t.at) for t in terms])
        assert [s.value for s in sources] == [t.input for t in terms]


def test_a_wrong_bias_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    words, opener = opening.OPENERS["convolution"]

    def wrong(call, index):
        made = opener(call, index)
        made.total += 1e-3
        return made

    monkeypatch.setitem(opening.OPENERS, "convolution", (words, wrong))
    network = Given(lambda n, x: n.conv(x), conv=nn.Conv2d(2, 3, 3))
    one = opened(network, tile(2, 6, 6), 1, (2, 2))
    assert one.error / one.scale > TOLERANCE


def test_convolution_with_stride_and_padding_by_hand() -> None:
    conv = nn.Conv2d(1, 1, 3, stride=2, padding=1)
    with torch.no_grad():
        conv.weight.copy_(torch.arange(9.0).reshape(1, 1, 3, 3))
        conv.bias.fill_(0.5)
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    corner = opened(conv, x, 0, (0, 0))  # rows and columns -1 … 1, of which -1 is outside
    assert {t.at: (t.weight, t.input) for t in corner.terms} == {
        (0, 0): (4, 0), (0, 1): (5, 1), (1, 0): (7, 4), (1, 1): (8, 5)
    }  # fmt: skip
    assert [t.product for t in corner.terms] == [40, 28, 5, 0]
    assert corner.total == corner.value == 73.5
    assert (corner.constants, corner.offset, corner.formula) == ({"b": 0.5}, 0.5, "Σ w·x + b")
    inner = opened(conv, x, 0, (1, 1))
    assert len(inner.terms) == 9
    assert (
        inner.total
        == inner.value
        == sum(k * v for k, v in zip(range(9), [5, 6, 7, 9, 10, 11, 13, 14, 15], strict=True)) + 0.5
    )


def test_transposed_convolution_by_hand() -> None:
    conv = nn.ConvTranspose2d(2, 1, 3, stride=2, padding=1, bias=False)
    x = tile(2, 3, 3)
    one = opened(conv, x, 0, (1, 2))  # rows 0 and 1 by kernel rows 2 and 0, column 1 by kernel column 1
    w, v = conv.weight.detach()[:, 0], x[0]
    wanted = {(u, (i, 1)): (float(w[u, k, 1]), float(v[u, i, 1])) for u in (0, 1) for i, k in ((0, 2), (1, 0))}
    assert {(t.unit, t.at): (t.weight, t.input) for t in one.terms} == wanted
    assert one.total == pytest.approx(sum(a * b for a, b in wanted.values()))
    assert one.operation == "transposed convolution"


def test_instance_normalisation_by_hand() -> None:
    norm = nn.InstanceNorm2d(2, eps=0.5, affine=True)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 3.0]))
        norm.bias.copy_(torch.tensor([0.0, 0.25]))
    x = torch.tensor([[0.0, 0, 0, 0], [1, 2, 3, 6]]).reshape(1, 2, 2, 2)
    one = opened(norm, x, 1, (1, 1))
    assert one.constants == pytest.approx({"γ": 3, "μ": 3, "σ": 2, "β": 0.25})  # variance 3.5, and 0.5
    assert one.total == pytest.approx(3 * (6 - 3) / 2 + 0.25)
    assert one.formula == "γ·(x − μ)/σ + β"
    assert [(t.unit, t.at, t.weight, t.input) for t in one.terms] == [(1, (1, 1), 1.5, 6)]
    assert one.offset == pytest.approx(0.25 - 4.5)


def test_maximum_and_mean_of_windows_by_hand() -> None:
    x = torch.tensor([1.0, 5, 2, 3, 4, 0, 9, 8, 7]).reshape(1, 1, 3, 3)
    one = opened(nn.MaxPool2d(2), x, 0, (0, 0))
    assert (one.formula, one.total, one.value) == ("max of 4", 5, 5)
    assert [(t.at, t.weight) for t in one.terms] == [((0, 1), 1), ((0, 0), 0), ((1, 0), 0), ((1, 1), 0)]
    for counts, by in ((True, 9), (False, 4)):
        mean = opened(nn.AvgPool2d(3, 2, 1, count_include_pad=counts), x, 0, (0, 0))
        assert (mean.formula, mean.total) == (f"Σ x / {by}", pytest.approx((1 + 5 + 3 + 4) / by))


MASK = torch.arange(35).reshape(7, 5) % 3 == 0
KERNELS = {
    "grouped and dilated": nn.Conv2d(4, 6, 3, padding=(2, 0), dilation=(2, 1), groups=2),
    "transposed in groups": nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (1, 2), groups=2),
    "reaching over the border": nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "mean over the border": nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "mean to a size": nn.AdaptiveAvgPool2d((2, 3)),
    "group normalisation": nn.GroupNorm(2, 4),
    "layer normalisation": nn.LayerNorm((7, 5)),
    "enlarged linearly": nn.Upsample(scale_factor=2, mode="bilinear"),
    "enlarged to a size": nn.Upsample(size=(9, 11), mode="bilinear", align_corners=True),
    "enlarged to the nearest": nn.Upsample(size=(9, 11)),
    "enlarged cubically": nn.Upsample(scale_factor=2, mode="bicubic"),
    "reflected": nn.ReflectionPad2d((2, 1, 3, 0)),
    "continued": nn.ReplicationPad2d((2, 1, 3, 0)),
    "GELU": nn.GELU(),
    "SiLU": nn.SiLU(inplace=True),
    "ELU": nn.ELU(),
    "ReLU6": nn.ReLU6(),
    "softmax": nn.Softmax(1),
    "moved and mirrored": Given(lambda _, x: x.roll((1, 2), (2, 3)).flip(3).repeat(1, 2, 1, 1)),
    "chosen": Given(lambda _, x: x[:, [3, 1, 1]] - x[:, 1:4].mean((2, 3), keepdim=True)),
    "attention": Given(lambda _, x: (x.flatten(2) @ x.flatten(2).transpose(1, 2)).softmax(-1) @ x.flatten(2)),
    "written into": Given(lambda _, x: _overwritten(x)),
    "on other axes": Given(lambda _, x: (x.permute(0, 2, 3, 1) @ torch.ones(4, 2)).permute(0, 3, 1, 2) + 1),
    "masked": Given(lambda _, x: torch.where(MASK, x, 2 * x).masked_fill(MASK.roll(1), -3.0)),
    "scaled attention": Given(lambda _, x: nn.functional.scaled_dot_product_attention(*(x.flatten(2)[:, None],) * 3)),
    "compared": Given(lambda _, x: (x > 0.1).float() + x.clamp(max=0.3) * nn.functional.hardswish(x)),
    "gated": Given(lambda _, x: x[:, :2] * torch.sigmoid(x[:, 2:])),
}


def _overwritten(x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    y[:, :2].relu_()
    y[:, 3] = x[:, 0] + 1
    y[:, 1:2, 2:].zero_()
    return y * 3


@pytest.mark.parametrize("name", KERNELS)
def test_other_operations_add_up(name: str) -> None:
    assert worst(KERNELS[name].eval(), tile(4, 7, 5), units=6) <= TOLERANCE


def test_a_number_that_was_overwritten_in_part_comes_from_its_last_writer() -> None:
    network, x = KERNELS["written into"], tile(4, 7, 5)
    last = trace(network, x).nodes[-1]
    words = [opened(network, x, u, (3, 3)) for u in (0, 2, 3)]
    operations = [trace(network, x).nodes[s.terms[0].source].operation for s in words]
    assert operations == ["ReLU", "multiplication", "addition"]
    assert last.operation == "multiplication"


def test_products_of_two_maps_are_no_sum() -> None:
    one = opened(KERNELS["gated"], tile(4, 3, 3), 1, (2, 0))
    assert (one.formula, one.additive, one.offset) == ("x · y", False, 0.0)
    assert [t.product for t in one.terms] == pytest.approx([one.total] * 2)
    curve = opened(nn.Sigmoid(), tile(1, 3, 3), 0, (1, 1))
    assert (curve.additive, curve.terms[0].weight) == (False, pytest.approx(curve.total * (1 - curve.total)))


def test_a_dense_layer_over_flattened_maps_says_which_voxels() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(2 * 3 * 4, 5))
    x = tile(2, 3, 4)
    one = opened(network, x, 3)
    weights = network[1].weight.detach()[3].reshape(2, 3, 4)
    for t in one.terms:
        assert (t.source, t.weight, t.input) == (0, float(weights[t.unit][t.at]), float(x[0, t.unit][t.at]))
    assert len(one.terms) == 24
    by_map = {unit: total for _, unit, total in one.by_source_unit}
    assert by_map == pytest.approx({u: float((weights[u].double() * x[0, u].double()).sum()) for u in (0, 1)})
    sizes = np.abs(one.terms.product)
    assert (np.diff(sizes) <= 0).all()


@pytest.mark.parametrize(
    ("function", "formula"),
    [
        (nn.LeakyReLU(), "x where x > 0, else 0.01·x"),
        (nn.LeakyReLU(0.2, inplace=True), "x where x > 0, else 0.2·x"),
        (nn.ReLU6(), "x kept between 0 and 6"),
        (nn.Hardtanh(), "x kept between -1 and 1"),
        (Given(lambda _, x: x.clamp(max=0.3)), "x kept between −∞ and 0.3"),
        (Given(lambda _, x: x.clamp(min=0.3)), "x kept between 0.3 and ∞"),
        (nn.ELU(), "x where x > 0, else e^x − 1"),
        (nn.ELU(0.5), "1·(x where x > 0, else 0.5·(e^(1·x) − 1))"),
        (nn.GELU(), "x · Φ(x)"),
        (nn.GELU("tanh"), "x · (1 + tanh(0.797885·(x + 0.044715·x³))) / 2"),
        (nn.Softplus(2.0), "ln(1 + e^(2·x)) / 2"),
        (Given(lambda _, x: torch.add(x, x, alpha=2)), "x + 2·y"),
        (Given(lambda _, x: 1 - x), "1 − x"),
        (Given(lambda _, x: x > 0.5), "1 where x > 0.5, else 0"),
        (nn.Threshold(0.1, 2.0), "threshold(x, 0.1, 2)"),
    ],
)
def test_a_formula_has_the_numbers_of_its_function_also_those_that_torch_leaves_out(function, formula) -> None:
    assert opened(function, tile(1, 3, 3), 0, (1, 1)).formula == formula


def test_a_copy_that_rounds_is_an_operation_of_its_own() -> None:
    network, x = Given(lambda _, x: (10 * x).long().float() * x), tile(1, 3, 3)
    found = trace(network, x)
    assert found.nodes[2].closed is not None
    assert {t.source for t in sum_of(network, x, 3, 0, (1, 1)).terms} == {2, 0}


def test_what_is_not_there_is_refused() -> None:
    conv, x = nn.Conv2d(1, 2, 3), tile(1, 5, 5)
    with pytest.raises(UsageError, match="node 7; one of 0 to 1 is needed"):
        sum_of(conv, x, 7, 0, (0, 0))
    with pytest.raises(UsageError, match="node 1: unit 2; one of 0 to 1 is needed"):
        sum_of(conv, x, 1, 2, (0, 0))
    with pytest.raises(UsageError, match=r"node 1: voxel \(3, 0\); a voxel of its maps of size \(3, 3\) is needed"):
        sum_of(conv, x, 1, 0, (3, 0))
    with pytest.raises(UsageError, match=r"node 0: voxel \(\)"):
        sum_of(conv, x, 0, 0)
    assert sum_of(conv, x, 0, 0, (1, 2)).value == float(x[0, 0, 1, 2])


def test_an_operation_that_cannot_be_opened_says_so() -> None:
    network = Given(lambda _, x: x.cumsum(2) + 1)
    x = tile(1, 4, 4)
    node = trace(network, x).nodes[1]
    assert node.closed == "The operation 'cumsum' is not one that Striate knows how to take apart."
    with pytest.raises(UsageError, match="node 1: The operation 'cumsum' is not one"):
        sum_of(network, x, 1, 0, (0, 0))
    assert opened(network, x, 0, (1, 1)).terms[0].source == 1
