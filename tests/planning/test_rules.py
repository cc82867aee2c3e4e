"""Spacing, intensities and mirroring: one decision per rule, each with its reason."""

from __future__ import annotations

import pytest

from striate.planning.fingerprint import CaseShape, Fingerprint, Intensity, ObjectFacts
from striate.planning.rules.mirror import mirror_axes
from striate.planning.rules.normalisation import normalisation
from striate.planning.rules.spacing import target_spacing


def facts(
    spacings=((1.0, 1.0, 1.0),), shape=(100, 100, 100), *, channels=("flair",), objects=None, zero=True, cropped=None
):
    """Return a fingerprint made by hand."""
    cases = tuple(
        CaseShape(name=f"c{i}", subject=f"p{i}", shape=shape, cropped=cropped or shape, spacing_mm=s)
        for i, s in enumerate(spacings)
    )
    intensity = Intensity(mean=40.0, std=12.0, p005=-20.0, median=41.0, p995=90.0)
    return Fingerprint(
        cohort="made", channels=channels, label_names={1: "lesion"}, spatial_dims=len(shape), cases=cases,
        intensities=(intensity,) * len(channels), zero_background=zero, objects=objects or {"lesion": thing()},
    )  # fmt: skip


def thing(volume_ml=10.0, left_share=(0.5,) * 6, cases=6):
    """Return an object's facts made by hand."""
    return ObjectFacts(
        cases=cases, volume_ml=volume_ml, extent_mm=(20.0, 20.0, 20.0), diameter_mm=18.0, left_share=left_share,
        ceiling={2: 0.95, 3: 0.9},
    )  # fmt: skip


def test_spacing_is_the_median():
    found = target_spacing(facts([(1, 1, 1), (1, 1, 2), (0.5, 1, 2)]))
    assert found.value == (1, 1, 2)
    assert found.reason == "median of 3 cases"


def test_thick_slices_take_the_tenth_percentile():
    thick = [(0.5, 0.5, z) for z in (2.0, 5.0, 5.0, 6.0, 6.0)]
    found = target_spacing(facts(thick, (400, 400, 30)))
    assert found.value == pytest.approx((0.5, 0.5, 2 + 0.4 * 3))  # between the first and second of five
    assert "thick slices along axis 2" in found.reason


def test_the_tenth_percentile_does_not_fall_below_the_other_axes():
    found = target_spacing(facts([(0.5, 0.6, 0.1), *[(0.5, 0.6, 5.0)] * 5], (400, 400, 30)))
    assert found.value[2] > 0.6


def test_thick_slices_with_many_voxels_stay_as_they_are():
    assert target_spacing(facts([(0.5, 0.5, 5.0)] * 5, (400, 400, 300))).value == (0.5, 0.5, 5.0)


def test_two_axes():
    assert target_spacing(facts([(0.5, 0.7)] * 3, (64, 64))).value == (0.5, 0.7)


@pytest.mark.parametrize(
    ("channel", "zero", "scheme"),
    [
        ("ct", False, "ct"), ("CT", True, "ct"), ("cbct", False, "ct"), ("flair", True, "zscore_nonzero"),
        ("flair", False, "zscore"), ("ct1", False, "zscore"), ("image_red", True, "rescale"), ("green", True, "rescale"),
        ("infrared", False, "zscore"),
    ],
)  # fmt: skip
def test_intensities_by_channel_name(channel, zero, scheme):
    (schemes, stats) = normalisation(facts(channels=(channel,), zero=zero)).value
    assert schemes == (scheme,)
    assert (stats[0] is not None) == (scheme == "ct")
    if scheme == "ct":
        assert (stats[0].mean, stats[0].std, stats[0].p005, stats[0].p995) == (40.0, 12.0, -20.0, 90.0)


def test_each_channel_has_its_reason():
    reason = normalisation(facts(channels=("ct", "pet"))).reason
    assert "ct: Hounsfield units are absolute, clipped to -20 … 90" in reason and "pet: arbitrary units" in reason


@pytest.mark.parametrize(
    "name",
    ["left", "Right kidney", "hippocampus_L", "hippocampus_R", "lh", "ctx-rh-insula", "kidney.right", "LeftKidney",
     "lungLeft", "left_1", "left1", "Niere links", "rein gauche", "L", "seg L 2"],
)  # fmt: skip
def test_names_with_a_side_switch_mirroring_off(name):
    found = mirror_axes(facts(objects={name: thing(), "tumour": thing()}))
    assert found.value == (1, 2)
    assert name in found.reason and "left-right" in found.reason


@pytest.mark.parametrize(
    "name",
    ["frontal", "oral", "l1", "L5", "label_1", "bright spot", "cerebellum", "upright", "R2star", "sinus", "leftover"],
)
def test_names_without_a_side_do_not(name):
    assert mirror_axes(facts(objects={name: thing()})).value == (0, 1, 2)


def test_places_with_a_side_switch_mirroring_off():
    one, other = thing(left_share=(0.99,) * 6), thing(8.0, left_share=(0.01,) * 6)
    found = mirror_axes(facts(objects={"a": one, "b": other}))
    assert found.value == (1, 2)
    assert "a lies left and b right in all cases" in found.reason


@pytest.mark.parametrize(
    "other",
    [thing(left_share=(0.5,) * 6), thing(100.0, left_share=(0.01,) * 6), thing(left_share=(0.01,) * 4, cases=4)],
    ids=["in the middle", "of another size", "in too few cases"],
)
def test_places_that_prove_nothing(other):
    found = mirror_axes(facts(objects={"liver": thing(left_share=(0.99,) * 6), "spleen": other}))
    assert found.value == (0, 1, 2)


def test_two_dimensional_images_have_two_axes():
    assert mirror_axes(facts([(1.0, 1.0)], (64, 64), objects={"cell": thing()})).value == (0, 1)
