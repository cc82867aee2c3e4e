"""Attacks against what can be computed by hand: signs, bounds, order of strength, no gradient where none is seen."""

import attacked
import numpy as np
import pytest
import torch

from striate.core.errors import DataError, UsageError
from striate.data.prepare import prepare_images
from striate.planning.plan import Plan
from striate.trust.attack_curve import AttackCurve, attack_curve, mean_dice
from striate.trust.attacks import ATTACKS, FULL, Effort, open_attack
from striate.trust.attacks.square import share_at
from striate.trust.attacks.victim import Victim

SOME = Effort(steps=6, restarts=1, queries=12)


@pytest.fixture(scope="module")
def plan(tiny_plan) -> Plan:
    return attacked.flat_plan(tiny_plan)


@pytest.fixture(scope="module")
def network(plan):
    return attacked.trained(plan)


@pytest.fixture(scope="module")
def victim(plan, network):
    return attacked.victim(plan, network)


class Linear(torch.nn.Module):
    """Logits (0, a · x + b) of each voxel."""

    def __init__(self, slope):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(slope))

    def forward(self, x):
        return torch.cat([torch.zeros_like(x), self.slope * x - 1], dim=1)


@pytest.mark.parametrize("slope", [2.0, -2.0])
def test_fgsm_on_a_linear_network_moves_each_voxel_by_hand(tiny_plan, slope):
    """Cross-entropy falls with a·x in a lesion and rises with it elsewhere, so the sign of each move is known."""
    plan = attacked.flat_plan(tiny_plan)
    training = {**plan.training.model_dump(), "loss": "cross_entropy"}
    victim = attacked.victim(plan.changed(training=training), Linear(slope))
    changed = open_attack("fgsm")(victim, 0.1, SOME, np.random.default_rng(0))
    wanted = torch.where(victim.classes > 0, -1.0, 1.0) * np.sign(slope) * 0.1 * victim.contrast
    moved, where = (changed - victim.image)[0], victim.where
    inside = where & (victim.image[0] < victim.image.max() - 1) & (victim.image[0] > victim.image.min() + 1)
    assert torch.allclose(moved[inside], wanted[inside], atol=1e-5) and int(inside.sum()) > 500
    loss, gradient = victim.gradient(victim.image)
    shares = torch.sigmoid(slope * victim.image[0] - 1)
    by_hand = slope * (shares - (victim.classes > 0).float()) / victim.classes.numel()
    assert torch.allclose(gradient[0], by_hand * where, atol=1e-7)
    assert loss == pytest.approx(victim.loss(victim.image), abs=1e-6)


def test_the_gradient_through_windows_is_that_of_the_blended_loss(plan, network):
    """Kept in memory or computed twice, against finite differences."""
    import striate.trust.attacks.victim as module

    victim = attacked.victim(plan, network)
    _, gradient = victim.gradient(victim.image)
    kept, module.KEPT_VOXELS = module.KEPT_VOXELS, 0
    try:
        _, again = victim.gradient(victim.image)
    finally:
        module.KEPT_VOXELS = kept
    assert torch.allclose(gradient, again, atol=1e-7)
    direction = gradient / gradient.norm()
    up, down = (victim.loss(victim.image + s * 0.02 * direction) for s in (1, -1))
    assert (up - down) / 0.04 == pytest.approx(float(gradient.norm()), rel=0.05)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("epsilon", [0.03, 0.5])
def test_no_voxel_moves_further_than_allowed_and_none_outside(victim, name, epsilon):
    changed = open_attack(name)(victim, epsilon, SOME, np.random.default_rng(0))
    moved = (changed - victim.image).abs()
    assert float(moved.max()) <= epsilon * float(victim.contrast[0]) * 1.0001
    assert float(moved.max()) > 0.5 * epsilon * float(victim.contrast[0])
    assert float(moved[:, ~victim.where].max()) == 0 and 0.4 < float(victim.where.float().mean()) < 0.7
    assert float(changed.min()) >= float(victim.image.min()) and float(changed.max()) <= float(victim.image.max())
    again = open_attack(name)(victim, epsilon, SOME, np.random.default_rng(0))
    assert torch.equal(changed, again)


