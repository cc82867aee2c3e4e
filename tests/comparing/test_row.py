"""What a row of a comparison counts."""

from __future__ import annotations

from striate import networks
from striate.comparing.fits import planned
from striate.comparing.row import size_of
from striate.planning.cost import samples_of
from striate.planning.fingerprint import CaseShape, Fingerprint, Intensity
from striate.planning.plan import Task


def facts_of(shape, cropped, count=3):
    """Return the facts of `count` scans, or pictures, of one shape."""
    return Fingerprint(
        cohort="things", channels=("image",), label_names={}, spatial_dims=len(shape), objects={},
        cases=tuple(
            CaseShape(name=f"c{n}", subject=f"s{n}", shape=shape, cropped=cropped, spacing_mm=(1.0,) * len(shape))
            for n in range(count)
        ),
        intensities=(Intensity(mean=1, std=1, p005=-1, median=1, p995=3),), zero_background=len(shape) == 3,
    )  # fmt: skip


def plan_of(facts, name, **task):
    return planned(facts, Task(channels=("image",), **task), [name], 64_000_000_000, fast=False)[name]


def test_slices_that_were_cut_away_are_not_counted():
    facts = facts_of((40, 40, 24), (32, 32, 20))
    plan = plan_of(facts, "mlp", kind="classification", unit="slice", classes=("a", "b"))
    assert plan.preparation.crop and samples_of(plan, facts) == 3 * 20
    whole = plan.changed(preparation=plan.preparation.changed(crop=False).model_dump())
    assert samples_of(whole, facts) == 3 * 24
    assert samples_of(plan_of(facts, "mlp", kind="classification", classes=("a", "b")), facts) == 3


def test_parameters_are_those_that_the_macs_belong_to():
    facts = facts_of((64, 64, 24), (64, 64, 24))
    plan = plan_of(facts, "googlenet", kind="classification", unit="slice", classes=("a", "b"))
    found, options = size_of(plan), plan.network.options
    alone = networks.cost("googlenet", (64, 64), out_channels=2, **{**options, "auxiliary": False})
    assert (found["parameters_run"], found["macs"]) == (alone.parameters, alone.macs)
    assert found["parameters"] == networks.cost("googlenet", (64, 64), out_channels=2, **options).parameters
    assert found["parameters_run"] < found["parameters"]
    small = size_of(plan_of(facts, "mlp", kind="classification", unit="slice", classes=("a", "b")))
    assert small["parameters"] == small["parameters_run"]
