"""NIfTI in and out, judged by nibabel and SimpleITK."""

import gzip
import itertools

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from striate.core.errors import FormatError
from striate.core.geometry import axis_codes
from striate.core.image import Image, LabelMap
from striate.io.read import read_header, read_image, read_label
from striate.io.write import write_image, write_label

SPACING = (0.7, 1.1, 3.0)
ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def oriented(order, signs):
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, axis] = sign * SPACING[axis]
    affine[:3, 3] = (-12.5, 30.25, 7.0)
    return affine


def oblique():
    from scipy.spatial.transform import Rotation

    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (11, -23, 37), degrees=True).as_matrix() * SPACING
    affine[:3, 3] = (-90.1, 33.3, 12.7)
    return affine


def volume(seed=0, shape=(4, 5, 6), dtype=np.float32):
    rng = np.random.default_rng(seed)
    values = rng.normal(100, 30, shape)
    return values.astype(dtype)


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS, ids=[axis_codes(oriented(*o)) for o in ORIENTATIONS])
def test_all_48_orientations_place_each_voxel_as_nibabel_and_itk_do(tmp_path, order, signs):
    affine, array = oriented(order, signs), volume()
    path = tmp_path / "a.nii.gz"
    write_image(path, Image(array[None], affine))
    ours = read_image(path)
    assert np.array_equal(ours.array[0], array)
    assert np.allclose(ours.affine, affine, atol=1e-6)
    theirs = nib.load(path)
    assert np.array_equal(np.asarray(theirs.dataobj), array) and np.allclose(theirs.affine, affine, atol=1e-6)
    assert np.allclose(theirs.get_qform(), affine, atol=1e-5) and theirs.get_qform(coded=True)[1] == 1
    third = sitk.ReadImage(str(path))
    index = (3, 1, 4)
    world = affine @ [*index, 1]
    assert np.allclose(third.TransformIndexToPhysicalPoint(index), world[:3] * [-1, -1, 1], atol=1e-4)
    assert third.GetPixel(index) == array[index]


def test_oblique_affine_written_by_us_and_by_nibabel(tmp_path):
    affine, array = oblique(), volume()
    write_image(tmp_path / "ours.nii", Image(array[None], affine))
    nib.save(nib.Nifti1Image(array, affine), tmp_path / "theirs.nii.gz")
    ours, theirs = read_image(tmp_path / "theirs.nii.gz"), nib.load(tmp_path / "ours.nii")
    assert np.allclose(ours.affine, affine, atol=1e-5) and np.array_equal(ours.array[0], array)
    assert np.allclose(theirs.affine, affine, atol=1e-5) and np.array_equal(np.asarray(theirs.dataobj), array)
    third = sitk.ReadImage(str(tmp_path / "ours.nii"))
    assert np.allclose(third.TransformIndexToPhysicalPoint((3, 4, 5))[:2], -(affine @ [3, 4, 5, 1])[:2], atol=1e-3)


def test_an_affine_that_came_from_a_file_survives_bit_for_bit(tmp_path):
    write_image(tmp_path / "a.nii.gz", Image(volume()[None], oblique()))
    first = read_image(tmp_path / "a.nii.gz")
    write_image(tmp_path / "b.nii.gz", first)
    assert np.array_equal(read_image(tmp_path / "b.nii.gz").affine, first.affine)


def test_a_sheared_affine_is_kept_in_the_sform_and_the_qform_is_switched_off(tmp_path):
    affine = oblique()
    affine[0, 1] += 0.4
    write_image(tmp_path / "a.nii.gz", Image(volume()[None], affine))
    theirs = nib.load(tmp_path / "a.nii.gz")
    assert np.allclose(theirs.affine, affine, atol=1e-5) and theirs.get_qform(coded=True)[1] == 0


