"""NRRD and MetaImage against SimpleITK itself."""

import itertools
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from striate.core.errors import FormatError, UsageError
from striate.core.image import Image, LabelMap
from striate.io.read import read_header, read_image, read_label
from striate.io.write import write_image, write_label


def oblique():
    from scipy.spatial.transform import Rotation

    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (11, -23, 37), degrees=True).as_matrix() * (0.7, 1.1, 3)
    affine[:3, 3] = (-90.1, 33.3, 12.7)
    return affine


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.NRRD"])
@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_numbers_and_places_survive(tmp_path, name, kind):
    array = np.random.default_rng(1).normal(100, 20, (1, 4, 5, 6)).astype(kind)
    write_image(tmp_path / name.lower(), Image(array, oblique()))
    if name.endswith(".NRRD"):
        (tmp_path / name.lower()).rename(tmp_path / name)
    path = tmp_path / (name if name.endswith(".NRRD") else name.lower())
    image, header = read_image(path), read_header(path)
    assert image.array.dtype == np.dtype(kind) and np.array_equal(image.array, array)
    assert np.allclose(image.affine, oblique(), atol=1e-9) and header.grid.matches(image.grid)
    assert (header.dtype, header.channels) == (np.dtype(kind).name, 1)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_orientation_as_itk_has_it(tmp_path, order):
    affine = np.eye(4)[:, [*order, 3]] * [0.5, -2, 3, 1]
    array = np.arange(120, dtype=np.float32).reshape(1, 4, 5, 6)
    write_image(tmp_path / "a.nrrd", Image(array, affine))
    theirs = sitk.ReadImage(str(tmp_path / "a.nrrd"))
    assert theirs.GetPixel((3, 1, 2)) == array[0, 3, 1, 2]
    assert np.allclose(theirs.TransformIndexToPhysicalPoint((3, 1, 2)), (affine @ [3, 1, 2, 1])[:3] * [-1, -1, 1])


def test_vectors_are_channels_and_pictures_have_two_axes(tmp_path):
    array = np.random.default_rng(1).normal(size=(3, 4, 5, 6)).astype(np.float32)
    write_image(tmp_path / "a.mha", Image(array, oblique()))
    assert np.array_equal(read_image(tmp_path / "a.mha").array, array)
    assert sitk.ReadImage(str(tmp_path / "a.mha")).GetNumberOfComponentsPerPixel() == 3
    write_image(tmp_path / "b.nrrd", Image(array[:1, ..., 0], np.diag([0.5, 0.25, 1, 1])))
    assert np.array_equal(read_image(tmp_path / "b.nrrd").array, array[:1, ..., 0])
    assert read_header(tmp_path / "b.nrrd").grid.spacing_mm == (0.5, 0.25)


def test_labels(tmp_path):
    array = np.zeros((4, 5, 6), np.int64)
    array[1, 2, 3] = 300
    write_label(tmp_path / "a.nrrd", LabelMap(array, oblique()))
    assert np.array_equal(read_label(tmp_path / "a.nrrd").array, array)


def test_a_sheared_affine_survives_or_is_refused(tmp_path):
    affine = oblique()
    affine[0, 1] += 0.9
    write_image(tmp_path / "a.mha", Image(np.zeros((1, 4, 5, 6), np.float32), affine))
    assert np.allclose(read_image(tmp_path / "a.mha").affine, affine)
    flat = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    with pytest.raises(FormatError, match=r"a picture in the plane x, y is needed"):
        write_image(tmp_path / "b.mha", Image(np.zeros((1, 4, 5), np.float32), flat))
    assert not (tmp_path / "b.mha").exists()


def test_the_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(
        UsageError, match=r"SimpleITK, which is not installed. Install it: pip install 'striate\[itk\]'"
    ):
        read_image(tmp_path / "a.nrrd")


def test_four_axes_are_refused(tmp_path):
    sitk.WriteImage(sitk.Image([3, 3, 3, 2], sitk.sitkUInt8), str(tmp_path / "a.nrrd"))
    with pytest.raises(FormatError, match=r"4 axes \(3 × 3 × 3 × 2\)"):
        read_image(tmp_path / "a.nrrd")


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr"])
def test_pairs_of_header_and_voxels_are_read_but_not_written(tmp_path, name):
    array = np.random.default_rng(1).normal(size=(4, 5, 6)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(array.T), str(tmp_path / name))
    assert np.array_equal(read_image(tmp_path / name).array[0], array)
    with pytest.raises(UsageError, match=r"write \.mha or \.nrrd"):
        write_image(tmp_path / f"b{name}", Image(array[None], np.eye(4)))
