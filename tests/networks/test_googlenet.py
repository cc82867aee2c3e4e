"""`googlenet` is the network of the paper to the unit, module by module."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.nn import functional

from striate import networks
from striate.networks.googlenet import Auxiliary, Config

IMAGENET: Any = {"in_channels": 3, "out_channels": 1000}
PER_PART = {
    "stem.conv1": (9_472, 118_013_952),
    "stem.reduce2": (4_160, 12_845_056),
    "stem.conv2": (110_784, 346_816_512),
    "inception.3a": (163_696, 128_049_152),
    "inception.3b": (388_736, 304_267_264),
    "inception.4a": (376_176, 73_608_192),
    "inception.4b": (449_160, 87_908_352),
    "inception.4c": (510_104, 99_850_240),
    "inception.4d": (605_376, 118_515_712),
    "inception.4e": (868_352, 169_996_288),
    "inception.5a": (1_043_456, 51_079_168),
    "inception.5b": (1_444_080, 70_697_984),
    "fc": (1_025_000, 1_024_000),
}


def test_parameters_and_macs_of_each_part() -> None:
    cost = networks.cost("googlenet", (224, 224), **IMAGENET)
    parameters, macs = Counter[str](), Counter[str]()
    for row in cost.layers:
        part = ".".join(row.name.split(".")[:2])
        parameters[part] += row.parameters
        macs[part] += row.macs
    assert {part: (parameters[part], macs[part]) for part in PER_PART} == PER_PART
    assert parameters["auxiliary.4a"] == 3_188_840
    assert parameters["auxiliary.4d"] == 3_190_888
    assert cost.parameters == 13_378_280
    predicting = networks.cost("googlenet", (224, 224), **IMAGENET, training=False)
    assert predicting.macs == 1_582_671_872
    assert (predicting.parameters, predicting.parameters_run) == (13_378_280, 6_998_552)
    alone = networks.cost("googlenet", (224, 224), **IMAGENET, auxiliary=False)
    assert (alone.parameters, alone.macs) == (6_998_552, 1_582_671_872)


def test_sizes_of_the_maps() -> None:
    """The paper's table 1; 22 layers lie on the way from the image to the logits, and there are nine modules."""
    cost = networks.cost("googlenet", (224, 224), **IMAGENET, training=False)
    shapes = {row.name: row.output_shape for row in cost.layers}
    assert shapes["stem.conv1.0"] == (64, 112, 112)
    assert shapes["stem.pool1"] == (64, 56, 56)
    assert shapes["stem.pool2"] == (192, 28, 28)
    assert shapes["pool.4a"] == (480, 14, 14)
    assert shapes["pool.5a"] == (832, 7, 7)
    assert shapes["mean"] == (1024, 1, 1)
    modules = {row.name.split(".")[1] for row in cost.layers if row.name.startswith("inception")}
    assert len(modules) == 9
    assert 3 + 2 * len(modules) + 1 == 22


def test_the_form_for_small_images() -> None:
    """Shin et al. 2016: 32 filters of 5×5 with stride 1, then stride 1. By hand: 64 → 64 → 62 → 31 → 15 → 7."""
    cost = networks.cost("googlenet", (64, 64), **IMAGENET, small_input=True)
    rows = {row.name: row for row in cost.layers}
    assert rows["stem.conv1.0"].output_shape == (32, 64, 64)
    assert rows["stem.conv1.0"].parameters == 32 * (3 * 25 + 1)
    names = ("stem.pool1", "stem.pool2", "pool.4a", "pool.5a")
    assert [rows[n].output_shape[1] for n in names] == [62, 31, 15, 7]


@pytest.mark.parametrize("size", [14, 15, 16])
def test_auxiliary_pooling_is_that_of_the_paper_where_it_gives_4x4(size: int) -> None:
    torch.manual_seed(0)
    head = Auxiliary(2, 6, 3, Config(width=0.1)).eval()
    x = torch.randn(2, 6, size, size)
    with torch.no_grad():
        pooled = head.conv(functional.avg_pool2d(x, 5, 3))
        assert pooled.shape[2:] == (4, 4)
        wanted = head.fc2(functional.relu(head.fc1(pooled.flatten(1))))
        torch.testing.assert_close(head(x), wanted)
        assert head(x[:, :, :3, :5]).shape == (2, 3)


def test_heads_exist_only_while_training() -> None:
    torch.manual_seed(0)
    network = networks.create("googlenet", width=0.1, dropout=0, auxiliary_dropout=0)
    x = torch.randn(2, 1, 37, 31)
    with torch.no_grad():
        outputs = network.train()(x)
        assert len(outputs) == 3
        assert network.output_weights == (1.0, 0.3, 0.3)
        assert torch.equal(outputs[0], network.eval()(x))
    with torch.device("meta"):
        alone = networks.create("googlenet", width=0.1, auxiliary=False).train()
        assert alone(torch.empty(2, 1, 31, 31)).shape == (2, 10)
    assert alone.output_weights == (1.0,)


def test_3d_has_the_same_kernels_along_each_axis() -> None:
    cost = networks.cost("googlenet", (32, 32, 40), width=0.125, small_input=True)
    rows = {row.name: row for row in cost.layers}
    assert rows["stem.conv1.0"].parameters == 4 * (5**3 + 1)
    assert rows["inception.3a.branch5.1.0"].parameters == 4 * (2 * 5**3 + 1)
    assert rows["auxiliary.4a.fc1"].parameters == 128 * (16 * 4**3 + 1)


def test_scale_of_the_signal_survives_all_modules() -> None:
    """He-normal weights: a random image is neither lost nor blown up in 21 layers, and the first guess is undecided."""
    torch.manual_seed(0)
    network = networks.create("googlenet", width=0.5).eval()
    features = []
    network.mean.register_forward_hook(lambda _module, _args, out: features.append(out))
    with torch.no_grad():
        logits = network(torch.randn(4, 1, 64, 64))
    assert 0.1 < features[0].std().item() < 10
    assert logits.softmax(1).max().item() < 0.2
