"""From facts, task and budget to a plan for whole images; what cannot be is refused with what would do."""

from __future__ import annotations

import functools
import math
import re

import pytest
import torch
from pydantic import ValidationError

from striate import networks
from striate.core.class_set import ClassSet
from striate.core.errors import MemoryLimitError, TimeLimitError, UsageError
from striate.core.targets import Targets
from striate.planning.cost import network_cost, training_bytes
from striate.planning.fingerprint import CaseShape, Fingerprint, Intensity
from striate.planning.make import Budget, Wishes
from striate.planning.make_whole import BATCHES, LEAST_BATCH, SEQUENCE_LENGTH, make_whole_plan
from striate.planning.plan import Plan, Task
from striate.planning.rules.whole_images import (
    MOST_PIXELS,
    MOST_VOXELS,
    NARROW,
    cropping,
    shown,
    small_images,
)
from striate.planning.timer import StepTime

CLASSES = ("cat", "dog", "emu")


class FakeTimer:
    """A machine of known speed; bf16 is twice as fast."""

    def __init__(self, macs_per_s=60e9, *, fast=False):
        self.macs_per_s, self.fast = macs_per_s, fast

    def step(self, task, choice, training):
        macs = network_cost(task, choice, training.patch, training.length).macs
        seconds = 3 * training.batch * macs / self.macs_per_s
        measured = {"fp32": seconds, "bf16": seconds / 2}
        return StepTime(measured["bf16"], "bf16", measured)

    def peak_flops(self, precision):
        return 1e11


def facts_of(*shapes, spacing=1.0, channels=("image",), cropped=None) -> Fingerprint:
    """Return the facts of a cohort with one case of each shape."""
    dims = len(shapes[0])
    spacing_mm = spacing if isinstance(spacing, tuple) else (spacing,) * dims
    intensity = Intensity(mean=1, std=1, p005=-1, median=1, p995=3)
    return Fingerprint(
        cohort="things", channels=channels, label_names={}, spatial_dims=dims, objects={},
        cases=tuple(
            CaseShape(name=f"c{n}", subject=f"s{n}", shape=s, cropped=cropped or s, spacing_mm=spacing_mm)
            for n, s in enumerate(shapes)
        ),
        intensities=(intensity,) * len(channels), zero_background=dims == 3,
    )  # fmt: skip


def task_of(kind="classification", *, unit="case", classes=CLASSES, channels=("image",), **more) -> Task:
    return Task(kind=kind, channels=channels, unit=unit, classes=() if kind == "reconstruction" else classes, **more)


def plan_for(facts, task=None, time_s=None, *, steps=None, memory=64e9, timer=None, **wishes) -> Plan:
    steps = 100 if steps is None and time_s is None else steps
    return make_whole_plan(
        facts, task or task_of(), Budget(time_s, steps, int(memory)), timer or FakeTimer(), Wishes(**wishes)
    )


def seen(facts, task=None, name=None, fast=False):
    return shown(facts, task or task_of(), name, fast=fast)[1].value


PICTURES, HEADS = facts_of((28, 28)), facts_of((80, 96, 72), spacing=2.0)
SCANS = facts_of((192, 256, 24), spacing=(0.9, 0.9, 5.0))
EVERY = [
    (kind, name, facts, unit)
    for kind in ("classification", "sequence", "reconstruction")
    for name in networks.names(kind)
    for facts, unit, dims in ((PICTURES, "case", 2), (HEADS, "case", 3), (SCANS, "slice", 2))
    if dims in networks.load(name).dims and (kind == "sequence") <= (unit == "slice")
]


@pytest.mark.parametrize(("kind", "name", "facts", "unit"), EVERY, ids=lambda v: v if isinstance(v, str) else "")
def test_every_network_gets_a_size_that_it_takes(kind, name, facts, unit):
    """Built as planned, it takes what it will be shown, and nothing of the largest image is cut off."""
    task = task_of(kind, unit=unit)
    found = seen(facts, task, name)
    dims = found.choice.spatial_dims
    with torch.device("meta"):
        network = networks.create(
            name, spatial_dims=dims, out_channels=task.outputs.out_channels, **found.choice.options
        )
        lead = (2, 4) if kind == "sequence" else (2,)
        network.eval()(torch.empty((*lead, 1, *found.size)))
    extent = [n * s for n, s in zip(facts.cases[0].cropped, facts.cases[0].spacing_mm, strict=True)][:dims]
    assert all(n * mm >= e - 0.02 * mm for n, mm, e in zip(found.size, found.spacing_mm, extent, strict=False))
    assert len(found.spacing_mm) == facts.spatial_dims