@pytest.mark.parametrize("epsilon", [0.05, 0.1, 0.2])
def test_many_steps_are_stronger_than_one_and_than_random_search(victim, epsilon):
    rng, effort = np.random.default_rng(0), Effort(20, 1, 100)
    clean = victim.loss(victim.image)
    fgsm, pgd, square = (victim.loss(open_attack(n)(victim, epsilon, effort, rng)) for n in ("fgsm", "pgd", "square"))
    assert pgd >= fgsm > clean and pgd > square > clean


class NoGradient(torch.autograd.Function):
    """Passes its input on, and refuses to go back."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, slope):
        raise AssertionError("a black-box attack asked for a gradient")


def test_the_square_attack_asks_for_no_gradient(plan, network):
    def hidden(x):
        return NoGradient.apply(network(x))

    network_without = torch.nn.Module()
    network_without.forward = hidden
    victim = attacked.victim(plan, network_without)
    changed = open_attack("square")(victim, 0.2, Effort(queries=20), np.random.default_rng(0))
    assert victim.loss(changed) > victim.loss(victim.image)
    with pytest.raises(AssertionError, match="black-box"):
        victim.gradient(victim.image)


def test_square_boxes_shrink_as_in_the_paper():
    assert [share_at(q, 10_000) for q in (1, 11, 51, 201, 9000)] == [0.3, 0.15, 0.075, 0.0375, 0.3 / 2**9]


def test_only_the_windows_that_a_box_touches_are_computed_anew(victim):
    image = victim.image.clone()
    box = (slice(2, 5), slice(3, 6))
    image[(slice(None), *box)] += 1
    before = victim.shares(victim.image, victim.active)
    after = victim.shares(image, victim.active)
    changed = [p for p, (a, b) in enumerate(zip(before, after, strict=True)) if not torch.equal(a, b)]
    assert set(changed) <= set(victim.touched(box)) < set(range(len(victim.active)))


def test_windows_left_out_keep_what_the_network_says(plan, network):
    """With no window elsewhere attacked, the loss of the unchanged image stays the same."""
    whole, part = attacked.victim(plan, network), attacked.victim(plan, network, elsewhere=0.0)
    assert set(part.active) == set(part.held) < set(whole.active)
    assert part.loss(part.image) == pytest.approx(whole.loss(whole.image), rel=1e-5)
    reached = part.reached()
    assert bool((part.gradient(part.image)[1][0][reached] != 0).float().mean() > 0.9)
    assert torch.equal(whole.reached(), whole.where) and int(reached.sum()) < int(whole.where.sum())
    moved = open_attack("fgsm")(part, 0.1, SOME, np.random.default_rng(0)) != part.image
    assert bool(moved.any()) and int(moved.sum()) < int(whole.where.sum())


def test_slices_of_a_volume_are_attacked_by_a_flat_network(tiny_plan):
    flat = {"patch": (24, 24, 1), "overlap": 0.5}
    training = tiny_plan().training.changed(patch=(24, 24, 1)).model_dump()
    network = tiny_plan().network.changed(spatial_dims=2).model_dump()
    plan = tiny_plan().changed(network=network, inference=flat, training=training)
    torch.manual_seed(0)
    network = torch.nn.Conv2d(1, 2, 3, padding=1)
    victim = attacked.victim(plan, network)
    loss, gradient = victim.gradient(victim.image)
    assert gradient.shape == victim.image.shape and float(gradient.abs().max()) > 0
    assert victim.loss(open_attack("fgsm")(victim, 0.1, SOME, np.random.default_rng(0))) > loss


def test_a_case_without_a_mask_cannot_be_attacked(plan, network):
    ready = attacked.prepared(plan)
    from dataclasses import replace

    with pytest.raises(DataError, match="case h0: no true mask"):
        Victim(plan, attacked.fp32(plan, network), replace(ready, classes=None))


class Quantised(torch.nn.Module):
    """Rounds its input: the masks are nearly the same, the gradient is zero everywhere."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(torch.round(x * 8) / 8)


@pytest.fixture(scope="module")
def curves(plan, network, tmp_path_factory):
    cases = attacked.cases(tmp_path_factory.mktemp("heads"), 2)
    options = {"epsilons": (0.8, 0.2), "effort": Effort(8, 1, 40)}
    return {
        name: attack_curve(attacked.model(plan, net), cases, **options)
        for name, net in (("plain", network), ("quantised", Quantised(network)))
    }


