"""What is particular to `cnn_rnn`: counts of the cells, their equations, and the two directions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from striate import networks
from striate.networks.counting import count

SMALL = {"features": [4, 6], "hidden": 5}


@pytest.mark.parametrize(
    ("kind", "bidirectional", "parameters"),
    [(nn.LSTM, False, 395_264), (nn.GRU, False, 296_448), (nn.RNN, False, 98_816), (nn.LSTM, True, 790_528)],
)
def test_counts_of_recurrent_layers(kind: Any, bidirectional: bool, parameters: int) -> None:
    """128 inputs, 256 units: PyTorch's layers have gates × 256 × (128 + 256) weights and two biases per gate."""

    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = kind(128, 256, batch_first=True, bidirectional=bidirectional)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.recurrent(x)[0]
            return out

    with torch.device("meta"):
        cost = count(Alone(), (7, 128))
    gates = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}[kind] * (2 if bidirectional else 1)
    assert cost.parameters == parameters
    assert cost.macs == 7 * gates * 256 * (128 + 256)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("size", [(32, 32), (16, 16, 32)])
def test_parameters_do_not_depend_on_the_number_of_images_and_macs_grow_with_it(
    cell: str, size: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        network = networks.create("cnn_rnn", spatial_dims=len(size), out_channels=3, cell=cell)
        one, five = (count(network, (images, 1, *size)) for images in (1, 5))
    k, gates = 3 ** len(size), 4 if cell == "lstm" else 3
    encoder = k * (16 + 16 * 32 + 32 * 64 + 64 * 128) + 16 + 32 + 64 + 128
    assert one.parameters == five.parameters == encoder + 2 * gates * (128 * 64 + 64 * 64 + 128) + 3 * 128 + 3
    assert five.macs == 5 * one.macs
    assert five.activations == 5 * one.activations
    voxels = size[0] * size[1] * (size[2] if len(size) > 2 else 1)
    maps = [(1, 16), (16, 32), (32, 64), (64, 128)]
    convolutions = sum(k * i * o * voxels // 2 ** (len(size) * stage) for stage, (i, o) in enumerate(maps))
    assert one.macs == convolutions + 2 * gates * 64 * (128 + 64) + 128 * 3


def network(**options: Any) -> Any:
    torch.manual_seed(0)
    return networks.create("cnn_rnn", out_channels=3, **{**SMALL, **options}).double().eval()


def images(count: int = 6) -> torch.Tensor:
    return torch.randn(2, count, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_the_cells_are_the_equations() -> None:
    """LSTM: c = f·c + i·g, h = o·tanh c. GRU: n = tanh(W x + r·(U h)), h = (1 - z)·n + z·h."""
    for cell in ("lstm", "gru"):
        layer = network(cell=cell, bidirectional=False).recurrent
        x = torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        h = c = torch.zeros(1, 5, dtype=torch.float64)
        for t in range(4):
            a = x[:, t] @ layer.weight_ih_l0.T + layer.bias_ih_l0
            b = h @ layer.weight_hh_l0.T + layer.bias_hh_l0
            if cell == "lstm":
                i, f, g, o = (a + b).chunk(4, 1)
                gates = torch.cat((i, f, o)).sigmoid()
                assert ((gates > 0) & (gates < 1)).all()
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
            else:
                (r, z, n), (r_h, z_h, n_h) = a.chunk(3, 1), b.chunk(3, 1)
                r, z = (r + r_h).sigmoid(), (z + z_h).sigmoid()
                h = (1 - z) * (n + r * n_h).tanh() + z * h
            assert torch.allclose(layer(x)[0][:, t], h, atol=1e-12)


def test_an_open_forget_gate_and_a_closed_input_gate_keep_the_state() -> None:
    layer = network(bidirectional=False).recurrent
    with torch.no_grad():
        layer.bias_ih_l0[:5], layer.bias_ih_l0[5:10] = -1e3, 1e3
    state = (torch.randn(1, 2, 5, dtype=torch.float64), torch.randn(1, 2, 5, dtype=torch.float64))
    _, (_, after) = layer(torch.randn(2, 9, 6, dtype=torch.float64), state)
    assert torch.equal(after, state[1])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_reversed_images_swap_the_directions(cell: str) -> None:
    """With the weights of the two directions exchanged, the reversed sequence gives the reversed answers."""
    forth, back = network(cell=cell), network(cell=cell)
    state = forth.state_dict()
    swapped = {k: state[k.removesuffix("_reverse") if k.endswith("_reverse") else f"{k}_reverse"]
               for k in state if k.startswith("recurrent")}  # fmt: skip
    swapped["head.weight"] = state["head.weight"].roll(5, dims=1)
    back.load_state_dict({**state, **swapped})
    x = images()
    assert torch.allclose(back(x.flip(1)).flip(1), forth(x), atol=1e-12)
    assert not torch.allclose(forth(x.flip(1)).flip(1), forth(x), atol=1e-3)


def test_one_direction_knows_only_what_came_before() -> None:
    x = images()
    changed = x.clone()
    changed[:, 4] += 1
    for bidirectional, last_equal in ((False, 4), (True, 0)):
        reader = network(bidirectional=bidirectional)
        same = (reader(changed) - reader(x)).abs().amax((0, 2)) < 1e-12
        assert int(same.int().cumprod(0).sum()) == last_equal


def test_the_gradient_reaches_far_images_only_where_the_forget_gate_is_open() -> None:
    """Through 60 steps, a plain recurrent layer forgets; an LSTM whose forget gate is open does not."""
    reach = {}
    for kind in (nn.RNN, nn.LSTM):
        torch.manual_seed(0)
        layer = kind(6, 5, batch_first=True).double()
        if kind is nn.LSTM:
            with torch.no_grad():
                layer.bias_ih_l0[5:10] = 20.0
        x = torch.randn(1, 60, 6, dtype=torch.float64, requires_grad=True)
        layer(x)[0][:, -1].sum().backward()
        reach[kind] = float(x.grad[0, 0].norm() / x.grad[0, -1].norm())
    assert reach[nn.RNN] < 1e-6
    assert reach[nn.LSTM] > 1e-2


@pytest.mark.filterwarnings("ignore:The tensor attributes self.recurrent")
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_it_can_be_exported(cell: str) -> None:
    reader, x = network(cell=cell).float(), images(3).float()
    exported = torch.export.export(reader, (x,)).module()
    assert torch.allclose(exported(x), reader(x), atol=1e-5)
