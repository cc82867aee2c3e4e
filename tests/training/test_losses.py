"""What every loss promises, and the lecture's by hand."""

from __future__ import annotations

import math

import pytest
import torch

from striate.core.class_set import ClassSet
from striate.core.errors import UsageError
from striate.core.targets import Targets
from striate.training import losses
from striate.training.losses.half_squared import half_squared_error
from striate.training.losses.truth import probabilities, truth_maker

TARGETS = {
    "labels": Targets.of_labels({1: "core", 2: "oedema"}),
    "one label": Targets.of_labels({1: "lesion"}),
    "regions": Targets({"tumour": (1, 2), "core": (1,)}, exclusive=False),
    "one region": Targets({"tumour": (1, 2)}, exclusive=False),
}
SURE = 40.0
OF_CLASSES = [n for n in losses.names() if n != "squared"]
"""Losses that compare logits with classes; `squared` compares images."""
CERTAIN = pytest.mark.parametrize("name", [n for n in OF_CLASSES if n != "label_smoothing"])
"""Losses whose perfect answer is a certain one; the other's is tested in test_label_smoothing.py."""


@pytest.fixture(params=OF_CLASSES)
def name(request):
    return request.param


@pytest.fixture(params=TARGETS)
def targets(request):
    return TARGETS[request.param]


