"""`inception_v3` is the released network, block for block."""

from __future__ import annotations

import pytest
import torch

from striate import networks
from striate.core.errors import UsageError

# Shape after each block at 3×299×299, and its parameters, as published code has them.
BLOCKS = {
    "5b": ((256, 35, 35), 255_904),
    "5c": ((288, 35, 35), 277_472),
    "5d": ((288, 35, 35), 285_152),
    "6a": ((768, 17, 17), 1_153_280),
    "6b": ((768, 17, 17), 1_297_408),
    "6c": ((768, 17, 17), 1_691_008),
    "6d": ((768, 17, 17), 1_691_008),
    "6e": ((768, 17, 17), 2_141_952),
    "7a": ((1280, 8, 8), 1_698_304),
    "7b": ((2048, 8, 8), 5_044_608),
    "7c": ((2048, 8, 8), 6_076_800),
}
STEM = [
    ((32, 149, 149), 928),
    ((32, 147, 147), 9_280),
    ((64, 147, 147), 18_560),
    ((64, 73, 73), 0),
    ((80, 73, 73), 5_280),
    ((192, 71, 71), 138_624),
    ((192, 35, 35), 0),
]


def size(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_totals() -> None:
    used = networks.cost("inception_v3", (299, 299), in_channels=3, out_channels=1000, training=False)
    assert (used.parameters, used.macs) == (23_834_568 + 3_326_696, 5_713_216_096)
    assert used.parameters_run == 23_834_568
    alone = networks.cost("inception_v3", (299, 299), in_channels=3, out_channels=1000, auxiliary=False)
    assert (alone.parameters, alone.macs) == (23_834_568, 5_713_216_096)


def test_every_stage() -> None:
    with torch.device("meta"):
        network = networks.create("inception_v3", in_channels=3, out_channels=1000)
        x, found = torch.empty(1, 3, 299, 299), []
        for step in network.stem:
            x = step(x)
            found.append((tuple(x.shape[1:]), size(step)))
        assert found == STEM
        found = []
        for name, block in network.blocks.items():
            x = block(x)
            found.append((name, (tuple(x.shape[1:]), size(block))))
    assert found == list(BLOCKS.items())
    assert size(network.auxiliary) == 3_326_696
    assert size(network.classifier) == 2_049_000


def test_the_auxiliary_classifier_is_there_while_training_only() -> None:
    with torch.device("meta"):
        network = networks.create("inception_v3", in_channels=3, out_channels=7)
        x = torch.empty(2, 3, 299, 299)
        assert [tuple(o.shape) for o in network.train()(x)] == [(2, 7), (2, 7)]
        assert network.output_weights == (1.0, 0.4)
        assert network.eval()(x).shape == (2, 7)
        alone = networks.create("inception_v3", in_channels=3, out_channels=7, auxiliary=False).train()
        assert alone(x).shape == (2, 7)
        assert alone.output_weights == (1.0,)


def test_prediction_does_not_depend_on_the_auxiliary_classifier() -> None:
    torch.manual_seed(0)
    options = {"width": 1 / 16, "small_input": True}
    whole = networks.create("inception_v3", **options).eval()
    alone = networks.create("inception_v3", auxiliary=False, **options).eval()
    alone.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith("auxiliary.")})
    x = torch.randn(1, 1, 40, 40)
    with torch.inference_mode():
        assert torch.equal(whole(x), alone(x))


@pytest.mark.parametrize(
    ("pixels", "grids"), [(64, (27, 13, 6)), (79, (35, 17, 8)), (80, (35, 17, 8)), (96, (43, 21, 10))]
)
def test_small_input_keeps_the_grids_of_the_paper(pixels: int, grids: tuple[int, ...]) -> None:
    """79×79 is the paper's own small input; it gives the grids of 299×299."""
    with torch.device("meta"):
        network = networks.create("inception_v3", small_input=True)
        x = network.stem(torch.empty(1, 1, pixels, pixels))
        found = [x.shape[-1]]
        for block in network.blocks.values():
            x = block(x)
            found.append(x.shape[-1])
    assert sorted(set(found), reverse=True) == list(grids)


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({}, 299),
        ({"auxiliary": False}, 75),
        ({"small_input": True}, 31),
        ({"small_input": True, "auxiliary": False}, 23),
    ],
)
def test_the_least_size_is_the_least(options: dict[str, bool], least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device("meta"):
        network = networks.create("inception_v3", **options).train()
        assert network.least == (least, least)
        network(torch.empty(2, 1, least, least))
        with pytest.raises(UsageError, match=rf"\({least}, {least}\) would work"):
            network(torch.empty(2, 1, least - 1, least))
        monkeypatch.setattr(network, "check_input", lambda x: None)
        with pytest.raises(RuntimeError):
            network(torch.empty(2, 1, least - 1, least - 1))


def test_a_quarter_of_the_width_has_a_sixteenth_of_the_weights() -> None:
    """All numbers of maps are multiples of four, so that nothing is rounded."""
    with torch.device("meta"):
        whole, narrow = (networks.create("inception_v3", width=w).blocks for w in (1, 0.25))
        for name in BLOCKS:
            weights = [sum(p.numel() for p in b[name].parameters() if p.ndim > 1) for b in (whole, narrow)]
            assert weights[0] == 16 * weights[1]


def test_three_axes_have_one_kernel_along_each() -> None:
    with torch.device("meta"):
        network = networks.create("inception_v3", spatial_dims=3, small_input=True, auxiliary=False)
        kernels = [tuple(u.conv.kernel_size) for u in network.blocks["6b"].seven[1]]
        assert kernels == [(1, 1, 7), (1, 7, 1), (7, 1, 1)]
        assert network.blocks["7c"].outputs == 320 + 2 * 3 * 384 + 192
        assert network(torch.empty(2, 1, 23, 24, 25)).shape == (2, 10)
