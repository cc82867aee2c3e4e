"""From facts, budget and a machine of known speed to a plan."""

from __future__ import annotations

import math

import pytest

from striate import networks
from striate.core.errors import MemoryLimitError, TimeLimitError, UsageError
from striate.planning.cost import network_cost, training_bytes
from striate.planning.fingerprint import CaseShape, Fingerprint, Intensity, ObjectFacts
from striate.planning.make import Budget, Wishes, make_plan, steady_precision
from striate.planning.plan import Plan, Task
from striate.planning.timer import StepTime

SECONDS = {"20s": 20, "1m": 60, "2m": 120, "5m": 300, "10m": 600, "30m": 1800, "2h": 7200, "10h": 36000, "10d": 864000}


class FakeTimer:
    """A machine of known speed; counts what it was asked."""

    def __init__(self, macs_per_s=60e9, *, fast=False, bf16=2.0):
        self.macs_per_s, self.fast, self.bf16, self.asked = macs_per_s, fast, bf16, 0

    def step(self, task, choice, training):
        self.asked += 1
        seconds = 3 * training.batch * network_cost(task, choice, training.patch).macs / self.macs_per_s
        measured = {"fp32": seconds, "bf16": seconds / self.bf16}
        best = min(measured, key=measured.get)
        return StepTime(measured[best], best, measured)

    def peak_flops(self, precision):
        return 1e11 * (self.bf16 if precision == "bf16" else 1)


def brains(*, ceiling=(0.93, 0.85), shape=(138, 170, 140), spacing=(1.0, 1.0, 1.0), cases=3, channels=("flair", "t1c")):
    """Return the facts of a few brains with a tumour."""
    objects = {"tumour": ObjectFacts(
        cases=cases, volume_ml=90.0, extent_mm=(60.0,) * len(shape), diameter_mm=50.0, left_share=(0.4,) * cases,
        ceiling=dict(zip((2, 3), ceiling, strict=True)),
    )}  # fmt: skip
    shapes = tuple(
        CaseShape(name=f"c{i}", subject=f"p{i // 2}", shape=shape, cropped=shape, spacing_mm=spacing)
        for i in range(cases)
    )
    intensity = Intensity(mean=1, std=1, p005=-1, median=1, p995=3)
    return Fingerprint(
        cohort="brains", channels=channels, label_names={1: "tumour"}, spatial_dims=len(shape), cases=shapes,
        intensities=(intensity,) * len(channels), zero_background=True, objects=objects,
    )  # fmt: skip


def plan_for(facts, time_s=None, *, steps=None, memory=64e9, timer=None, **wishes) -> Plan:
    """Plan for `facts` within a budget."""
    task = Task(channels=facts.channels, label_names=facts.label_names)
    return make_plan(facts, task, Budget(time_s, steps, int(memory)), timer or FakeTimer(), Wishes(**wishes))


@pytest.mark.parametrize("speed", [5e9, 60e9, 2e12], ids=["slow laptop", "two cores", "GPU"])
def test_more_time_never_gives_a_coarser_network(speed):
    plans = [plan_for(brains(), s, timer=FakeTimer(speed)) for s in SECONDS.values()]
    spacings = [math.prod(p.preparation.spacing_mm) for p in plans]
    names = [p.network.name for p in plans]
    assert spacings == sorted(spacings, reverse=True)
    assert names == sorted(names)  # small_unet first, then unet
    passes = [p.expected.steps * p.training.batch * math.prod(p.training.patch) for p in plans]
    assert all(p.expected.time_s == s for p, s in zip(plans, SECONDS.values(), strict=True))
    assert all(a > 0 for a in passes)


def test_two_cores_end_where_they_should():
    chosen = {k: plan_for(brains(), s) for k, s in SECONDS.items()}
    assert chosen["20s"].network.name == "small_unet" and min(chosen["20s"].preparation.spacing_mm) > 1
    assert chosen["10d"].network.name == "unet" and chosen["10d"].preparation.spacing_mm == (1, 1, 1)


