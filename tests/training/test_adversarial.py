"""Adversarial training: what is attacked, by how much, in which state the network stays; the same bits after a kill."""

from __future__ import annotations

import pytest
import torch
from test_learn import Killed, kill, train, weights
from torch import nn

from striate import networks
from striate.core.errors import PlanError, UsageError
from striate.networks.network import Network
from striate.planning.plan import Plan
from striate.training import losses
from striate.training.adversarial import attacked, draw_attacked
from striate.workflows.harden import hardened, with_contrast

ATTACK = {"epsilon": 0.1, "contrast": (2.0,), "steps": 2, "share": 0.5, "begin": 0.5}


@pytest.fixture
def plan(tiny_plan) -> Plan:
    return tiny_plan(steps=6, patch=(8, 8, 8), learning_rate=0.01, adversarial=ATTACK)


def batch(count=4):
    torch.manual_seed(3)
    images = torch.randn(count, 1, 16, 16, 16)
    return images, (images[:, 0] > 1).to(torch.uint8)


def made(**options):
    torch.manual_seed(0)
    return networks.create("small_unet", spatial_dims=3, out_channels=2, features=(4, 8), **options).train()


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_half_of_the_patches_move_by_at_most_epsilon_and_raise_the_loss(plan, norm):
    network, (images, truth) = made(norm=norm), batch()
    loss, before = losses.create("cross_entropy", plan.targets), {k: v.clone() for k, v in network.state_dict().items()}
    kept = images.clone()
    torch.manual_seed(1)
    changed = attacked(network, loss, plan, images, truth)
    moved = (changed - images).abs().amax((1, 2, 3, 4))
    assert int((moved > 0).sum()) == 2 and float(moved.max()) <= 0.1 * 2.0 + 1e-6 and torch.equal(images, kept)
    assert network.training and all(p.grad is None for p in network.parameters())
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())  # running statistics too
    network.eval()
    for i in torch.nonzero(moved).flatten():
        with torch.no_grad():
            errors = [float(loss(network(x[i : i + 1]), truth[i : i + 1])) for x in (images, changed)]
        assert errors[1] > errors[0]


def test_until_it_begins_all_patches_are_clean(plan):
    network, (images, truth) = made(), batch()
    loss = losses.create("cross_entropy", plan.targets)
    assert attacked(network, loss, plan, images, truth, 0.49) is images
    assert not torch.equal(attacked(network, loss, plan, images, truth, 0.5), images)


def test_an_unpadded_network_is_attacked_where_it_answers(plan):
    class Valid(Network):
        def __init__(self):
            nn.Module.__init__(self)
            self.margin, self.seen = (4, 4, 4), nn.Conv3d(1, 2, 9)

        def forward(self, x):
            return self.seen(x)

    network, (images, _), told = Valid(), batch(), []
    truth = (torch.arange(16) < 6).to(torch.uint8).expand(4, 16, 16, 16)
    attacked(network, lambda logits, classes: told.append(classes) or logits.sum(), plan, images, truth)
    assert all(torch.equal(t, truth[:2, 4:12, 4:12, 4:12]) for t in told) and len(told) == 2


def test_background_of_stripped_scans_stays_0(plan):
    preparation = {**plan.preparation.model_dump(), "normalisation": ("zscore_nonzero",)}
    images, truth = batch(2)
    images[:, :, :4] = 0
    whole = plan.changed(preparation=preparation, training=plan.training.changed(adversarial={**ATTACK, "share": 1.0}))
    changed = attacked(made(), losses.create("cross_entropy", plan.targets), whole, images, truth)
    assert float(changed[:, :, :4].abs().max()) == 0 and bool((changed[:, :, 4:] != images[:, :, 4:]).all())


def test_the_share_holds_on_average():
    torch.manual_seed(0)
    counts = [len(draw_attacked(3, 0.5)) for _ in range(400)]
    assert set(counts) == {1, 2} and sum(counts) / 400 == pytest.approx(1.5, abs=0.1)
    assert len(draw_attacked(2, 0.5)) == 1 and draw_attacked(4, 1.0).tolist() == [0, 1, 2, 3]


def test_killed_and_resumed_learns_the_same_bits(plan, tiny_plan, tmp_path):
    straight = train(plan, tmp_path / "straight")
    for step in (2, 4):  # before the attacks begin, and after
        folder = tmp_path / f"killed {step}"
        with pytest.raises(Killed):
            train(plan, folder, at={step: kill})
        assert torch.equal(weights(train(plan, folder)), weights(straight)), step
    plain = train(tiny_plan(steps=6, patch=(8, 8, 8), learning_rate=0.01), tmp_path / "plain")
    assert not torch.equal(weights(plain), weights(straight))


def test_half_precision_learns_too(tiny_plan, tmp_path):
    plan = tiny_plan(steps=2, patch=(8, 8, 8), adversarial={**ATTACK, "steps": 1}, precision="bf16")
    assert train(plan, tmp_path / "run").steps == 2


def test_a_plan_without_contrast_is_refused_by_the_loop(tiny_plan, tmp_path):
    plan = tiny_plan(steps=2, patch=(8, 8, 8), adversarial={"epsilon": 0.1})
    with pytest.raises(PlanError, match=r"training\.adversarial\.contrast: None"):
        train(plan, tmp_path / "run")


def test_the_plan_says_what_it_does_and_what_it_costs(tiny_plan, tiny_cohort, tmp_path):
    from striate.data.cohort import Cohort

    plain = tiny_plan(steps=100)
    plain = plain.changed(expected={"step_s": 0.5, "steps": 100, "time_s": 60.0})
    plan = with_contrast(hardened(plain, 0.05), Cohort.open(tiny_cohort).cases)
    assert plan.expected.step_s == 0.75 and plan.expected.time_s == 90.0 and plan.expected.steps == 100
    timed = hardened(plain.changed(training={**plain.training.model_dump(), "steps": None, "budget_s": 60.0}), 0.05)
    assert timed.expected.steps == 75 and timed.expected.time_s == 60.0
    text = plan.to_yaml()
    line = next(row for row in text.splitlines() if row.strip().startswith("adversarial:"))
    assert "# asked for: from 50 % of the schedule on, 100 % of the patches are changed by an attack of 1 step" in line
    assert "1.5 times as long" in line
    assert "epsilon: 0.05" in text and 0.5 < plan.training.adversarial.contrast[0] < 10
    plan.write(tmp_path / "plan.yaml")
    assert Plan.read(tmp_path / "plan.yaml") == plan
    assert hardened(plain, None) == plain and with_contrast(plain, ()) == plain


def test_other_tasks_and_wrong_contrasts_are_refused(tiny_plan):
    plan = tiny_plan()
    with pytest.raises(ValueError, match=r"contrast has 2 entries for 1 channel\b"):
        tiny_plan(adversarial={"epsilon": 0.1, "contrast": (1.0, 2.0)})
    task = {"kind": "classification", "channels": ("flair",), "classes": ("a", "b")}
    with pytest.raises(UsageError, match="adversarial: task classification"):
        hardened(plan.changed(task=task), 0.1)
