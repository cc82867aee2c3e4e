"""The first U-Net against the paper's sizes and counts, and its overlap-tile strategy."""

from __future__ import annotations

import pytest
import torch

from striate import networks
from striate.core.errors import UsageError


@pytest.mark.parametrize(
    ("channels", "classes", "parameters"),
    [(1, 1, 31_030_593), (1, 2, 31_030_658), (3, 1, 31_031_745), (3, 2, 31_031_810)],
)
def test_parameters(channels: int, classes: int, parameters: int) -> None:
    cost = networks.cost("unet_2015", (188, 188), in_channels=channels, out_channels=classes)
    assert cost.parameters == parameters


def test_the_papers_tile() -> None:
    cost = networks.cost("unet_2015", (572, 572), in_channels=1, out_channels=2)
    convolutions = [layer for layer in cost.layers if layer.macs]
    assert cost.macs == 150_428_424_448
    assert len(convolutions) == 23
    sizes = [layer.output_shape[1] for layer in convolutions]
    assert sizes == [570, 568, 282, 280, 138, 136, 66, 64, 30, 28, 56, 54, 52, 104, 102, 100, 200, 198, 196, 392, 390, 388,
                     388]  # fmt: skip
    assert convolutions[-1].output_shape == (2, 388, 388)


def test_padded_and_normalised_it_is_the_often_quoted_variant() -> None:
    cost = networks.cost("unet_2015", (576, 576), in_channels=1, out_channels=2, padding="same", batch_norm=True)
    assert cost.parameters == 31_042_434
    assert cost.layers[-1].output_shape == (2, 576, 576)


@pytest.mark.parametrize(("size", "output"), [(188, 4), (204, 20), (220, 36), (572, 388)])
def test_sizes_that_fit(size: int, output: int) -> None:
    with torch.device("meta"):
        network = networks.create("unet_2015", out_channels=2)
        assert network(torch.empty(1, 1, size, 188)).shape == (1, 2, output, 4)
    assert network.margin == (92, 92)
    assert size - 2 * 92 == output


@pytest.mark.parametrize(("size", "works"), [((172, 188), (188, 188)), ((573, 572), (588, 572))])
def test_other_sizes_are_refused(size: tuple[int, int], works: tuple[int, int]) -> None:
    with torch.device("meta"), pytest.raises(UsageError) as caught:
        networks.create("unet_2015")(torch.empty(1, 1, *size))
    assert f"The size {works} would work" in str(caught.value)
    assert "at least (188, 188), in steps of (16, 16)" in str(caught.value)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("halvings", [1, 2, 3])
def test_any_depth_gives_what_the_margin_says(dims: int, halvings: int) -> None:
    with torch.device("meta"):
        network = networks.create("unet_2015", spatial_dims=dims, features=(2, 3, 4, 5)[: halvings + 1])
        for steps in (0, 1, 2):
            size = [least + steps * step for least, step in zip(network.least, network.divisor, strict=True)]
            found = network(torch.empty(1, 1, *size)).shape[2:]
            assert found == tuple(n - 2 * m for n, m in zip(size, network.margin, strict=True))


def test_overlapping_tiles_give_the_whole_images_logits() -> None:
    torch.manual_seed(0)
    network = networks.create("unet_2015", out_channels=2, features=(3, 4, 5)).double().eval()
    assert (network.least[0], network.divisor[0], network.margin[0]) == (44, 4, 20)
    image = torch.randn(1, 1, 60, 60, dtype=torch.float64)
    with torch.inference_mode():
        whole = network(image)  # 20 × 20
        for i in (0, 4, 8):
            for j in (0, 12):
                tile = network(image[..., i : i + 52, j : j + 48])  # 12 × 8
                torch.testing.assert_close(tile, whole[..., i : i + 12, j : j + 8], rtol=0, atol=1e-12)


def test_dropout_acts_only_while_training() -> None:
    torch.manual_seed(0)
    network = networks.create("unet_2015", out_channels=2, features=(2, 3))
    x = torch.randn(1, 1, 28, 28)
    assert not torch.equal(network.train()(x), network(x))
    assert torch.equal(network.eval()(x), network(x))
