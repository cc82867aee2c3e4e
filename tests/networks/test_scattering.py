"""Scattering coefficients are what their formula says, and keep what it promises."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from striate import networks
from striate.core.errors import UsageError
from striate.networks.layers.scattering import Scattering, channels, gaussian, littlewood_paley, morlet, wavelet_factor


@pytest.fixture(autouse=True)
def _double() -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("scales", "angles", "order", "wanted"),
    [(2, 8, 2, 81), (2, 8, 1, 17), (3, 8, 2, 217), (4, 6, 2, 241), (1, 4, 2, 5)],
)
def test_number_of_channels(scales: int, angles: int, order: int, wanted: int) -> None:
    """1 + JL + L² J(J−1)/2."""
    assert channels(scales, angles, order) == wanted
    size = 2 ** (scales + 1)
    found = Scattering((size, size + 3), scales, angles, order)(random(2, 3, size, size + 3))
    assert found.shape == (2, 3, wanted, 2, 4 if scales == 1 else 3)  # 7 pixels are 4 twos


@pytest.mark.parametrize(("scales", "angles"), [(1, 8), (2, 8), (3, 6), (3, 8)])
def test_wavelets_have_mean_0_and_together_keep_the_energy_within_1(scales: int, angles: int) -> None:
    size = (48, 40)
    low, waves = littlewood_paley(size, scales, angles)
    total = low + wavelet_factor(size, scales, angles) ** 2 * waves
    assert total.max() == pytest.approx(1.0, abs=1e-12)
    assert total[0, 0] == pytest.approx(1.0)  # a blank image keeps its value
    assert all(abs(morlet(size, j, k, angles)[0, 0]) < 1e-12 for j in range(scales) for k in range(angles))


def test_equal_to_the_formula_computed_by_fast_fourier_transforms() -> None:
    """One image, all maps on the full grid; maps that stay on it are equal, the coarser grids cost less than 5 %."""
    layer = Scattering((32, 24), 2, 4, 2)
    x = random(1, 1, 32, 24)
    smooth = functional.avg_pool2d(x, 3, 1, 1)
    found = layer(smooth)[0, 0].numpy()
    image = np.pad(smooth[0, 0].numpy(), 4, mode="reflect")
    size = image.shape
    factor = wavelet_factor(size, 2, 4)
    blur = np.multiply.outer(gaussian(size[0], 2), gaussian(size[1], 2))

    def filtered(values: Any, spectrum: Any) -> Any:
        return np.fft.ifft2(np.fft.fft2(values) * spectrum)

    def average(values: Any) -> Any:
        return filtered(values, blur).real[4:-4:4, 4:-4:4]

    waves = [[factor * morlet(size, j, k, 4) for k in range(4)] for j in range(2)]
    moduli = [[np.abs(filtered(image, wave)) for wave in scale] for scale in waves]
    first = np.stack([average(u) for scale in moduli for u in scale])
    second = np.stack([average(np.abs(filtered(u, wave))) for u in moduli[0] for wave in waves[1]])
    np.testing.assert_allclose(found[0], average(image), atol=1e-12)
    np.testing.assert_allclose(found[1:5], first[:4], atol=1e-12)
    assert np.abs(found[5:9] - first[4:]).max() < 0.05 * first[4:].max()
    assert np.abs(found[9:] - second).max() < 0.05 * second.max()


@pytest.mark.parametrize("scale", [0, 1, 2])
@pytest.mark.parametrize("angle", [0, 3, 7])
def test_a_grating_answers_in_the_channel_of_its_scale_and_angle(scale: int, angle: int) -> None:
    frequency, theta = 0.75 * math.pi / 2**scale, math.pi * angle / 8
    i, j = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    grating = torch.cos(frequency * (i * math.cos(theta) + j * math.sin(theta)))
    first = Scattering((32, 32), 3, 8, 1)(grating[None, None])[0, 0, 1:, 1:-1, 1:-1].mean((1, 2))
    assert int(first.argmax()) == 8 * scale + angle


def test_a_blank_image_has_only_its_mean_and_no_gradient_that_is_not_a_number() -> None:
    layer = Scattering((16, 16), 2, 4, 2)
    blank = torch.full((1, 1, 16, 16), 3.0, requires_grad=True)
    found = layer(blank)[0, 0]
    torch.testing.assert_close(found[0], torch.full((4, 4), 3.0))
    assert found[1:].abs().max() < 1e-8
    assert torch.isfinite(torch.autograd.grad(layer(blank * 0).sum(), blank)[0]).all()


def test_no_pair_of_images_is_moved_apart() -> None:
    """2^J ‖Sx − Sy‖ ≤ ‖x − y‖ of the mirrored images (2^J is the side of the square that a place stands for).

    Random pairs, then pairs that climb the gradient of the ratio.
    """
    layer = Scattering((16, 16), 2, 4, 2)

    def ratio(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        mirrored = functional.pad(x - y, layer.pads, mode="reflect")
        return 4 * (layer(x) - layer(y)).flatten(1).norm(dim=1) / mirrored.flatten(1).norm(dim=1)

    x, y = random(8, 1, 16, 16).requires_grad_(), random(8, 1, 16, 16, seed=1).requires_grad_()
    start = ratio(x, y).max().item()
    climb = torch.optim.Adam([x, y], 0.05)
    for _ in range(60):
        climb.zero_grad()
        (-ratio(x, y).sum()).backward()
        climb.step()
    end = ratio(x, y).max().item()
    assert start < end <= 1


def test_a_shift_moves_the_coefficients_less_the_larger_the_scale() -> None:
    image = functional.pad(random(1, 1, 32, 32), (16, 16, 16, 16))
    shifted = image.roll(1, -1)
    moved = float((image - shifted).norm() / image.norm())
    found = []
    for scales in (1, 2, 3, 4):
        layer = Scattering((64, 64), scales, 4, 1)
        a, b = layer(image), layer(shifted)
        found.append(float((a - b).norm() / a.norm()))
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.1 < 1 < moved


def test_only_the_read_out_learns() -> None:
    torch.manual_seed(0)
    network = networks.create("scattering", in_channels=2, out_channels=3)
    assert [name for name, _ in network.named_parameters()] == ["readout.weight", "readout.bias"]
    assert network.readout.weight.shape == (3, 2 * 81 * 8 * 8)
    cost = networks.cost("scattering", (32, 32), in_channels=1, out_channels=10)
    assert cost.parameters == 10 * (81 * 64 + 1)


def test_organised_features_have_mean_0_and_a_spread_below_1() -> None:
    network = networks.create("scattering", input_size=(16, 16), angles=4)
    images = functional.pad(random(40, 1, 12, 12), (2, 2, 2, 2))
    network.organise(images, torch.Generator())
    found = network.features(images)
    assert found.mean(0).abs().max() < 1e-9
    spread = found.std(0, correction=0)
    assert spread.max() < 1 < spread.max() * 1.2


def test_another_network_can_learn_from_the_maps() -> None:
    torch.manual_seed(0)
    options = {"features": [16], "dropout": 0}
    network = networks.create("scattering", input_size=(16, 16), classifier="inception_3d", classifier_options=options)
    x = random(2, 1, 16, 16)
    assert network(x).shape == (2, 10)
    assert network.output_weights == (1.0,)
    torch.testing.assert_close(network.readout(network.features(x)), network(x))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"input_size": (7, 32)}, r"input_size: \(7, 32\); 2 numbers of at least 8 are needed for 2 scales"),
        ({"input_size": (32, 32, 32)}, "2 numbers"),
        ({"classifier": "unet"}, "classifier: unet; a network for classification"),
        ({"classifier": "scattering"}, "learns all of its layers"),
        ({"classifier": "inception_3d", "input_size": (16, 16)}, r"maps of \(4, 4\); it takes \(8, 8\)"),
        ({"order": 3}, "key 'order' is 3"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], match: str) -> None:
    with torch.device("meta"), pytest.raises(UsageError, match=match):
        networks.create("scattering", **options)
