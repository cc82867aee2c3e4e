"""The loss `label_smoothing`, whose perfect answer is less than certain."""

from __future__ import annotations

import math

import pytest
import torch

from striate.core.class_set import ClassSet
from striate.core.targets import Targets
from striate.training import losses

EPSILON = 0.1
CLASSES = ClassSet(("a", "b", "c", "d"))
SEVERAL = ClassSet(("a", "b", "c"), exclusive=False)


def smooth(classes: torch.Tensor, count: int) -> torch.Tensor:
    """q' (B, K) by its definition."""
    q = torch.full((len(classes), count), EPSILON / count, dtype=torch.float64)
    q[range(len(classes)), classes] += 1 - EPSILON
    return q


def random_logits(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("count", [2, 5, 1000])
def test_the_uniform_prediction_has_log_k(count: int) -> None:
    targets = Targets.of_labels({i: str(i) for i in range(1, count)})
    loss = losses.create("label_smoothing", targets)
    found = loss(torch.full((3, count), 7.0, dtype=torch.float64), torch.tensor([0, count - 1, 1]))
    assert float(found) == pytest.approx(math.log(count))


def test_by_the_definition() -> None:
    logits, classes = random_logits(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    by_hand = -(smooth(classes, 4) * p.log()).sum(1).mean()
    found = losses.create("label_smoothing", CLASSES)(logits, classes.to(torch.uint8))
    assert float(found) == pytest.approx(float(by_hand), rel=1e-12)


def test_a_share_of_cross_entropy_and_a_share_of_distance_from_uniform() -> None:
    """H(q', p) = (1 − ε) H(q, p) + ε H(u, p)."""
    logits, classes = random_logits(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    plain = losses.create("cross_entropy", CLASSES)(logits, classes)
    uniform = -logits.log_softmax(1).mean()
    found = losses.create("label_smoothing", CLASSES)(logits, classes)
    assert float(found) == pytest.approx(float((1 - EPSILON) * plain + EPSILON * uniform), rel=1e-12)


def test_lowest_where_the_prediction_is_the_smoothed_truth() -> None:
    loss, classes = losses.create("label_smoothing", CLASSES), torch.tensor([2, 0, 1])
    q = smooth(classes, 4)
    best = q.log().requires_grad_()
    value = loss(best, classes)
    value.backward()
    assert float(value.detach()) == pytest.approx(float(-(q * q.log()).sum(1).mean()))
    assert torch.allclose(best.grad, torch.zeros_like(q), atol=1e-12)
    for step in (0.01, 0.1, 1.0):
        assert float(loss(q.log() + step * random_logits(3, 4), classes)) > float(value.detach())


def test_certainty_is_punished_without_end() -> None:
    loss, classes = losses.create("label_smoothing", CLASSES), torch.tensor([2])
    certain = [float(loss(s * torch.tensor([[0.0, 0, 1, 0]]), classes)) for s in (4, 8, 16, 32)]
    assert certain == sorted(certain)


def test_overlapping_classes_are_problems_of_two() -> None:
    truth = torch.tensor([[1, 0, 1], [0, 0, 1]], dtype=torch.uint8)
    loss = losses.create("label_smoothing", SEVERAL)
    assert float(loss(torch.zeros(2, 3), truth)) == pytest.approx(math.log(2))
    logits = random_logits(2, 3)
    q, p = torch.where(truth == 1, 0.95, 0.05), logits.sigmoid()
    by_hand = -(q * p.log() + (1 - q) * (1 - p).log()).mean()
    assert float(loss(logits, truth)) == pytest.approx(float(by_hand), rel=1e-6)


def test_per_voxel_too() -> None:
    loss = losses.create("label_smoothing", Targets.of_labels({1: "a", 2: "b"}))
    logits, classes = random_logits(2, 3, 4, 5), torch.zeros((2, 4, 5), dtype=torch.uint8)
    rows = logits.movedim(1, -1).reshape(-1, 3)
    assert float(loss(logits, classes)) == pytest.approx(float(loss(rows, classes.flatten())), rel=1e-12)