def test_small_pictures_are_shown_as_they_are():
    found = seen(PICTURES, name="lenet5_modern")
    assert found.size == (28, 28) and found.spacing_mm == (1, 1)
    assert seen(facts_of((20, 30), (25, 18)), name="lenet5_modern").spacing_mm == (1, 1)


TINY = facts_of((8, 8), (6, 8))


@functools.cache
def tiny_taken():
    """Return network → whether nothing is told of images of 8 × 8 voxels, and whether it is planned to take them as they are."""
    plans = {name: plan_for(TINY, network=name) for name in networks.names("classification")}
    return {n: (small_images(TINY, p, fast=False) is None, p.training.patch == (8, 8)) for n, p in plans.items()}


@pytest.mark.parametrize("name", ["alexnet", "lenet5", "googlenet"])
def test_images_too_small_for_a_network_are_told_with_those_that_take_them(name):
    made = plan_for(TINY, network=name)
    told = small_images(TINY, made, fast=False)
    least = "×".join(map(str, made.training.patch))
    assert told is not None
    assert told.startswith(
        f"network {name}: images of 8×8 voxels; at least {least} are needed. They are set into {least}"
    )
    takers = told.split("For classification these take 8×8: ")[1].rstrip(".").split(", ")
    assert tiny_taken() == {taker: (taker in takers,) * 2 for taker in networks.names("classification")}


def test_nothing_is_told_of_images_that_are_large_enough():
    for facts, name in ((facts_of((96, 40)), "mlp"), (HEADS, "inception_3d")):
        assert small_images(facts, plan_for(facts, network=name), fast=False) is None


def test_digits_are_told_to_be_too_small_for_alexnet():
    told = small_images(PICTURES, plan_for(PICTURES, network="alexnet"), fast=False) or ""
    assert told.startswith("network alexnet: images of 28×28 voxels; at least ")


def test_large_images_are_made_smaller_and_keep_their_form():
    found = seen(facts_of((600, 300)), name="mlp")
    assert max(found.size) == MOST_PIXELS[0] == 96 and found.size == (96, 48)
    assert found.spacing_mm == (6.25, 6.25)
    fast = seen(facts_of((600, 300)), name="mlp", fast=True)
    assert max(fast.size) == MOST_PIXELS[1] == 256
    heads = seen(facts_of((192, 240, 160)), name="lenet5_modern")
    assert max(heads.size) == MOST_VOXELS[0] == 48 and len(set(heads.spacing_mm)) == 1


def test_the_largest_and_the_finest_count():
    found = seen(facts_of((40, 20), (20, 36)), name="mlp")
    assert found.size == (40, 36)


def test_a_network_that_cannot_be_so_small_keeps_its_own_size():
    assert seen(PICTURES, name="lenet5").size == (32, 32) and seen(PICTURES, name="lenet5").spacing_mm == (1, 1)
    large = seen(facts_of((200, 100)), name="lenet5")  # built for what it is shown
    assert large.size == (96, 48) and large.choice.options["input_size"] == [96, 48]


def test_where_its_own_has_other_axes_it_gets_the_least():
    assert seen(HEADS, name="alexnet").size == (40, 48, 39)


def test_slices_keep_their_distance():
    found = seen(SCANS, task_of(unit="slice"))
    assert found.choice.spatial_dims == 2 and found.spacing_mm[2] == 5.0 and found.spacing_mm[0] == found.spacing_mm[1]
    assert 0.9 * 256 / MOST_PIXELS[0] >= found.spacing_mm[0] > 2
    plan = plan_for(SCANS, task_of(unit="slice"))
    assert plan.training.patch == plan.inference.patch == (*found.size, 1)


def test_networks_for_large_images_are_narrowed_and_take_small_ones():
    both = {"width", "small_input"}
    with_both = [n for n in networks.names("classification") if both <= set(networks.load(n).config_type.model_fields)]
    assert with_both
    for name in with_both:
        options = seen(PICTURES, name=name).choice.options
        assert options["width"] == NARROW and options["small_input"] is True
        assert "small_input" not in seen(facts_of((200, 200)), name=name, fast=True).choice.options
        assert "width" not in seen(PICTURES, name=name, fast=True).choice.options


@pytest.mark.parametrize(
    ("task", "name", "message"),
    [
        (task_of(), "unet", r"network unet: it does segmentation of 2D or 3D images; classification of 2D images"),
        (task_of(), "autoencoder", r"network autoencoder: it does reconstruction .*These do: .*lenet5"),
        (task_of("reconstruction"), "lenet5_modern", r"it does classification .*These do: .*autoencoder"),
    ],
)
def test_a_network_of_another_task_is_refused_with_those_that_do(task, name, message):
    with pytest.raises(UsageError, match=message):
        shown(PICTURES, task, name, fast=False)