def test_the_curve_falls_and_says_on_how_many_subjects_it_rests(curves):
    found = curves["plain"]
    assert found.n_subjects == 2 and found.clean.n == 2 and found.clean.mean > 0.8
    for name in ("fgsm", "pgd"):
        points = found.curves[name]
        assert [p.epsilon for p in points] == [0.2, 0.8]
        assert points[1].dice.mean < points[0].dice.mean < found.clean.mean
    assert found.halves_at["pgd"] is not None and found.halves_at["pgd"] <= (found.halves_at["fgsm"] or 1)
    again = AttackCurve.from_dict(found.to_dict())
    assert again == found and again.to_dict() == found.to_dict()


def test_honest_gradients_pass_and_hidden_ones_are_found(curves):
    honest, hidden = curves["plain"].masking, curves["quantised"].masking
    assert not honest.masked and "No sign" in honest.sentences[0], honest.sentences
    failed = {check.name for check in hidden.checks if not check.passed}
    assert hidden.masked and {"gradient", "white_box_beats_black_box"} <= failed, hidden.sentences
    assert any("100 % of the object" in sentence for sentence in hidden.sentences)


def test_a_short_time_attacks_fewer_cases_less_hard(plan, network, tmp_path):
    cases = attacked.cases(tmp_path, 3)
    found = attack_curve(attacked.model(plan, network), cases, epsilons=(0.1,), attacks=("fgsm",), budget_s=0.01)
    assert found.n_subjects == 1 and found.effort.steps < 40
    assert any("allowed 1 of 3 cases" in note for note in found.notes)
    assert not any("PGD" in note for note in found.notes)  # it was not asked for


def test_less_of_pgd_than_asked_for_is_said_first(plan, network, tmp_path):
    model, cases, asked = (
        attacked.model(plan, network),
        attacked.cases(tmp_path, 1),
        {"epsilons": (0.1,), "attacks": ("pgd",)},
    )
    short = attack_curve(model, cases, **asked, budget_s=0.01)
    assert short.notes[0].startswith("PGD made 10 steps and 1 restart where 40 steps and 2 restarts are needed")
    assert attack_curve(model, cases, **asked, effort=Effort(2, 1, 1)).notes == ()


def test_fewer_steps_or_restarts_fall_short_and_queries_do_not():
    assert not Effort(40, 2, 1).short_of(FULL) and not FULL.short_of(FULL)
    assert "40 steps and 1 restart where" in Effort(40, 1).short_of(FULL)
    assert "39 steps and 3 restarts where" in Effort(39, 3).short_of(FULL)


def test_what_cannot_be_attacked_is_refused(plan, network, tmp_path):
    model, cases = attacked.model(plan, network), attacked.cases(tmp_path, 1)
    with pytest.raises(UsageError, match=r"unknown attack 'pgp'.*'pgd'"):
        attack_curve(model, cases, attacks=("pgp",))
    with pytest.raises(UsageError, match=r"epsilon above 0"):
        attack_curve(model, cases, epsilons=(0.0,))
    from dataclasses import replace

    with pytest.raises(DataError, match="1 case: none has a true mask"):
        attack_curve(model, [replace(cases[0], label=None)])


def test_dice_is_that_of_the_labels_that_are_there(plan):
    true, found = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    true[:2], found[:1] = 1, 1
    assert mean_dice(plan.targets, found, true) == pytest.approx(2 * 4 / 12)


def test_contrast_is_that_of_the_object(plan):
    scan, _ = attacked.head()
    from striate.core.image import Image
    from striate.data.tissue_contrast import find_object, tissue_contrast

    ready = prepare_images([Image(scan[None], np.diag([2.0, 2.0, 1.0, 1.0]))], plan.preparation, "h")
    where = find_object(ready.array[0], (2.0, 2.0))
    assert tissue_contrast(ready.array[0], where) * scan.std() == pytest.approx(
        np.subtract(*np.percentile(scan[where], (95, 5))), rel=0.01
    )
    assert find_object(ready.array[0][:3, :3], (2.0, 2.0)).all()
    assert tissue_contrast(np.ones((4, 4), np.float32), np.ones((4, 4), bool)) == 1e-6