def test_the_qform_counts_where_the_sform_is_off(tmp_path):
    image = nib.Nifti1Image(volume(), oblique())
    image.header.set_sform(np.diag([9, 9, 9, 1]), code=0)
    image.header.set_qform(oblique(), code=1)
    raw = image.header.binaryblock.ljust(352, b"\0") + volume().tobytes(order="F")
    (tmp_path / "a.nii").write_bytes(raw)
    assert np.allclose(read_image(tmp_path / "a.nii").affine, oblique(), atol=1e-4)


def test_a_header_without_orientation_says_so(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_shape((4, 5, 6))
    header.set_data_dtype(np.float32)
    header["pixdim"][1:4] = SPACING
    header["vox_offset"] = 352
    (tmp_path / "a.nii").write_bytes(header.binaryblock.ljust(352, b"\0") + volume().tobytes(order="F"))
    image = read_image(tmp_path / "a.nii")
    assert "left and right are assumed" in image.meta["notes"][0]
    assert np.allclose(image.affine, nib.load(tmp_path / "a.nii").affine)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
@pytest.mark.parametrize("version", [1, 2])
def test_byte_orders_types_and_versions(tmp_path, order, kind, version):
    array = volume(dtype=kind)
    cls, header_cls = ((nib.Nifti1Image, nib.Nifti1Header), (nib.Nifti2Image, nib.Nifti2Header))[version - 1]
    header = header_cls(endianness=order)
    header.set_data_dtype(np.dtype(kind).newbyteorder(order))
    nib.save(cls(array, oblique(), header), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz")
    assert image.array.dtype == np.dtype(kind) and image.array.dtype.isnative
    assert np.array_equal(image.array[0], array)
    assert read_header(tmp_path / "a.nii.gz").dtype == np.dtype(kind).name


@pytest.mark.parametrize(("slope", "inter"), [(2.5, -1000.0), (1.0, -1024.0), (0.001, 0.0), (-1.0, 3.0)])
@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "f4"])
def test_slope_and_intercept_are_applied_as_nibabel_does(tmp_path, slope, inter, kind):
    header = nib.Nifti1Header()
    header.set_data_dtype(kind)
    header.set_data_shape((4, 5, 6))
    header.set_sform(oblique(), 1)
    header["scl_slope"], header["scl_inter"], header["vox_offset"] = slope, inter, 352
    (tmp_path / "a.nii").write_bytes(header.binaryblock.ljust(352, b"\0") + volume(dtype=kind).tobytes(order="F"))
    image = read_image(tmp_path / "a.nii")
    assert image.array.dtype == (np.float64 if kind == "i4" else np.float32)
    theirs = np.asarray(nib.load(tmp_path / "a.nii").dataobj)
    assert np.allclose(image.array[0], theirs, rtol=2e-7, atol=2e-4)


@pytest.mark.parametrize("scale", [(0.0, 5.0), (np.nan, np.nan)])
def test_a_slope_of_zero_or_nan_means_no_scaling(tmp_path, scale):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((4, 5, 6))
    header["scl_slope"], header["scl_inter"], header["vox_offset"] = *scale, 352
    header.set_sform(np.eye(4), 1)
    (tmp_path / "a.nii").write_bytes(header.binaryblock.ljust(352, b"\0") + volume(dtype="i2").tobytes(order="F"))
    assert np.array_equal(read_image(tmp_path / "a.nii").array[0], volume(dtype="i2"))


def test_bool_and_half_floats_and_wide_integers_are_written_so_that_others_can_read(tmp_path):
    for array, kind in ((volume() > 100, "u1"), (volume().astype(np.float16), "f4"), (volume().astype(np.int64), "i4")):
        write_image(tmp_path / "a.nii.gz", Image(array[None], np.eye(4)))
        theirs = nib.load(tmp_path / "a.nii.gz")
        assert theirs.get_data_dtype() == np.dtype(kind) and np.array_equal(np.asarray(theirs.dataobj), array)


def test_four_axes_are_refused_with_a_way_out(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 3), np.float32), np.eye(4)), tmp_path / "a.nii.gz")
    for read in (read_image, read_header, read_label):
        with pytest.raises(FormatError, match=r"4 axes \(4 × 5 × 6 × 3\); one 3D volume .* needed.*stack=True"):
            read(tmp_path / "a.nii.gz")