def test_a_flat_network_is_refused_for_scans():
    with pytest.raises(UsageError, match=r"network lenet5: it does classification of 2D images; classification of 3D"):
        shown(HEADS, task_of(), "lenet5", fast=False)


def test_frames_are_kept_and_air_is_cut():
    assert not cropping(PICTURES) and cropping(HEADS)
    padded = facts_of((80, 96, 72), spacing=2.0, cropped=(40, 48, 36))
    assert seen(padded, name="lenet5_modern").spacing_mm[0] < seen(HEADS, name="lenet5_modern").spacing_mm[0]
    assert plan_for(HEADS).preparation.crop and not plan_for(PICTURES).preparation.crop


@pytest.mark.parametrize(
    ("facts", "classes", "axes", "why"),
    [
        (PICTURES, CLASSES, (), "orientation"),
        (HEADS, CLASSES, (0,), "left-right"),
        (HEADS, ("left tumour", "no tumour"), (), r"name a side \(left tumour\)"),
        (HEADS, ("healthy", "Right_MTLE"), (), r"name a side \(Right_MTLE\)"),
        (HEADS, ("tumourLeft", "none"), (), r"name a side \(tumourLeft\)"),
        (HEADS, ("bright", "cleft"), (0,), "left-right"),
    ],
)
def test_mirroring_does_not_exchange_classes(facts, classes, axes, why):
    plan = plan_for(facts, task_of(classes=classes))
    assert plan.training.augmentation.mirror_axes == axes
    assert re.search(why, plan.reasons["training.augmentation.mirror_axes"])


def test_a_region_that_names_a_side():
    task = task_of(unit="slice", regions={"left_core": (1,)}, contains="left_core", classes=("no", "yes"))
    assert plan_for(SCANS, task).training.augmentation.mirror_axes == ()


def test_reconstructions_learn_the_image_as_it_is():
    plan = plan_for(PICTURES, task_of("reconstruction"))
    a = plan.training.augmentation
    assert plan.training.loss == "squared" and {a.affine, a.noise, a.brightness, a.contrast, a.gamma} == {0}
    assert plan_for(PICTURES).training.loss == "cross_entropy" and plan_for(PICTURES).training.augmentation.affine > 0
    other = plan.training.changed(loss="dice")
    with pytest.raises(ValidationError, match=r"loss 'dice' compares classes, reconstruction needs 'squared'"):
        plan.changed(training=other.model_dump())


def test_pictures_are_scaled_to_one_and_scans_as_for_masks():
    assert plan_for(PICTURES).preparation.normalisation == ("rescale",)
    assert plan_for(HEADS).preparation.normalisation != ("rescale",)


@pytest.mark.parametrize("name", networks.names("reconstruction"))
def test_what_reconstructs_scans_can_answer_below_zero(name):
    """A sigmoid cannot: it would draw all that lies below the mean as the mean."""
    for facts, channels, unit, wanted in (
        (SCANS, ("image",), "slice", "linear"),
        (PICTURES, ("image",), "case", "sigmoid"),
        (facts_of((40, 40, 9), channels=("red", "green")), ("red", "green"), "slice", "sigmoid"),
    ):
        plan = plan_for(facts, task_of("reconstruction", unit=unit, channels=channels), network=name)
        found = plan.network
        made = networks.create(name, spatial_dims=2, in_channels=len(channels), **found.options)
        assert made.config.output == wanted
        assert ("linear, because" in plan.reasons["network.name"]) == (wanted == "linear")


def test_the_batch_fits_into_the_memory():
    full = plan_for(facts_of((96, 96)))
    assert full.training.batch == BATCHES[0]
    cost = network_cost(full.task, full.network, full.training.patch)
    for batch in BATCHES[1:]:
        limit = training_bytes(cost, batch, "fp32")
        assert plan_for(facts_of((96, 96)), memory=limit).training.batch == batch
        assert plan_for(facts_of((96, 96)), memory=limit + 1).training.batch == batch
    with pytest.raises(MemoryLimitError, match=r"may be used; training needs at least .*Give more with --memory"):
        plan_for(facts_of((96, 96)), memory=training_bytes(cost, BATCHES[-1], "fp32") - 1)


