"""What is particular to `autoencoder`: its published counts, its sizes, and that denoising removes noise."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from striate import networks


def test_counts_of_the_default() -> None:
    cost = networks.cost("autoencoder", (28, 28))
    assert cost.parameters == 210_369
    assert cost.macs == 708_736
    shapes = [layer.output_shape for layer in cost.layers if layer.macs]
    assert shapes == [(16, 14, 14), (32, 7, 7), (64, 1, 1), (32, 7, 7), (16, 14, 14), (1, 28, 28)]


@pytest.mark.parametrize(
    ("size", "channels", "code"),
    [((28, 28), 1, (64, 1, 1)), ((48, 36), 4, (64, 6, 3)), ((28, 32, 40), 2, (64, 1, 2, 4))],
)
def test_any_size_that_fits_and_any_channels(size: tuple[int, ...], channels: int, code: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = networks.create("autoencoder", spatial_dims=len(size), in_channels=channels)
        x = torch.empty(2, channels, *size)
        assert network.encode(x).shape == (2, *code)
        assert network(x).shape == x.shape


def test_three_axes_cost_what_the_kernels_say() -> None:
    kernels = 27 * (1 * 16 + 16 * 32) + 343 * 32 * 64
    assert networks.cost("autoencoder", (28, 28, 28)).parameters == 2 * kernels + 16 + 32 + 64 + 32 + 16 + 1


@pytest.mark.parametrize(
    ("n", "kernel", "stride", "padding", "extra"), [(7, 3, 2, 1, 1), (14, 3, 2, 1, 1), (1, 7, 1, 0, 0)]
)
def test_size_of_a_transposed_convolution(n: int, kernel: int, stride: int, padding: int, extra: int) -> None:
    layer = nn.ConvTranspose2d(1, 1, kernel, stride, padding, output_padding=extra, device="meta")
    out = layer(torch.empty(1, 1, n, n, device="meta")).shape[-1]
    assert out == (n - 1) * stride - 2 * padding + kernel + extra


def test_the_output_activation() -> None:
    x = 3 * torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    bounded = networks.create("autoencoder", features=(4,), code=4, code_kernel=3)
    linear = networks.create("autoencoder", features=(4,), code=4, code_kernel=3, output="linear")
    linear.load_state_dict(bounded.state_dict())
    assert torch.equal(linear(x).sigmoid(), bounded(x))


def test_noise_is_added_while_training_only() -> None:
    torch.manual_seed(0)
    network = networks.create("autoencoder", features=(4,), code=4, code_kernel=3, noise=0.5)
    seen: list[torch.Tensor] = []
    network.encoder[0].register_forward_pre_hook(lambda _layer, args: seen.append(args[0]))
    x = torch.full((4, 1, 64, 64), 0.25)
    network.eval()(x)
    network.train()(x)
    assert torch.equal(seen[0], x)
    assert float((seen[1] - x).std()) == pytest.approx(0.5, rel=0.02)
    assert float((seen[1] - x).mean()) == pytest.approx(0.0, abs=0.02)


def test_denoising_brings_images_closer_to_the_clean_ones() -> None:
    """Vincent 2008: trained on noise, asked about images and noise that it has not seen."""
    torch.manual_seed(0)
    draw = torch.Generator().manual_seed(1)
    axis = torch.arange(16) + 0.5

    def images(count: int) -> torch.Tensor:
        centre = 4 + 8 * torch.rand(count, 2, 1, generator=draw)
        rows, columns = (torch.exp(-((axis - centre[:, i]) ** 2) / 12) for i in range(2))
        return (rows[:, :, None] * columns[:, None, :])[:, None]

    network = networks.create("autoencoder", features=(8,), code=16, code_kernel=8, noise=0.3)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    clean = images(128)
    for _ in range(250):
        optimiser.zero_grad()
        (network(clean) - clean).square().mean().backward()
        optimiser.step()
    unseen = images(64)
    noisy = unseen + 0.3 * torch.randn(unseen.shape, generator=draw)
    with torch.inference_mode():
        after, before = ((y - unseen).square().mean() for y in (network.eval()(noisy), noisy))
    assert after < before / 4
