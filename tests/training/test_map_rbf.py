"""LeNet-5's criterion: by hand, its limit, and what its constant is for."""

from __future__ import annotations

import math

import pytest
import torch

from striate.core.class_set import ClassSet
from striate.core.targets import Targets
from striate.training import losses
from striate.training.losses.map_rbf import J, map_criterion


def test_by_hand() -> None:
    """Penalties 1 and 3, the first is true, j = 2: 1 + log(e⁻² + e⁻¹ + e⁻³)."""
    found = map_criterion(torch.tensor([[1.0, 3.0]], dtype=torch.float64), torch.tensor([0]), j=2)
    assert float(found) == pytest.approx(1 + math.log(math.exp(-2) + math.exp(-1) + math.exp(-3)))
    both = torch.tensor([[1.0, 3.0], [1.0, 3.0]], dtype=torch.float64)
    assert float(map_criterion(both, torch.tensor([0, 1]), j=2)) == pytest.approx(float(found) + 1)


def test_without_the_constant_it_is_the_cross_entropy() -> None:
    penalties, classes = 20 * torch.rand(6, 10, dtype=torch.float64), torch.arange(6)
    want = torch.nn.functional.cross_entropy(-penalties, classes)
    assert torch.allclose(map_criterion(penalties, classes, j=1e9), want)
    assert map_criterion(penalties, classes) > want


def test_the_constant_spares_penalties_that_are_far_above_it() -> None:
    """The push on a wrong class at j equals the pull of the rest; 20 above, nothing is left of it."""
    gradients = []
    for wrong in (J, J + 20):
        penalties = torch.tensor([[J, wrong]], dtype=torch.float64, requires_grad=True)
        map_criterion(penalties, torch.tensor([0])).backward()
        gradients.append(penalties.grad[0].tolist())
    assert gradients[0] == pytest.approx([1 - 1 / 3, -1 / 3])
    assert gradients[1] == pytest.approx([1 - 1 / 2, 0], abs=1e-8)


def test_huge_penalties_stay_finite() -> None:
    penalties = torch.tensor([[1e6, 2e6]], requires_grad=True)
    value = map_criterion(penalties, torch.tensor([1]))
    value.backward()
    assert float(value.detach()) == pytest.approx(2e6 - J)
    assert penalties.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(), (4,), (2, 3, 2)])
def test_images_and_voxels(shape: tuple[int, ...]) -> None:
    logits, classes = -torch.rand(5, 3, *shape), torch.randint(0, 3, (5, *shape), dtype=torch.uint8)
    for targets in (ClassSet(("a", "b", "c")), Targets.of_labels({1: "a", 2: "b"})):
        found = losses.create("map_rbf", targets)(logits, classes)
        flat = logits.movedim(1, -1).reshape(-1, 3), classes.reshape(-1)
        assert float(found) == pytest.approx(float(map_criterion(-flat[0], flat[1])), rel=1e-5)


def test_classes_that_may_overlap_are_problems_of_two_classes() -> None:
    """Penalty 0 for being outside, -z for being inside."""
    loss = losses.create("map_rbf", ClassSet(("a", "b"), exclusive=False))
    logits = torch.tensor([[0.7, -1.2]], dtype=torch.float64)
    pairs = torch.stack((torch.zeros(2, dtype=torch.float64), -logits[0]), dim=1)
    for truth in ([0, 0], [1, 0], [1, 1]):
        want = map_criterion(pairs, torch.tensor(truth))
        assert float(loss(logits, torch.tensor([truth]))) == pytest.approx(float(want))
