"""Feedback alignment: equal to backpropagation where B = W, and learning where B is random."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from striate import networks
from striate.networks.layers import feedback
from striate.networks.layers.feedback import Feedback, FeedbackConv2d, FeedbackConv3d, FeedbackLinear, angles_deg

NETWORKS = pytest.mark.parametrize(
    ("name", "size"),
    [("mlp", (6, 6)), ("mlp", (3, 4, 5)), ("lenet5_modern", (18, 16)), ("lenet5_modern", (16, 16, 17))],
)


def built(name: str, size: tuple[int, ...], rule: str) -> networks.Network:
    torch.manual_seed(1)
    options = {"input_size": size, "rule": rule} | ({"hidden": (12, 8)} if name == "mlp" else {})
    return networks.create(name, spatial_dims=len(size), out_channels=3, **options).train()


def gradients(network: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    network.zero_grad()
    network(x).pow(2).sum().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def twins(name: str, size: tuple[int, ...]) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    """Return the network by either rule, with the same weights, and an input."""
    plain, fed = built(name, size, "backpropagation"), built(name, size, "feedback_alignment")
    missing = fed.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing == [n for n, _ in fed.named_buffers()] != []
    return plain, fed, torch.randn(4, 1, *size, generator=torch.Generator().manual_seed(2))


@NETWORKS
def test_b_equal_to_w_is_backpropagation_to_the_bit(name: str, size: tuple[int, ...]) -> None:
    plain, fed, x = twins(name, size)
    for layer in fed.modules():
        if isinstance(layer, Feedback):
            layer.feedback.copy_(layer.weight.detach())
    want, found = gradients(plain, x), gradients(fed, x)
    assert want.keys() == found.keys()
    assert all(torch.equal(want[k], found[k]) for k in want)


@NETWORKS
def test_only_what_comes_back_is_changed(name: str, size: tuple[int, ...]) -> None:
    """Outputs and the last layer's gradients are those of backpropagation; earlier layers' are not; in eval() all are."""
    plain, fed, x = twins(name, size)
    assert torch.equal(plain(x), fed(x))
    want, found = gradients(plain, x), gradients(fed, x)
    *earlier, weight, bias = want
    assert torch.equal(want[weight], found[weight]) and torch.equal(want[bias], found[bias])
    assert not any(torch.equal(want[k], found[k]) for k in earlier if "weight" in k)
    want, found = gradients(plain.eval(), x), gradients(fed.eval(), x)
    assert all(torch.equal(want[k], found[k]) for k in want)


def test_the_signal_is_b_times_e() -> None:
    layer = FeedbackLinear(3, 2).double().train()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    e = torch.randn(5, 2, dtype=torch.float64)
    layer(x).backward(e)
    assert x.grad is not None and torch.allclose(x.grad, e @ layer.feedback)
    assert torch.allclose(layer.weight.grad, e.T @ x.detach())
    assert torch.equal(layer.bias.grad, e.sum(dim=0))


def test_angles_by_hand() -> None:
    layer = FeedbackLinear(2, 1)
    x, e = torch.zeros(3, 2), torch.tensor([[1.0], [-2.0], [0.0]])
    layer.weight.data, layer.feedback = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    assert layer.angle_deg(x, e) == pytest.approx(45)
    layer.feedback = torch.tensor([[0.0, 3.0]])
    assert layer.angle_deg(x, e) == pytest.approx(90)
    layer.feedback = torch.tensor([[-1.0, 0.0]])
    assert layer.angle_deg(x, e) == pytest.approx(180)
    assert math.isnan(layer.angle_deg(x, torch.zeros(3, 1)))


@pytest.mark.parametrize(("kind", "dims"), [(FeedbackConv2d, 2), (FeedbackConv3d, 3)])
def test_angles_of_convolutions(kind: Any, dims: int) -> None:
    torch.manual_seed(0)
    layer = kind(2, 4, 3)
    x, e = torch.zeros(2, 2, *(6,) * dims), torch.randn(2, 4, *(4,) * dims)
    assert layer.feedback.shape == layer.weight.shape
    assert 0 < layer.angle_deg(x, e) < 180
    layer.feedback.copy_(-3 * layer.weight.detach())
    assert layer.angle_deg(x, e) == pytest.approx(180, abs=1e-3)


def test_angles_of_a_network_leave_it_as_it_was() -> None:
    _, fed, x = twins("lenet5_modern", (18, 16))
    before = gradients(fed, x)
    found = angles_deg(fed, lambda: fed(x).pow(2).sum())
    assert set(found) == {"c3", "c5", "f6", "output"}
    assert all(0 < angle < 180 for angle in found.values())
    assert all(torch.equal(before[k], p.grad) for k, p in fed.named_parameters())
    assert not any(m._forward_hooks for m in fed.modules())
    assert angles_deg(nn.Linear(2, 2), lambda: torch.zeros(())) == {}


def teacher_task(*, frozen: bool = False, steps: int = 3000) -> tuple[list[float], list[float]]:
    """Learn a random linear map 30 → 10 by 30-20-10 with η = 1e-3; return relative error and angle, every 500 steps."""
    draw = torch.Generator().manual_seed(3)
    teacher = torch.randn(10, 30, generator=draw) / math.sqrt(30)
    first, second = nn.Linear(30, 20, bias=False), FeedbackLinear(20, 10, bias=False)
    network = nn.Sequential(first, second).train()
    for weight, bound in ((first.weight, 0.01), (second.weight, 0.01), (second.feedback, 0.5)):
        weight.data.uniform_(-bound, bound, generator=draw)
    if frozen:
        first.weight.data.normal_(0, 1 / math.sqrt(30), generator=draw)
    test = torch.randn(500, 30, generator=draw)
    errors, angles = [], []
    for step in range(steps + 1):
        x = torch.randn(16, 30, generator=draw)
        network.zero_grad()
        error = 0.5 * (x @ teacher.T - network(x)).pow(2).sum()
        if step % 500 == 0:
            with torch.no_grad():
                truth = test @ teacher.T
                errors.append(float((truth - network(test)).pow(2).sum() / truth.pow(2).sum()))
            angles.append(angles_deg(network, lambda x=x: 0.5 * (x @ teacher.T - network(x)).pow(2).sum())["1"])
        error.backward()
        with torch.no_grad():
            for weight in (second.weight,) if frozen else (first.weight, second.weight):
                weight -= 1e-3 * weight.grad
    return errors, angles


def test_a_linear_network_learns_by_random_feedback() -> None:
    """As in the paper's first example: the angle falls below 90° while the error falls to nothing."""
    errors, angles = teacher_task()
    assert errors[0] == pytest.approx(1, abs=0.05)
    assert errors[-1] < 1e-3
    assert errors == sorted(errors, reverse=True)
    assert all(angle < 90 for angle in angles[1:])
    assert angles[-1] < 45 < angles[0]


def test_a_frozen_first_layer_stalls() -> None:
    """Twenty fixed projections of thirty numbers leave about a third of the variance unexplained."""
    errors, _ = teacher_task(frozen=True)
    assert 0.2 < errors[-1] < 0.5


def test_b_is_saved_and_never_learned() -> None:
    layer = FeedbackLinear(3, 2)
    assert "feedback" in layer.state_dict()
    assert [n for n, _ in layer.named_parameters()] == ["weight", "bias"]
    assert isinstance(feedback.linear(3, 2, "backpropagation"), nn.Linear)
    with torch.device("meta"):
        assert FeedbackLinear(3, 2).feedback.is_meta
