"""Preparation: order of operations, and the way back."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydantic import ValidationError

from striate.core.case import Case
from striate.core.errors import GeometryError, ModelError
from striate.core.image import Image, LabelMap, to_ras
from striate.core.targets import Targets
from striate.data.prepare import Intensities, Preparation, normalise, prepare, prepare_images

TARGETS = Targets.of_labels({1: "oedema", 4: "enhancing"})


def _preparation(*schemes: str, spacing_mm=(1.0, 1.0, 1.0), crop=True, intensities=None) -> Preparation:
    return Preparation(
        spacing_mm=spacing_mm, normalisation=schemes, intensities=intensities or (None,) * len(schemes), crop=crop
    )


def _affine(order=(0, 1, 2), signs=(1, 1, 1), spacing=(1.0, 1.0, 1.0)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, axis] = sign * spacing[axis]
    affine[:3, 3] = (10, -20, 30)
    return affine


def _head(shape=(12, 14, 10), background=0.0, seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = np.full((1, *shape), background, dtype=np.float32)
    image[:, 2:-3, 3:-2, 1:-4] = rng.normal(100, 20, (1, shape[0] - 5, shape[1] - 5, shape[2] - 5))
    return image


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (-1, -1, 1)])
def test_the_way_back_is_exact_for_any_orientation(order, signs):
    image = Image(_head(), _affine(order, signs))
    label = LabelMap((image.array[0] > 100).astype(np.uint8) * 4, image.affine)
    prepared = prepare_images([image], _preparation("none"), "p", label, TARGETS)
    assert prepared.grid.axes == "RAS"
    assert prepared.grid.shape == prepared.cropped.shape == prepared.array.shape[1:]
    back = np.zeros((1, *prepared.turned_shape), dtype=np.float32)
    back[(slice(None), *prepared.crop)] = prepared.array
    assert np.array_equal(prepared.reorientation.invert(back), image.array)
    classes = np.zeros(prepared.turned_shape, dtype=np.uint8)
    classes[prepared.crop] = prepared.classes
    assert np.array_equal(prepared.reorientation.invert(classes) * 2, label.array)


def test_voxels_keep_their_place_in_mm():
    """The affine of the prepared grid says where a voxel was in the file."""
    affine = _affine((1, 0, 2), (-1, 1, -1), (1.0, 2.0, 1.5))
    world = (
        np.stack(np.meshgrid(*map(np.arange, (20, 24, 26)), indexing="ij"), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    )
    for target in ((2.0, 1.0, 1.5), (4.0, 2.0, 3.0), (1.0, 0.5, 0.75)):
        images = [Image(np.moveaxis(world, -1, 0).astype(np.float32), affine)]
        prepared = prepare_images(images, _preparation(*("none",) * 3, spacing_mm=target, crop=False), "p")
        np.testing.assert_allclose(prepared.grid.spacing_mm, target, rtol=1e-6)
        index = np.stack(np.meshgrid(*map(np.arange, prepared.grid.shape), indexing="ij"), axis=-1)
        there = index @ prepared.grid.affine[:3, :3].T + prepared.grid.affine[:3, 3]
        middle = tuple(slice(n // 3, -(n // 3)) for n in prepared.grid.shape)
        np.testing.assert_allclose(np.moveaxis(prepared.array, 0, -1)[middle], there[middle], atol=0.06)


def test_statistics_of_each_scheme():
    image = _head()
    inside = image[image != 0]
    done = normalise(image[0], "zscore_nonzero")
    assert done[image[0] != 0].mean() == pytest.approx(0, abs=1e-5)
    assert done[image[0] != 0].std() == pytest.approx(1, abs=1e-5)
    assert (done[image[0] == 0] == 0).all()
    done = normalise(image[0], "zscore")
    assert (done.mean(), done.std()) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-5))
    done = normalise(image[0], "rescale")
    assert (done.min(), done.max()) == (0, 1)
    facts = Intensities(mean=90.0, std=10.0, p005=80.0, p995=110.0)
    done = normalise(image[0], "ct", facts)
    np.testing.assert_allclose(done, (np.clip(image[0], 80, 110) - 90) / 10, atol=1e-5)
    assert np.array_equal(normalise(image[0], "none"), image[0])
    assert inside.mean() > 50  # the input was not changed


@pytest.mark.parametrize("scheme", ["zscore", "zscore_nonzero", "rescale"])
def test_constant_and_empty_images_become_zero(scheme):
    for value in (0.0, 7.0, 1e6 + 0.1):
        prepared = prepare_images([Image(np.full((1, 4, 5, 6), value), np.eye(4))], _preparation(scheme), "p")
        assert np.isfinite(prepared.array).all()
        assert np.abs(prepared.array).max() <= 1e-3
        assert prepared.grid.shape == (4, 5, 6)


def test_another_background_than_zero_is_cut_and_left_out_of_the_statistics():
    plain = prepare_images([Image(_head(), np.eye(4))], _preparation("zscore_nonzero"), "p")
    moved = prepare_images(
        [Image(np.where(_head() == 0, -3.5, _head()), np.eye(4))], _preparation("zscore_nonzero"), "p"
    )
    assert plain.crop == moved.crop == (slice(2, 9), slice(3, 12), slice(1, 6))
    np.testing.assert_allclose(plain.array, moved.array, atol=1e-6)


def test_crop_holds_what_any_channel_holds():
    first, second = _head(), np.zeros((1, 12, 14, 10), dtype=np.float32)
    second[0, 11, 0, 9] = 1
    images = [Image(first, np.eye(4)), Image(second, np.eye(4))]
    prepared = prepare_images(images, _preparation("zscore", "none"), "p")
    assert prepared.crop == (slice(2, 12), slice(0, 12), slice(1, 10))
    assert prepared.array.dtype == np.float32
    assert prepare_images(images, _preparation("zscore", "none", crop=False), "p").grid.shape == (12, 14, 10)


def test_nan_becomes_background_and_is_said():
    image = _head()
    image[image == 0] = np.nan
    prepared = prepare_images([Image(image, np.eye(4))], _preparation("zscore_nonzero"), "P7")
    assert np.array_equal(
        prepared.array, prepare_images([Image(_head(), np.eye(4))], _preparation("zscore_nonzero"), "P7").array
    )
    assert prepared.notes[0].startswith("case P7: 1365 voxels of channel 0 are not finite")


def test_labels_follow_the_image_through_resampling():
    image = np.zeros((1, 20, 20, 20), dtype=np.float32)
    image[0, 4:14, 6:12, 8:18] = 1
    label = LabelMap(image[0].astype(np.uint8) * 4, np.eye(4))
    prepared = prepare_images(
        [Image(image, np.eye(4))], _preparation("none", spacing_mm=(1.5, 0.8, 2.0)), "p", label, TARGETS
    )
    assert set(np.unique(prepared.classes)) <= {0, 2}
    sure = np.abs(prepared.array[0] - 0.5) > 0.45
    assert np.array_equal(prepared.array[0][sure] > 0.5, prepared.classes[sure] == 2)


def test_two_dimensions_and_colours():
    picture = np.random.default_rng(0).integers(1, 255, (3, 20, 16), dtype=np.uint8)
    prepared = prepare_images([Image(picture, np.eye(4))], _preparation(*("rescale",) * 3, spacing_mm=(2.0, 2.0)), "p")
    assert prepared.array.shape == (3, 10, 8)
    assert prepared.grid.spacing_mm == (2.0, 2.0)


def test_a_case_is_read_from_files(tmp_path: Path):
    affine = _affine((0, 1, 2), (-1, -1, 1))
    nib.save(nib.Nifti1Image(_head()[0], affine), tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image((_head()[0] * 2).astype(np.float32), affine), tmp_path / "b.nii.gz")
    nib.save(nib.Nifti1Image((_head()[0] > 100).astype(np.uint8), affine), tmp_path / "l.nii.gz")
    case = Case("P1", "P1", {"flair": tmp_path / "a.nii.gz", "t1c": tmp_path / "b.nii.gz"}, tmp_path / "l.nii.gz")
    prepared = prepare(case, _preparation("zscore_nonzero", "zscore_nonzero"), TARGETS)
    np.testing.assert_allclose(prepared.array[0], prepared.array[1], atol=1e-5)
    assert prepared.classes is not None and prepared.classes.max() == 1
    assert prepared.source.axes == "LPS" and prepared.grid.axes == "RAS"
    assert prepare(case, _preparation("zscore", "zscore")).classes is None
    with pytest.raises(ModelError, match="case P1: 2 channels; the plan needs 1"):
        prepare(case, _preparation("zscore"))


def test_channels_of_a_case_are_told_by_name(tmp_path: Path):
    image = _head()[0].astype(np.float32)
    nib.save(nib.Nifti1Image(image, np.eye(4)), tmp_path / "a.nii.gz")
    image[0, 0, :2] = np.nan
    nib.save(nib.Nifti1Image(image, np.eye(4)), tmp_path / "b.nii.gz")
    case = Case("P1", "P1", {"flair": tmp_path / "a.nii.gz", "t1c": tmp_path / "b.nii.gz"})
    (note,) = prepare(case, _preparation("zscore", "zscore")).notes
    assert note == "case P1: 2 voxels of channel t1c are not finite; they are taken as 0."
    nib.save(nib.Nifti1Image(image, np.diag([2.0, 1, 1, 1])), tmp_path / "b.nii.gz")
    with pytest.raises(
        GeometryError, match=r"P1: channel t1c has shape .*, channel flair has shape .*onto channel flair"
    ):
        prepare(case, _preparation("zscore", "zscore"))


def test_grids_that_differ_are_refused():
    image, other = Image(_head(), np.eye(4)), Image(_head(), np.diag([2.0, 1, 1, 1]))
    with pytest.raises(GeometryError, match=r"case P2: channel 1 has shape \(12, 14, 10\), spacing \(2, 1, 1\) mm"):
        prepare_images([image, other], _preparation("zscore", "zscore"), "P2")
    label = LabelMap(np.zeros((12, 14, 9), np.uint8), np.eye(4))
    with pytest.raises(GeometryError, match=r"case P2: the mask has shape \(12, 14, 9\)"):
        prepare_images([image], _preparation("zscore"), "P2", label, TARGETS)
    with pytest.raises(GeometryError, match=r"3 axes \(12, 14, 10\); the plan is for images of 2 axes"):
        prepare_images([image], _preparation("zscore", spacing_mm=(1.0, 1.0)), "P2")


def test_settings_are_checked():
    with pytest.raises(ValidationError, match="Did you mean 'zscore'"):
        _preparation("zscor")
    with pytest.raises(ValidationError, match="needs mean, std"):
        _preparation("ct")
    with pytest.raises(ValidationError, match="0 entries for 1 channel of normalisation"):
        Preparation(spacing_mm=(1, 1, 1), normalisation=("zscore",), intensities=())
    with pytest.raises(ModelError, match="'huh' is not known"):
        normalise(np.zeros((2, 2)), "huh")


def test_oblique_grids_are_turned_without_interpolation():
    turn = np.deg2rad(20)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    prepared = prepare_images([Image(_head()[:, ::-1], affine)], _preparation("none"), "p")
    reorientation, turned = to_ras(prepared.source)
    assert reorientation == prepared.reorientation
    start = np.array([s.start for s in prepared.crop])
    np.testing.assert_allclose(prepared.grid.affine[:3, 3], (turned.affine @ [*start, 1])[:3])
