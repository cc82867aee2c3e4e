"""Back to the grid of the files: by hand, against torch's interpolation, and for all 48 orientations."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import torch

from striate.core.errors import UsageError
from striate.core.image import Image, to_ras
from striate.core.targets import Targets
from striate.data.prepare import Preparation, prepare_images
from striate.inference.engines import open_engine
from striate.inference.predict import predict_classes, predict_prepared
from striate.inference.restore import Line, Restorer, decide_regions, values_of

LABELS = Targets.of_labels({1: "core", 2: "oedema", 5: "cyst"})
REGIONS = Targets({"tumour": (1, 2, 3, 4), "core": (1, 3, 4)}, exclusive=False)
ORIENTATIONS = [(o, s) for o in itertools.permutations(range(3)) for s in itertools.product((1, -1), repeat=3)]


def _prepared(shape, spacing_mm, wanted_mm, affine=None, crop=False):
    array = np.random.default_rng(0).normal(100, 10, (1, *shape)).astype(np.float32)
    affine = np.diag([*spacing_mm, *[1.0] * (3 - len(spacing_mm)), 1.0]) if affine is None else affine
    plan = Preparation(spacing_mm=wanted_mm, normalisation=("none",), intensities=(None,), crop=crop)
    return prepare_images([Image(array, affine)], plan, "p")


@pytest.mark.parametrize(("before", "after"), [(5, 10), (7, 18), (4, 4), (1, 3)])
def test_enlarging_equals_torch(before, after):
    values = torch.randn(3, before)
    expected = torch.nn.functional.interpolate(values[None], size=after, mode="linear", align_corners=False)[0]
    np.testing.assert_allclose(Line.of(before, after).apply(values.numpy(), 1), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("cuts", [(1,) * 9, (2, 3, 4), (9,), (4, 1, 4)])
def test_rows_in_any_portions_give_the_same(axis, cuts):
    prepared = _prepared((14, 14, 14), (1, 1, 1), (1.5, 1.5, 1.5))
    assert prepared.grid.shape == (9, 9, 9)
    shares = torch.randn(4, 9, 9, 9).softmax(0)
    whole = torch.nn.functional.interpolate(shares[None], size=(14, 14, 14), mode="trilinear")[0]
    restorer, at = Restorer(prepared, LABELS, axis), 0
    for cut in cuts:
        restorer.push(at, shares.movedim(1 + axis, 1)[:, at : at + cut].numpy())
        at += cut
    found = restorer.finish().array
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.array([0, 1, 2, 5])[whole.argmax(0).numpy()])


def test_images_finer_than_the_files_are_averaged():
    prepared = _prepared((4, 4, 4), (2, 2, 2), (1, 1, 1))
    assert prepared.grid.shape == (8, 8, 8)
    shares = np.zeros((4, 8, 8, 8), np.float32)
    shares[1] = 1
    restorer = Restorer(prepared, LABELS, 0)
    for row in range(8):
        restorer.push(row, shares[:, row : row + 1])
    assert (restorer.finish().array == 1).all()


def test_portions_by_memory_change_nothing(monkeypatch):
    prepared = _prepared((12, 10, 8), (1, 1, 1), (2, 1, 1))
    shares = torch.randn(4, *prepared.grid.shape).softmax(0).numpy()
    found = []
    for size in (1, 64_000_000):
        monkeypatch.setattr("striate.inference.restore.ROWS_BYTES", size)
        restorer = Restorer(prepared, LABELS, 0)
        restorer.push(0, shares)
        found.append(restorer.finish().array)
    assert np.array_equal(*found)


def test_outside_of_the_crop_is_background():
    array = np.zeros((1, 10, 10, 10), dtype=np.float32)
    array[0, 3:6, 2:8, 4:9] = 7
    plan = Preparation(spacing_mm=(1, 1, 1), normalisation=("none",), intensities=(None,))
    prepared = prepare_images([Image(array, np.eye(4))], plan, "p")
    restorer = Restorer(prepared, LABELS, 0)
    shares = np.zeros((4, *prepared.grid.shape), np.float32)
    shares[3] = 1
    restorer.push(0, shares)
    assert np.array_equal(restorer.finish().array, np.where(array[0] > 0, 5, 0))


def test_ties_go_to_background():
    prepared = _prepared((2, 2, 2), (1, 1, 1), (1, 1, 1))
    restorer = Restorer(prepared, LABELS, 0)
    restorer.push(0, np.full((4, 2, 2, 2), 0.25, np.float32))
    assert not restorer.finish().array.any()


def test_regions_by_hand():
    # tumour, core: background needs both low, label 1 both high, label 2 tumour alone; core alone is impossible
    tumour = np.array([0.1, 0.9, 0.9, 0.4, 0.45], np.float32)
    core = np.array([0.1, 0.8, 0.2, 0.9, 0.6], np.float32)
    classes = decide_regions([tumour, core], REGIONS)
    products = np.stack([(1 - tumour) * (1 - core), tumour * core, tumour * (1 - core)])
    assert np.array_equal(classes, products.argmax(0))
    assert values_of(REGIONS)[classes].tolist() == [0, 1, 2, 1, 1]


def test_regions_with_values_of_their_own_are_painted_one_over_the_other():
    painted = Targets(REGIONS.sets, exclusive=False, region_values=(2, 4))
    tumour = np.array([0.1, 0.9, 0.9, 0.4, 0.5], np.float32)
    core = np.array([0.1, 0.8, 0.2, 0.9, 0.5], np.float32)
    classes = decide_regions([tumour, core], painted)
    assert values_of(painted)[classes].tolist() == [0, 4, 2, 4, 0]
    assert painted.memberships()[0].tolist() == [[False, False], [True, False], [True, True]]
    assert pickle.loads(pickle.dumps(painted)) == painted
    with pytest.raises(UsageError, match="one value for each region"):
        Targets(REGIONS.sets, exclusive=False, region_values=(2,))


def test_label_values_above_255_are_kept():
    assert values_of(Targets.of_labels({1: "a", 1000: "b"})).dtype == np.uint16


def _reoriented(image, order, signs):
    """Return the same scan stored with other axes: array axes permuted, then some reversed."""
    array = np.transpose(image.array, (0, *(1 + a for a in order)))
    affine = np.array(image.affine)
    affine[:, :3] = affine[:, :3][:, list(order)]
    for axis, sign in enumerate(signs):
        if sign < 0:
            array = np.flip(array, 1 + axis)
            affine[:3, 3] += affine[:3, axis] * (array.shape[1 + axis] - 1)
            affine[:3, axis] *= -1
    return Image(np.ascontiguousarray(array), affine)


def _oblique():
    angle = np.deg2rad(13)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.0, 1.1, 2.0])
    affine[:3, 3] = (-31.7, 12.9, 101.3)
    return affine


@pytest.mark.parametrize("oblique", [False, True])
def test_a_reoriented_scan_gets_the_reoriented_mask_bit_for_bit(plan_of, network_of, oblique):
    plan = plan_of(channels=("flair",), spacing_mm=(1.0, 1.3, 1.5))
    engine = open_engine(network_of(plan), exclusive=True)
    array = np.zeros((1, 26, 22, 13), dtype=np.float32)
    array[:, 3:-2, 2:-3, 1:-1] = np.random.default_rng(1).normal(100, 30, (1, 21, 17, 11))
    image = Image(array, _oblique() if oblique else np.diag([1.0, 1.1, 2.0, 1.0]))
    reference, _ = predict_prepared(plan, engine, prepare_images([image], plan.preparation, "p"))
    assert len(reference.values()) >= 2
    for order, signs in ORIENTATIONS:
        turned = _reoriented(image, order, signs)
        assert to_ras(turned.grid)[1].matches(to_ras(image.grid)[1], 1e-6)
        found, _ = predict_prepared(plan, engine, prepare_images([turned], plan.preparation, "p"))
        expected = _reoriented(Image(reference.array[None], image.affine), order, signs)
        assert np.array_equal(found.array, expected.array[0]), (order, signs)
        assert np.array_equal(found.affine, turned.affine)


def test_the_working_grid_agrees_with_the_restored_mask(plan_of, network_of):
    for regions in (None, {"all": (1, 2, 5), "core": (1,)}):
        plan = plan_of(channels=("flair",), regions=regions)
        prepared = _prepared((30, 20, 18), (1, 1, 1), (1, 1, 1))
        network = network_of(plan)
        label, facts = predict_prepared(plan, open_engine(network, exclusive=plan.targets.exclusive), prepared)
        classes = predict_classes(plan, network, prepared.array)
        assert np.array_equal(values_of(plan.targets)[classes], label.array)
        assert facts["windows"] == 3 * 2 * 2