def truth(targets, shape=(2, 4, 4, 4), seed=0):
    """Return random classes."""
    top = targets.out_channels if targets.exclusive else len(targets.memberships()[0])
    return torch.randint(0, top, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def sure(classes, targets, strength=SURE):
    """Return logits that say `classes` with certainty."""
    return (2 * truth_maker(targets)(classes) - 1) * strength


def test_a_plain_number_with_a_gradient(name, targets):
    logits = torch.randn(
        (2, targets.out_channels, 4, 4, 4), generator=torch.Generator().manual_seed(1)
    ).requires_grad_()
    value = losses.create(name, targets)(logits, truth(targets))
    assert value.shape == () and value.dtype == torch.float32 and 0 < float(value.detach()) < 10
    value.backward()
    assert logits.grad.isfinite().all() and logits.grad.abs().sum() > 0


@pytest.mark.parametrize("seen", ["nothing", "everything"])
@pytest.mark.parametrize("said", ["nothing", "everything", "anything"])
def test_finite_where_a_mask_or_a_prediction_is_empty(name, targets, seen, said):
    classes = torch.zeros((2, 4, 4, 4), dtype=torch.uint8) + (seen == "everything")
    logits = {
        "nothing": sure(torch.zeros_like(classes), targets),
        "everything": sure(torch.ones_like(classes), targets),
        "anything": torch.zeros((2, targets.out_channels, 4, 4, 4)),
    }[said].requires_grad_()
    value = losses.create(name, targets)(logits, classes)
    value.backward()
    assert math.isfinite(float(value.detach())) and logits.grad.isfinite().all()


@CERTAIN
def test_lowest_at_the_perfect_answer(name, targets):
    loss, classes = losses.create(name, targets), truth(targets)
    best = float(loss(sure(classes, targets), classes))
    assert best == pytest.approx(0, abs=1e-4)
    draw = torch.Generator().manual_seed(2)
    for weight in (0.3, 1.0, 3.0):
        other = sure(classes, targets, 2.0) + weight * torch.randn((2, targets.out_channels, 4, 4, 4), generator=draw)
        assert float(loss(other, classes)) > best
    wrong = float(loss(-sure(classes, targets), classes))
    halfway = float(loss(torch.zeros((2, targets.out_channels, 4, 4, 4)), classes))
    assert wrong > halfway > best


@CERTAIN
def test_better_on_the_way_to_the_answer(name, targets):
    loss, classes = losses.create(name, targets), truth(targets)
    values = [float(loss(sure(classes, targets, s), classes)) for s in (0, 0.5, 1, 2, 4, 8)]
    assert values == sorted(values, reverse=True)


def test_gradients_are_right(name, targets):
    loss, classes = losses.create(name, targets), truth(targets, (1, 2, 2, 2))
    logits = torch.randn(
        (1, targets.out_channels, 2, 2, 2), generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    assert torch.autograd.gradcheck(lambda x: loss(x, classes), logits.requires_grad_(), fast_mode=False)


def test_two_axes_too(name, targets):
    classes = truth(targets, (2, 4, 4))
    value = losses.create(name, targets)(torch.zeros((2, targets.out_channels, 4, 4)), classes)
    assert math.isfinite(float(value))


def test_the_same_for_the_same(name, targets):
    classes, logits = truth(targets), torch.randn((2, targets.out_channels, 4, 4, 4))
    assert float(losses.create(name, targets)(logits, classes)) == float(losses.create(name, targets)(logits, classes))


def test_the_lecture_by_hand():
    """o = (.2, .4, .1, .3), t = (0, 0, 1, 0): ½(.04 + .16 + .81 + .09) = .55, and the gradient is o − t."""
    outputs = torch.tensor([0.2, 0.4, 0.1, 0.3], dtype=torch.float64).reshape(1, 4, 1).requires_grad_()
    wanted = torch.tensor([0.0, 0, 1, 0], dtype=torch.float64).reshape(1, 4, 1)
    error = half_squared_error(outputs, wanted)
    error.backward()
    assert float(error.detach()) == pytest.approx(0.55)
    assert outputs.grad.flatten().tolist() == pytest.approx([0.2, 0.4, -0.9, 0.3])


def test_the_lecture_through_the_softmax():
    logits = torch.tensor([0.2, 0.4, 0.1, 0.3]).log().reshape(1, 4, 1, 1, 1)
    loss = losses.create("half_squared", Targets.of_labels({1: "a", 2: "b", 3: "c"}))
    assert float(loss(logits, torch.full((1, 1, 1, 1), 2, dtype=torch.uint8))) == pytest.approx(0.55)


def test_dice_by_hand():
    """Two of three predicted voxels are right, four are true: 1 − 2·2 / (3 + 4)."""
    classes = torch.tensor([[1, 1, 1, 1, 0, 0, 0, 0]], dtype=torch.uint8).reshape(1, 2, 2, 2)
    said = torch.tensor([[1, 1, 0, 0, 1, 0, 0, 0]], dtype=torch.uint8).reshape(1, 2, 2, 2)
    for kind in ("one label", "one region"):
        loss = losses.create("dice", TARGETS[kind])
        assert float(loss(sure(said, TARGETS[kind]), classes)) == pytest.approx(1 - 4 / 7, abs=1e-4)


def test_dice_ce_is_the_sum():
    targets = TARGETS["labels"]
    logits, classes = torch.randn((2, 3, 4, 4, 4)), truth(targets)
    parts = [float(losses.create(n, targets)(logits, classes)) for n in ("dice", "cross_entropy", "dice_ce")]
    assert parts[2] == pytest.approx(parts[0] + parts[1])


def test_cross_entropy_and_focal_of_a_coin():
    for kind in ("one label", "one region"):
        logits, classes = (
            torch.zeros((1, TARGETS[kind].out_channels, 2, 2, 2)),
            torch.ones((1, 2, 2, 2), dtype=torch.uint8),
        )
        assert float(losses.create("cross_entropy", TARGETS[kind])(logits, classes)) == pytest.approx(math.log(2))
        assert float(losses.create("focal", TARGETS[kind])(logits, classes)) == pytest.approx(math.log(2) / 4)


def test_squared_by_hand():
    """Differences 1, −2, 0, 0 of four voxels: 5/4; the gradient is 2 · (found − image) / 4."""
    found = torch.tensor([1.0, 0, 3, 4], dtype=torch.float64).reshape(1, 1, 2, 2).requires_grad_()
    image = torch.tensor([0.0, 2, 3, 4], dtype=torch.float64).reshape(1, 1, 2, 2)
    loss = losses.create("squared", ClassSet(("t1",), exclusive=False))
    error = loss(found, image)
    error.backward()
    assert float(error.detach()) == 1.25 and found.grad.flatten().tolist() == [0.5, -1, 0, 0]
    assert torch.autograd.gradcheck(lambda x: loss(x, image), found)


def test_truth_of_regions_overlaps():
    targets = TARGETS["regions"]
    labels = torch.tensor([0, 1, 2]).numpy()
    made = truth_maker(targets)(torch.from_numpy(targets.classes(labels)).reshape(1, 3))
    assert made[0].tolist() == [[0, 1, 1], [0, 1, 0]]  # tumour holds 1 and 2, core holds 1
    assert probabilities(torch.zeros(1, 2, 3), targets).unique().tolist() == [0.5]


def test_an_unknown_name_gives_the_nearest():
    with pytest.raises(UsageError, match=r"unknown loss 'dice_cee'\. Did you mean 'dice_ce'\?"):
        losses.create("dice_cee", TARGETS["labels"])
