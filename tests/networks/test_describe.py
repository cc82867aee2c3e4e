"""What is told of a network comes from its own source, whatever network is added."""

from __future__ import annotations

import pytest
import torch
from pydantic import Field

from striate import networks
from striate.core import config
from striate.core.errors import UsageError
from striate.networks.describe import Option, built, default_size, describe, options, sizes

EVERY = pytest.mark.parametrize("name", networks.names())


@EVERY
def test_every_network_says_what_it_is_and_what_its_options_mean(name: str) -> None:
    told = describe(name)
    assert told.title
    assert told.paper
    assert "\n" not in told.title + told.paper
    assert [o.name for o in told.options] == list(networks.load(name).config_type.model_fields)
    assert [o.name for o in told.options if not o.meaning] == []


def test_title_and_first_paper() -> None:
    told = describe("unet")
    assert told.title == "U-Net in the plain-convolution form of nnU-Net v2, 2D and 3D"
    assert told.paper.startswith("O. Ronneberger, P. Fischer, T. Brox: U-Net")
    assert told.paper.endswith("MICCAI 2015")
    assert (told.task, told.dims) == ("segmentation", (2, 3))


def test_options_by_hand() -> None:
    class Config(config.Config):
        """Options.

        Attributes
        ----------
        first, second
            Two of
            a ``kind``.
        third
            Another.
        """

        first: int = 1
        second: tuple[int, ...] = Field(default_factory=lambda: (2, 3))
        third: str = "x"
        fourth: bool = False

    assert options(Config) == (
        Option("first", 1, "Two of a `kind`."),
        Option("second", (2, 3), "Two of a `kind`."),
        Option("third", "x", "Another."),
        Option("fourth", False, ""),
    )


@EVERY
def test_the_default_size_fits(name: str) -> None:
    for dims in networks.load(name).dims:
        size = default_size(name, dims, {})
        with torch.device("meta"):
            assert built(name, size).fitting(size) == size


def test_the_size_is_the_networks_own_where_it_has_one() -> None:
    assert default_size("lenet5", 2, {}) == (32, 32)
    assert default_size("mlp", 2, {"input_size": [20, 24]}) == (20, 24)
    assert default_size("unet", 3, {}) == (64, 64, 64)
    assert default_size("inception_v4", 2, {}) == (75, 75)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("lenet5", (32, 32), "32×32 only (option input_size)"),
        ("unet", (64, 64), "32×32 or more, in steps of 32×32"),
        ("inception_v4", (75, 75), "75×75 or more"),
    ],
)
def test_sizes_in_words(name: str, size: tuple[int, ...], words: str) -> None:
    assert sizes(built(name, size)) == words


def test_an_unknown_network_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'unet'\?"):
        describe("unett")


def test_blocks_hold_all_that_is_in_them() -> None:
    cost = networks.cost("inception_v3", (79, 79), small_input=True, width=0.25, training=False)
    blocks = {b.name: b for b in cost.blocks}
    for name in ("stem", "blocks.5b", "blocks.7c", "blocks.7c.fan", "classifier"):
        inside = [r for r in cost.layers if r.name.startswith(f"{name}.")]
        assert blocks[name].macs == sum(r.macs for r in inside)
        assert blocks[name].parameters == sum(r.parameters for r in inside)
    assert blocks["blocks.5b"].output_shape == (64, 35, 35)
    assert blocks["blocks.5b"].receptive_field == (21, 21)
    assert "" not in blocks