@pytest.mark.parametrize("time_s", SECONDS.values(), ids=SECONDS)
def test_every_plan_can_be_trained(time_s, tmp_path):
    facts = brains()
    plan = plan_for(facts, time_s)
    network_cost(plan.task, plan.network, plan.training.patch)  # refuses what does not fit
    assert plan.training.patch == plan.inference.patch
    assert plan.training.budget_s == time_s and plan.training.steps is None
    plan.write(tmp_path / "plan.yaml")
    assert Plan.read(tmp_path / "plan.yaml") == plan


def test_every_decision_has_its_reason():
    plan = plan_for(brains(), 600)
    for key in ("network.name", "preparation.spacing_mm", "preparation.normalisation", "training.patch",
                "training.batch", "training.precision", "training.learning_rate",
                "training.augmentation.mirror_axes"):  # fmt: skip
        assert plan.reasons[key], key
        value = plan.model_dump()
        for part in key.split("."):
            value = value[part]  # the key exists


def test_small_things_are_not_made_coarse():
    plan = plan_for(brains(ceiling=(0.6, 0.3)), 60)
    assert plan.preparation.spacing_mm == (1, 1, 1)


def test_memory_too_small_is_told_before_anything_is_timed():
    timer = FakeTimer()
    with pytest.raises(MemoryLimitError, match=r"100 MB may be used; training needs at least .* MB.*--memory"):
        plan_for(brains(), 600, memory=100e6, timer=timer)
    assert timer.asked == 0


def test_less_memory_takes_a_network_that_fits():
    timer = FakeTimer(1e15, fast=True)
    large, small = plan_for(brains(), 600, timer=timer), plan_for(brains(), 600, memory=2e9, timer=timer)
    assert large.network.name == "unet" and small.network.name == "small_unet"
    assert small.expected.peak_memory_bytes <= 2e9


def test_a_wish_that_does_not_fit_is_told():
    with pytest.raises(MemoryLimitError, match=r"2\.0 GB may be used; training needs at least \d+\.\d GB"):
        plan_for(brains(), 600, memory=2e9, network="unet")


@pytest.mark.parametrize("seconds", [0.5, 5, 19.9, -3])
def test_too_short_is_told_before_anything_is_timed(seconds):
    timer = FakeTimer()
    with pytest.raises(TimeLimitError, match=r"at least 20 s are needed"):
        plan_for(brains(), seconds, timer=timer)
    assert timer.asked == 0


@pytest.mark.parametrize("name", networks.names("segmentation"))
def test_a_network_by_wish(name):
    for plan in (plan_for(brains(), 600, network=name), plan_for(brains(), steps=100, network=name)):
        assert plan.network.name == name


def test_an_unknown_network_names_the_nearest():
    with pytest.raises(UsageError, match=r"unknown network 'smal_unet'\. Did you mean 'small_unet'\?"):
        plan_for(brains(), 600, network="smal_unet")


def test_slices_of_scans():
    plan = plan_for(brains(spacing=(1.0, 1.0, 4.0), shape=(200, 200, 30)), 600, spatial_dims=2)
    assert plan.network.spatial_dims == 2 and plan.training.patch[2] == 1 and min(plan.training.patch[:2]) > 1
    assert plan.training.augmentation.mirror_axes == plan.inference.mirror_axes == (0, 1)


def test_pictures():
    plan = plan_for(brains(shape=(512, 400), spacing=(0.5, 0.5)), 600)
    assert plan.network.spatial_dims == 2 and len(plan.training.patch) == 2


def test_three_axes_for_pictures_are_refused():
    with pytest.raises(UsageError, match=r"dims 3: the images of brains are 2D"):
        plan_for(brains(shape=(512, 400), spacing=(0.5, 0.5)), 600, spatial_dims=3)


@pytest.mark.parametrize("shape", [(8, 8, 8), (1, 64, 64), (5, 300, 300), (9, 7, 100)])
@pytest.mark.parametrize("name", [None, "unet", "small_unet"])
def test_strange_shapes_still_give_a_plan(shape, name):
    plan = plan_for(brains(shape=shape, spacing=(4.0, 1.0, 1.0)), 600, network=name)
    network_cost(plan.task, plan.network, plan.training.patch)


def test_by_steps_the_same_plan_whatever_the_noise():
    """Equal steps and seed must give equal weights, so nothing may hang on a measured time."""
    plans = [plan_for(brains(), steps=50, timer=FakeTimer(speed, bf16=2.0)) for speed in (50e9, 70e9)]
    assert plans[0].changed(expected={}) == plans[1].changed(expected={})
    assert plans[0].training.steps == 50 and plans[0].training.budget_s is None