def test_a_batch_of_sequences_counts_its_images():
    plan = plan_for(SCANS, task_of("sequence", unit="slice"))
    assert plan.training.length == SEQUENCE_LENGTH and plan.training.batch * SEQUENCE_LENGTH <= BATCHES[0]


def test_less_time_means_smaller_batches_and_never_more_than_the_time():
    slow = FakeTimer(1e9)
    batches = [plan_for(facts_of((96, 96)), time_s=s, timer=slow).training.batch for s in (20, 60, 600, 6000, 60000)]
    assert batches == sorted(batches) and batches[0] == LEAST_BATCH and batches[-1] == BATCHES[0]
    plan = plan_for(facts_of((96, 96)), time_s=600)
    assert plan.training.budget_s == 600 and plan.training.steps is None
    assert plan.expected.steps * plan.expected.step_s <= 600


def test_small_memory_and_short_time_together():
    """Time never makes the batch larger than the memory allows."""
    facts = facts_of((96, 96))
    cost = network_cost(task_of(), seen(facts).choice, (96, 96))
    limit = training_bytes(cost, 4, "fp32")
    assert plan_for(facts, time_s=20, timer=FakeTimer(1e8), memory=limit).training.batch == 4


def test_too_little_time_is_refused():
    with pytest.raises(TimeLimitError, match="at least"):
        plan_for(PICTURES, time_s=1)


@pytest.mark.parametrize(("facts", "task"), [
    (PICTURES, task_of()), (PICTURES, task_of(multi_label=True)), (HEADS, task_of("reconstruction", unit="slice")),
    (SCANS, task_of("sequence", unit="slice", regions={"a": (1, 2)}, contains="a", classes=("no a", "a"))),
])  # fmt: skip
def test_a_plan_survives_its_file(facts, task, tmp_path):
    plan = plan_for(facts, task, seed=5)
    plan.write(tmp_path / "plan.yaml")
    assert Plan.read(tmp_path / "plan.yaml") == plan
    text = (tmp_path / "plan.yaml").read_text()
    assert f"name: {plan.network.name}  # " in text and plan.reasons["training.batch"] in text
    assert plan.training.seed == 5 and plan.expected.parameters > 0 and math.isfinite(plan.expected.peak_memory_bytes)


@pytest.mark.parametrize(("facts", "task"), [(PICTURES, task_of()), (SCANS, task_of("sequence", unit="slice"))])
def test_every_decision_has_a_reason(facts, task):
    reasons = plan_for(facts, task).reasons
    for key in ("network.name", "preparation.spacing_mm", "preparation.normalisation", "preparation.crop", "training.patch",
                "training.batch", "training.precision", "training.augmentation.mirror_axes"):  # fmt: skip
        assert reasons[key].strip()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"classes": ("a", "b")}, "segmentation has labels or regions, no classes"),
        ({"unit": "slice"}, "no unit 'slice'"),
        ({"kind": "classification"}, "at least two are needed"),
        ({"kind": "classification", "classes": ("a",)}, r"classes \['a'\]: at least two are needed to tell apart"),
        ({"kind": "sequence", "classes": ()}, "at least two are needed"),
        (
            {"kind": "classification", "classes": ("a", "b"), "contains": "x"},
            r"contains 'x' is none of the regions \[\]",
        ),
        ({"kind": "classifying"}, "classifying|Input should be"),
    ],
)
def test_tasks_that_cannot_be(given, message):
    with pytest.raises((ValidationError, ValueError), match=message):
        Task(channels=("mr",), **given)


def test_what_outputs_mean():
    assert Task(channels=("mr",), label_names={1: "a"}).outputs == Targets.of_labels({1: "a"})
    assert task_of().outputs == ClassSet(CLASSES) and task_of(multi_label=True).outputs == ClassSet(
        CLASSES, exclusive=False
    )
    assert task_of(classes=("a",), multi_label=True).outputs.out_channels == 1
    two = task_of("reconstruction", channels=("t1", "t2")).outputs
    assert two.out_channels == 2 and not two.exclusive


def test_a_batch_whose_step_runs_out_of_memory_is_made_smaller():
    class Crowded(FakeTimer):
        most = 5

        def step(self, task, choice, training):
            if training.batch > self.most:
                raise MemoryLimitError("training: memory ran out in a step")
            return super().step(task, choice, training)

    timer, facts = Crowded(fast=True), facts_of((64, 64))
    assert plan_for(facts, timer=FakeTimer(fast=True)).training.batch > 4 == plan_for(facts, timer=timer).training.batch
    timer.most = 0
    with pytest.raises(MemoryLimitError, match="memory ran out in a step"):
        plan_for(facts, timer=timer)
