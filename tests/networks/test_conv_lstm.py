"""What is particular to `conv_lstm`: the paper's counts, the equations, and what the layer does with shifts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from striate import networks
from striate.core.errors import UsageError
from striate.networks.layers.conv_lstm import ConvLSTM


class Forecaster(nn.Module):
    """The paper's network: an encoder, and a mirrored forecaster that starts from its states and has no input."""

    def __init__(self, hidden: tuple[int, ...], channels: int = 16) -> None:
        super().__init__()
        mirrored = hidden[::-1]
        self.encoder = nn.ModuleList(ConvLSTM(n, h, (5, 5)) for n, h in zip((channels, *hidden), hidden, strict=False))
        self.forecaster = nn.ModuleList(ConvLSTM(n, h, (5, 5)) for n, h in zip((0, *mirrored), mirrored, strict=False))
        self.head = nn.Conv2d(sum(hidden), channels, 1)

    def forward(self, x: torch.Tensor, frames: int) -> torch.Tensor:
        states = []
        for layer in self.encoder:
            x, state = layer(x)
            states.append(state)
        x = x[:, :1, :0].expand(-1, frames, -1, -1, -1)
        outputs = []
        for layer, state in zip(self.forecaster, states[::-1], strict=True):
            x, _ = layer(x, state)
            outputs.append(x)
        images: torch.Tensor = self.head(torch.cat(outputs, dim=2).flatten(0, 1)).unflatten(0, (-1, frames))
        return images


@pytest.mark.parametrize(
    ("hidden", "parameters"), [((256,), 13_524_496), ((128, 128), 10_042_896), ((128, 64, 64), 7_585_296)]
)
def test_the_layer_gives_the_papers_counts(hidden: tuple[int, ...], parameters: int) -> None:
    with torch.device("meta"):
        network = Forecaster(hidden)
        assert network(torch.empty(2, 10, 16, 16, 16), frames=7).shape == (2, 7, 16, 16, 16)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("size", [(32, 24), (16, 16, 8)])
@pytest.mark.parametrize("ways", [1, 2])
def test_counts_of_the_network(size: tuple[int, ...], ways: int) -> None:
    """4·(k²·(C_in + C_h)·C_h + C_h) + 3·C_h parameters a layer; a product per weight, place and image."""
    cost = networks.cost("conv_lstm", size, in_channels=2, out_channels=3, bidirectional=ways == 2)
    taps, block = 5 ** len(size), 4 ** len(size)
    layers = [(2 * block, 128), (ways * 128, 64), (ways * 64, 64)]
    weights = [ways * 4 * taps * (inputs + hidden) * hidden for inputs, hidden in layers]
    rest = ways * 7 * (128 + 64 + 64) + ways * 64 * 3 + 3
    places = torch.Size(size).numel() // block
    assert cost.parameters == sum(weights) + rest
    assert cost.macs == networks.SEQUENCE_LENGTH * (places * sum(weights) + ways * 64 * 3)


def layer(inputs: int = 2, hidden: int = 3, kernel: tuple[int, ...] = (3, 3), seed: int = 0) -> Any:
    torch.manual_seed(seed)
    made = ConvLSTM(inputs, hidden, kernel).double()
    nn.init.normal_(made.peepholes)
    return made


def maps(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_on_one_place_it_is_the_lstm_with_peepholes() -> None:
    """F. A. Gers, J. Schmidhuber, IJCNN 2000: input and forget gate look at the old memory, the output gate at the new."""
    cell, x = layer(kernel=(1, 1)), maps(2, 5, 2, 1, 1)
    W, U, b = cell.from_input.weight[..., 0, 0], cell.from_state.weight[..., 0, 0], cell.from_state.bias
    p_i, p_f, p_o = cell.peepholes[..., 0, 0]
    h = c = torch.zeros(2, 3, dtype=torch.float64)
    for t, found in enumerate(cell(x)[0].unbind(1)):
        i, f, g, o = (x[:, t, :, 0, 0] @ W.T + h @ U.T + b).chunk(4, 1)
        i, f = (i + p_i * c).sigmoid(), (f + p_f * c).sigmoid()
        c = f * c + i * g.tanh()
        o = (o + p_o * c).sigmoid()
        h = o * c.tanh()
        assert torch.allclose(found[..., 0, 0], h, atol=1e-12), t
        gates = torch.cat((i, f, o))
        assert ((gates > 0) & (gates < 1)).all()


def test_an_open_forget_gate_and_a_closed_input_gate_keep_the_memory() -> None:
    cell = layer()
    with torch.no_grad():
        cell.from_state.bias[:3], cell.from_state.bias[3:6] = -1e4, 1e4
    h, c = maps(1, 3, 6, 7), maps(1, 3, 6, 7).flip(-1)
    _, (_, after) = cell(maps(1, 8, 2, 6, 7), (h, c))
    assert torch.equal(after, c)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_shifted_image_shifts_the_maps(dims: int) -> None:
    """Away from the border, as far as three images of kernel 3 can see from there."""
    cell = layer(kernel=(3,) * dims)
    x = maps(1, 3, 2, *(20,) * dims)
    shift, spatial = (3, -2, 2)[:dims], tuple(range(-dims, 0))
    inner = (..., *(slice(8, -8),) * dims)
    assert torch.allclose(cell(x.roll(shift, spatial))[0][inner], cell(x)[0].roll(shift, spatial)[inner], atol=1e-12)


def test_backwards_is_forwards_on_the_reversed_images() -> None:
    cell, x = layer(), maps(2, 4, 2, 5, 5)
    assert torch.equal(cell(x, backwards=True)[0], cell(x.flip(1))[0].flip(1))


def network(**options: Any) -> Any:
    torch.manual_seed(0)
    small = {"hidden": [4, 3], "kernel": 3, "patch": 2}
    return networks.create("conv_lstm", in_channels=2, out_channels=3, **{**small, **options}).double().eval()


def test_reversed_images_swap_the_directions() -> None:
    forth, back = network(hidden=[4], bidirectional=True), network(hidden=[4], bidirectional=True)
    state = forth.state_dict()
    other = {"forwards": "backwards", "backwards": "forwards", "head": "head"}
    swapped = {k.replace(k.split(".")[0], other[k.split(".")[0]]): v for k, v in state.items()}
    back.load_state_dict({**swapped, "head.weight": state["head.weight"].roll(4, dims=1)})
    x = maps(2, 5, 2, 8, 8)
    assert torch.allclose(back(x.flip(1)).flip(1), forth(x), atol=1e-12)


def test_blocks_become_channels_and_nothing_is_lost() -> None:
    """The first layer gets each voxel once, all voxels of a block at the block's place."""
    reader, seen = network(patch=(2, 4), hidden=[4]), []
    reader.forwards[0].register_forward_pre_hook(lambda _layer, args: seen.append(args[0]))
    x = torch.arange(2 * 8 * 8, dtype=torch.float64).reshape(1, 1, 2, 8, 8)
    reader(x)
    assert seen[0].shape == (1, 1, 16, 4, 2)
    assert sorted(seen[0][0, 0, :, 1, 1].tolist()) == sorted(x[0, 0, :, 2:4, 4:8].flatten().tolist())


def test_even_kernels_are_refused() -> None:
    with pytest.raises(UsageError, match="odd numbers are needed"):
        networks.create("conv_lstm", kernel=4)


def test_it_can_be_exported() -> None:
    reader, x = network(bidirectional=True).float(), maps(1, 3, 2, 8, 8).float()
    exported = torch.export.export(reader, (x,)).module()
    assert torch.allclose(exported(x), reader(x), atol=1e-5)
