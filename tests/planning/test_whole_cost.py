"""What plans for sequences and for fixed features expect, counted by hand."""

from __future__ import annotations

import pytest

from striate import networks
from striate.planning.cost import network_cost, training_bytes
from striate.planning.fingerprint import CaseShape, Fingerprint, Intensity
from striate.planning.make import Budget, Wishes
from striate.planning.make_whole import make_whole_plan
from striate.planning.plan import Task
from striate.planning.timer import StepTime


class FixedTimer:
    """Every step takes the same time."""

    fast = False

    def __init__(self, step_s):
        self.step_s = step_s

    def step(self, task, choice, training):
        return StepTime(self.step_s, "fp32", {"fp32": self.step_s})

    def peak_flops(self, precision):
        return 1e11


def plan_for(name, shape, *, kind="classification", unit="case", memory=64e9, time_s=None, step_s=10.0):
    facts = Fingerprint(
        cohort="things", channels=("image",), label_names={}, spatial_dims=len(shape), objects={},
        cases=tuple(
            CaseShape(name=f"c{n}", subject=f"s{n}", shape=shape, cropped=shape, spacing_mm=(1.0,) * len(shape))
            for n in range(5)
        ),
        intensities=(Intensity(mean=1, std=1, p005=-1, median=1, p995=3),), zero_background=False,
    )  # fmt: skip
    task = Task(kind=kind, channels=("image",), unit=unit, classes=("a", "b", "c"))
    budget = Budget(time_s, 100 if time_s is None else None, int(memory))
    return make_whole_plan(facts, task, budget, FixedTimer(step_s), Wishes(name))


def test_a_sequence_is_counted_with_the_images_that_are_shown():
    plan = plan_for("conv_lstm", (32, 32, 20), kind="sequence", unit="slice")
    length, batch = plan.training.length, plan.training.batch
    options = {k: v for k, v in plan.network.options.items() if k != "input_size"}
    eight = networks.cost("conv_lstm", (32, 32), out_channels=3, **options)
    each = eight.macs / networks.SEQUENCE_LENGTH  # test_conv_lstm counts one image by hand
    assert length == 16 and plan.expected.macs_per_patch == length * each
    assert plan.expected.training_flops_by_operations == 2 * 3 * length * each * batch * 100
    whole = network_cost(plan.task, plan.network, plan.training.patch, length)
    assert whole.activations == pytest.approx(2 * eight.activations, rel=0.01)
    assert plan.expected.peak_memory_bytes == training_bytes(whole, batch, plan.training.precision)
    less = training_bytes(whole, batch, "fp32") - 1  # half of it would be enough for eight images
    assert plan_for("conv_lstm", (32, 32, 20), kind="sequence", unit="slice", memory=less).training.batch == batch // 2


@pytest.mark.parametrize("name", ["hmax", "scattering"])
def test_fixed_features_are_counted_once_and_the_batch_is_left(name):
    plan = plan_for(name, (32, 32), time_s=60)
    assert plan.training.batch == 64 and plan_for("mlp", (32, 32), time_s=60).training.batch == 8
    options = {k: v for k, v in plan.network.options.items() if k != "input_size"}
    counted = networks.cost(name, plan.training.patch, out_channels=3, **options)
    readout = sum(layer.macs for layer in counted.layers if layer.name == "readout")
    assert 0 < readout < counted.macs / 10
    once, learned = 2 * counted.macs * 5, 2 * 3 * readout * 64 * plan.expected.steps
    assert plan.expected.training_flops_by_operations == once + learned


def test_the_time_of_a_quick_step_is_not_rounded_away():
    assert plan_for("mlp", (32, 32), step_s=2.34567e-5).expected.step_s == 2.346e-5