@pytest.mark.parametrize(("gain", "precision"), [(0.6, "fp32"), (1.3, "fp32"), (1.8, "bf16"), (6.0, "bf16")])
def test_by_steps_the_precision_is_that_of_the_machine(gain, precision):
    assert plan_for(brains(), steps=50, timer=FakeTimer(bf16=gain)).training.precision == precision


@pytest.mark.parametrize(("fast", "device"), [(False, "processor"), (True, "GPU")])
def test_without_bf16_the_reason_names_the_device_that_trains(fast, device):
    found, reason = steady_precision(StepTime(1.0, "fp32", {"fp32": 1.0}), FakeTimer(fast=fast))
    assert (found.precision, reason) == ("fp32", f"the {device} has no instructions for bf16")


def test_a_gpu_takes_the_large_network_when_steps_decide():
    assert plan_for(brains(), steps=100, timer=FakeTimer(fast=True)).network.name == "unet"
    assert plan_for(brains(), steps=100).network.name == "small_unet"


def test_what_it_expects_is_computed_by_both_methods():
    plan = plan_for(brains(cases=4), steps=100, timer=FakeTimer(60e9))
    told, cost = plan.expected, network_cost(plan.task, plan.network, plan.training.patch)
    assert told.parameters == cost.parameters and told.macs_per_patch == cost.macs and told.steps == 100
    assert told.training_flops_by_operations == pytest.approx(2 * cost.macs * 3 * plan.training.batch * 100)
    assert told.training_flops_by_time == pytest.approx(100 * told.step_s * 2e11 * 0.4, rel=1e-2)
    assert told.peak_memory_bytes == training_bytes(cost, plan.training.batch, plan.training.precision)
    voxels = 4 * math.prod((138, 170, 140))
    assert told.samples_per_parameter == pytest.approx(voxels / cost.parameters, rel=1e-3)
    assert told.object_mm == (60, 60, 60)


def test_sides_switch_mirroring_off_in_training_and_prediction():
    facts = brains()
    facts = facts.changed(objects={"left tumour": facts.objects["tumour"].model_dump()})
    plan = plan_for(facts, steps=10)
    assert plan.training.augmentation.mirror_axes == plan.inference.mirror_axes == (1, 2)
    assert "left tumour" in plan.reasons["training.augmentation.mirror_axes"]


def test_the_seed_is_kept():
    assert plan_for(brains(), steps=10, seed=7).training.seed == 7


class Crowded(FakeTimer):
    """A GPU on which steps that need more than `room_bytes` run out of memory, whatever is expected of them."""

    def __init__(self, room_bytes, **speed):
        super().__init__(fast=True, **speed)
        self.room_bytes = room_bytes

    def step(self, task, choice, training):
        needed = training_bytes(network_cost(task, choice, training.patch), training.batch, "fp32")
        if needed > self.room_bytes:
            raise MemoryLimitError("training: memory ran out in a step")
        return super().step(task, choice, training)


@pytest.mark.parametrize("budget", [{"steps": 100}, {"time_s": 36000}], ids=str)
def test_a_network_whose_step_runs_out_of_memory_gives_way_to_a_smaller_one(budget):
    wanted = plan_for(brains(), timer=FakeTimer(2e12, fast=True), **budget)
    room = wanted.expected.peak_memory_bytes // 2
    found = plan_for(brains(), timer=Crowded(room, macs_per_s=2e12), **budget)
    assert wanted.network.name == "unet" and found.expected.peak_memory_bytes <= room
    assert "a step of unet at 1 × 1 × 1 mm ran out of memory" in found.reasons["network.name"]
    with pytest.raises(MemoryLimitError, match="memory ran out in a step"):
        plan_for(brains(), timer=Crowded(1e6, macs_per_s=2e12), **budget)


def test_a_network_that_was_asked_for_and_runs_out_of_memory_is_said_so():
    with pytest.raises(MemoryLimitError, match="memory ran out in a step"):
        plan_for(brains(), steps=100, timer=Crowded(1e6), network="unet_3d_2016")