def test_four_axes_are_channels_when_asked_and_one_volume_is_fine(tmp_path):
    array = volume(shape=(4, 5, 6, 3))
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz", stack=True)
    assert np.array_equal(image.array, np.moveaxis(array, -1, 0)) and image.channels == 3
    assert read_header(tmp_path / "a.nii.gz", stack=True).channels == 3
    write_image(tmp_path / "b.nii.gz", image)
    assert np.array_equal(read_image(tmp_path / "b.nii.gz", stack=True).array, image.array)
    nib.save(nib.Nifti1Image(array[..., :1], np.eye(4)), tmp_path / "c.nii.gz")
    assert read_image(tmp_path / "c.nii.gz").array.shape == (1, 4, 5, 6)


def test_rgb_voxels_are_three_channels(tmp_path):
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    array = np.zeros((4, 5, 6), kind)
    array["G"][1, 2, 3] = 7
    array["B"][3, 0, 1] = 9
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz")
    assert image.array.shape == (3, 4, 5, 6) and image.array[1, 1, 2, 3] == 7 and image.array[2, 3, 0, 1] == 9
    assert image.array.sum() == 16


def test_two_axes_are_a_picture(tmp_path):
    write_image(tmp_path / "a.nii.gz", Image(volume(shape=(7, 9))[None], np.diag([0.5, 0.25, 1, 1])))
    image = read_image(tmp_path / "a.nii.gz")
    assert image.array.shape == (1, 7, 9) and image.grid.spacing_mm == (0.5, 0.25)


def test_micrometres_become_millimetres(tmp_path):
    picture = nib.Nifti1Image(volume(), np.diag([500.0, 500.0, 500.0, 1]))
    picture.header.set_xyzt_units("micron")
    nib.save(picture, tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    assert np.allclose(image.grid.spacing_mm, 0.5) and "micrometres" in image.meta["notes"][0]


def test_gzip_is_known_by_its_content_not_by_its_name(tmp_path):
    write_image(tmp_path / "a.nii", Image(volume()[None], np.eye(4)))
    raw = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "plain.nii.gz").write_bytes(raw)
    (tmp_path / "packed.NII").write_bytes(gzip.compress(raw[:1000]) + gzip.compress(raw[1000:]) + b"\0" * 40)
    assert np.array_equal(read_image(tmp_path / "plain.nii.gz").array[0], volume())
    assert np.array_equal(read_image(tmp_path / "packed.NII").array[0], volume())


def test_same_voxels_same_bytes(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_image(tmp_path / name, Image(volume()[None], oblique()))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]


def test_a_big_volume_is_written_in_pieces(tmp_path):
    array = np.arange(300 * 200 * 90, dtype=np.float32).reshape(300, 200, 90)
    write_image(tmp_path / "a.nii", Image(array[None], np.eye(4)))
    assert np.array_equal(np.asarray(nib.load(tmp_path / "a.nii").dataobj), array)


def test_an_axis_longer_than_nifti_1_knows_becomes_nifti_2(tmp_path):
    array = np.zeros((40000, 1, 2), np.uint8)
    array[39999, 0, 1] = 3
    write_label(tmp_path / "a.nii.gz", LabelMap(array, np.eye(4)))
    assert isinstance(nib.load(tmp_path / "a.nii.gz"), nib.Nifti2Image)
    assert np.array_equal(read_label(tmp_path / "a.nii.gz").array, array)


@settings(max_examples=60, deadline=None)
@given(
    array=hnp.arrays(
        st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=6),
    ),
    packed=st.booleans(),
)
def test_any_array_comes_back(tmp_path_factory, array, packed):
    path = tmp_path_factory.mktemp("any") / ("a.nii.gz" if packed else "a.nii")
    write_image(path, Image(array[None], np.eye(4)))
    back = read_image(path)
    assert back.array.dtype == array.dtype and np.array_equal(back.array[0], array, equal_nan=array.dtype.kind == "f")
