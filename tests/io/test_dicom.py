"""DICOM: series in any orientation and order, volumes in one file, pictures, packed pixels; against SimpleITK."""

import os
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    MediaStorageDirectoryStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
)

from dicom_files import (
    AXIAL,
    CORONAL,
    NAMES,
    OBLIQUE,
    PATIENT,
    SAGITTAL,
    blank,
    enhanced,
    numbers,
    positions,
    save,
    with_pixels,
    write_series,
)
from striate.core.errors import UsageError
from striate.core.geometry import LPS
from striate.core.image import Image
from striate.io.formats import dicom_instance
from striate.io.read import files_of, hash_image, is_image, read_header, read_image, stem
from striate.io.write import write_image

sitk = pytest.importorskip("SimpleITK")


def by_itk(folder, file=""):
    """Return voxels (I, J, K) and affine (RAS+ mm) as SimpleITK reads a series, or one file."""
    names = [str(file)] if file else sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    volume = sitk.ReadImage(names if len(names) > 1 else names[0])
    affine = np.eye(4)
    affine[:3, :3] = np.array(volume.GetDirection()).reshape(3, 3) * volume.GetSpacing()
    affine[:3, 3] = volume.GetOrigin()
    return sitk.GetArrayFromImage(volume).transpose(2, 1, 0), LPS @ affine


@pytest.fixture
def packed(tmp_path):
    """Return a function that copies a file of pydicom's own test data, apart from its neighbours."""

    def copied(name):
        path = get_testdata_file(name, download=False)
        if path is None:
            pytest.skip(f"{name} is not installed")
        (tmp_path / name).mkdir()
        return Path(shutil.copy(path, tmp_path / name))

    return copied


@pytest.mark.parametrize("order", ["rising", "falling", "shuffled"])
@pytest.mark.parametrize(
    "orientation", [AXIAL, SAGITTAL, CORONAL, OBLIQUE], ids=["axial", "sagittal", "coronal", "oblique"]
)
def test_a_series_has_the_voxels_and_the_place_that_itk_finds(tmp_path, orientation, order):
    names = {"rising": NAMES[:5], "falling": NAMES[4::-1], "shuffled": [NAMES[n] for n in (3, 0, 4, 1, 2)]}[order]
    folder = write_series(tmp_path / "series", numbers(), orientation, names=names)
    image, header = read_image(folder), read_header(folder)
    voxels, affine = by_itk(folder)
    assert np.array_equal(image.array, voxels[None]) and image.array.dtype == np.int16
    assert np.allclose(image.affine, affine, atol=1e-5)
    assert header.grid.shape == image.grid.shape == (6, 7, 5) and np.array_equal(header.grid.affine, image.affine)
    assert (header.channels, header.dtype, header.format) == (1, "int16", "dicom")
    assert header.file_bytes == sum(p.stat().st_size for p in folder.iterdir())
    assert image.grid.spacing_mm == pytest.approx((1.5, 0.8, 2.5))  # columns, rows, slices; not the thickness of 9 mm


def test_slope_and_intercept_are_those_of_each_slice(tmp_path):
    scales = [(1, -1024), (2.5, 3), (0.125, 0), (1, 0), (7, -9.5)]
    folder = write_series(
        tmp_path / "pet",
        numbers(),
        each=lambda n: dict(zip(("RescaleSlope", "RescaleIntercept"), scales[n], strict=True)),
    )
    image = read_image(folder)
    wanted = (
        numbers() * np.array([s for s, _ in scales])[:, None, None] + np.array([i for _, i in scales])[:, None, None]
    )
    assert image.array.dtype == np.float32 and read_header(folder).dtype == "float32"
    assert np.allclose(image.array[0], wanted.transpose(2, 1, 0))
    assert (
        np.abs(image.array[0] - by_itk(folder)[0]).max() < 1
    )  # ITK cuts fractions off, for the sake of the first slice


def test_a_file_stands_for_its_series_and_chooses_it_in_a_folder_of_several(tmp_path):
    first, second = numbers(seed=1), numbers((4, 7, 6), seed=2)
    write_series(tmp_path / "all", first, names=NAMES[:5], series="a")
    write_series(tmp_path / "all", second, names=NAMES[5:9], series="b", SeriesNumber=4)
    (tmp_path / "all" / "notes.txt").write_text("of another kind")
    save(blank(MediaStorageDirectoryStorage), tmp_path / "all" / "DICOMDIR")
    save(blank("1.2.840.10008.5.1.4.1.1.88.11"), tmp_path / "all" / "report")
    assert np.array_equal(read_image(tmp_path / "all" / NAMES[2]).array[0], first.transpose(2, 1, 0))
    assert np.array_equal(read_image(tmp_path / "all" / NAMES[7]).array[0], second.transpose(2, 1, 0))
    assert [p.name for p in files_of(tmp_path / "all" / NAMES[7])] == list(NAMES[5:9])


@pytest.mark.parametrize("ending", ["", ".dcm", ".DCM", ".ima", ".17"])
def test_files_are_known_by_what_they_hold(tmp_path, ending):
    folder = write_series(tmp_path / "series", numbers(), names=[f"1.2.{n}{ending}" for n in range(5)])
    assert read_image(folder).grid.shape == (6, 7, 5) and read_image(folder / f"1.2.3{ending}").grid.shape == (6, 7, 5)
    assert is_image(folder) and not is_image(folder / f"1.2.3{ending}")  # a part of one
    assert stem(folder) == "series"


def test_the_hash_is_of_all_slices_whatever_their_names(tmp_path):
    folder = write_series(tmp_path / "a", numbers())
    whole = hash_image(folder)
    assert hash_image(folder / NAMES[3]) == whole
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"z{9 - number}.dcm")
    assert hash_image(folder) == whole
    write_series(folder, numbers(seed=5), names=[f"z{9 - n}.dcm" for n in range(5)])
    assert hash_image(folder) != whole  # the very same names


def test_the_header_is_read_without_pixels_and_without_names_of_people(tmp_path, monkeypatch):
    folder = write_series(tmp_path / "series", numbers())
    seen = []
    read = pydicom.dcmread
    monkeypatch.setattr(pydicom, "dcmread", lambda *a, **k: seen.append(read(*a, **k)) or seen[-1])
    assert read_header(folder).grid.shape == (6, 7, 5)
    assert len(seen) == 5 and not any("PixelData" in ds or "PatientName" in ds or "PatientID" in ds for ds in seen)
    image = read_image(folder)
    assert PATIENT not in repr(image.meta) and "4711" not in repr(image.meta)


def test_a_changed_file_is_read_again(tmp_path):
    folder = write_series(tmp_path / "series", numbers())
    assert read_header(folder).grid.spacing_mm[0] == pytest.approx(1.5)
    write_series(folder, numbers(), spacing_mm=(0.8, 1.25))
    assert read_header(folder).grid.spacing_mm[0] == pytest.approx(1.25)


def test_a_tilted_gantry_gives_shear(tmp_path):
    places = positions(5, AXIAL, shift=(0, 0.75, 0))
    folder = write_series(tmp_path / "ct", numbers(), places=places, Modality="CT")
    image = read_image(folder)
    assert np.allclose((LPS @ image.affine)[:3, 2], (0, 0.75, 2.5))
    for number, place in enumerate(places):
        assert np.allclose((LPS @ image.affine @ (0, 0, number, 1))[:3], place)


def test_positions_that_were_rounded_are_even_enough(tmp_path):
    places = [(0, 0, round(0.625 * n, 1)) for n in range(5)]
    image = read_image(write_series(tmp_path / "ct", numbers(), places=places))
    assert image.grid.spacing_mm[2] == pytest.approx(0.625) and image.meta["notes"] == []
    places = [(0, 0, z) for z in (0, 5, 10.2, 15, 20)]
    image = read_image(write_series(tmp_path / "sequential", numbers(), places=places))
    assert image.meta["notes"] == ["slices lie up to 0.20 mm off even distances; they were taken as even"]


@pytest.mark.parametrize("turned", [False, True])
def test_a_volume_in_one_file(tmp_path, turned):
    places = positions(5, OBLIQUE)[:: -1 if turned else 1]
    volume = numbers()
    scales = [(1 + n, -n) for n in range(5)]
    path = save(enhanced(volume, places, OBLIQUE, scales=scales), tmp_path / "e" / "IM1")
    image = read_image(path)
    wanted = volume * np.array([s for s, _ in scales])[:, None, None] + np.array([i for _, i in scales])[:, None, None]
    assert np.array_equal(image.array[0], (wanted[::-1] if turned else wanted).transpose(2, 1, 0))
    single = write_series(tmp_path / "classic", volume, OBLIQUE, places)
    assert np.allclose(image.affine, read_image(single).affine)
    assert is_image(path) and is_image(path.parent) and read_image(path.parent).grid.matches(image.grid)


def test_an_enhanced_ct_of_others_lies_where_itk_puts_it(packed):
    path = packed("eCT_Supplemental.dcm")
    voxels, affine = by_itk("", path)
    image = read_image(path)
    last_first = image.affine @ np.array(
        [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 1], [0, 0, 0, 1.0]]
    )  # two slices, as ITK has them
    assert np.allclose(last_first, affine, atol=1e-4) and np.allclose(image.array[0][..., ::-1], voxels)


def test_one_slice_is_a_picture_in_its_place(tmp_path):
    folder = write_series(tmp_path / "one", numbers((1, 7, 6)), CORONAL)
    image = read_image(folder)
    assert image.array.shape == (1, 6, 7) and np.array_equal(image.array[0], numbers((1, 7, 6))[0].T)
    assert np.allclose((LPS @ image.affine)[:3], np.array([[1.5, 0, 0, -31.5], [0, 0, 1, 12.25], [0, -0.8, 0, -40]]))


def test_a_radiograph_is_inverted_where_bright_means_little(tmp_path):
    pixels = numbers((7, 6), np.uint16)
    tags = {"ImagerPixelSpacing": [0.2, 0.1], "Modality": "DX"}
    kind = DigitalXRayImageStorageForPresentation
    ds = with_pixels(blank(kind, PhotometricInterpretation="MONOCHROME1", **tags), pixels)
    ds.BitsStored, ds.HighBit = 12, 11
    image = read_image(save(ds, tmp_path / "a.dcm"))
    assert np.array_equal(image.array, 4095 - pixels.T[None]) and image.array.dtype == np.uint16
    assert image.grid.spacing_mm == pytest.approx((0.1, 0.2)) and "detector" in image.meta["notes"][0]
    assert image.meta["notes"][1] == "it is stored with bright for little (MONOCHROME1): it was inverted"
    plain = read_image(save(with_pixels(blank(kind, **tags), pixels), tmp_path / "b.dcm"))
    assert np.array_equal(plain.array, pixels.T[None])


def test_numbers_of_slices_mean_what_they_say_however_they_are_shown(tmp_path):
    folder = write_series(tmp_path / "ct", numbers(), PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(read_image(folder).array[0], numbers().transpose(2, 1, 0))


def test_colours_are_channels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (5, 4, 3)).astype(np.uint8)
    path = save(with_pixels(blank(UltrasoundImageStorage, Modality="US"), pixels), tmp_path / "us.dcm")
    image, header = read_image(path), read_header(path)
    assert np.array_equal(image.array, pixels.transpose(2, 1, 0)) and header.channels == 3
    assert image.meta["notes"] == ["the file tells no size of its pixels: they were taken as 1 mm"]


def test_a_palette_gives_its_colours(packed):
    path = packed("examples_palette.dcm")
    ds = pydicom.dcmread(path)
    image = read_image(path)
    wanted = pydicom.pixels.apply_color_lut(ds.pixel_array, ds)
    assert np.array_equal(image.array, wanted.transpose(2, 1, 0)) and image.array.max() > 255
    assert read_header(path).dtype == "uint16"


def test_a_table_of_numbers_is_applied(tmp_path):
    ds = with_pixels(blank(SecondaryCaptureImageStorage), numbers((7, 6), np.uint8) % 4)
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "US", [4, 0, 16])
    table.add_new("ModalityLUTType", "LO", "US")
    table.add_new("LUTData", "US", [5, 50, 500, 5000])
    ds.ModalityLUTSequence = [table]
    found = read_image(save(ds, tmp_path / "a.dcm")).array
    assert np.array_equal(found[0], np.array([5, 50, 500, 5000])[numbers((7, 6), np.uint8) % 4].T)


@pytest.mark.parametrize(
    "name",
    ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_bigendian.dcm",
     "MR_small_implicit.dcm", "MR_small_expb.dcm"],
)  # fmt: skip
def test_packed_pixels_are_those_of_the_same_scan_unpacked(name, packed):
    pytest.importorskip("gdcm")
    image, plain = read_image(packed(name)), read_image(packed("MR_small.dcm"))
    assert np.array_equal(image.array, plain.array) and image.grid.matches(plain.grid)


@pytest.mark.parametrize(
    "name", ["JPEG2000.dcm", "J2K_pixelrep_mismatch.dcm", "SC_rgb_jpeg_dcmtk.dcm", "JPEGLSNearLossless_16.dcm", "image_dfl.dcm",
             "SC_ybr_full_422_uncompressed.dcm", "JPGLosslessP14SV1_1s_1f_8b.dcm"]
)  # fmt: skip
def test_packed_pixels_are_those_that_pydicom_unpacks(name, packed):
    pytest.importorskip("gdcm")
    path = packed(name)
    pixels = pydicom.dcmread(path).pixel_array
    planes = pixels if pixels.ndim == 3 else pixels[..., None]
    assert np.array_equal(read_image(path).array, planes.transpose(2, 1, 0))


def test_pictures_in_a_folder_are_images_each(tmp_path):
    for number in range(3):
        ds = with_pixels(
            blank(ComputedRadiographyImageStorage, series=f"s{number}"), numbers((7, 6), np.uint16, number)
        )
        save(ds, tmp_path / "cr" / f"P{number}.dcm")
    (tmp_path / "one" / "masks").mkdir(parents=True)
    save(ds, tmp_path / "one" / "P.dcm")
    assert not is_image(tmp_path / "one")  # more lies in it
    assert not is_image(tmp_path / "cr") and all(map(is_image, (tmp_path / "cr").iterdir()))
    assert np.array_equal(read_image(tmp_path / "cr" / "P1.dcm").array[0], numbers((7, 6), np.uint16, 1).T)


def test_a_folder_with_other_images_is_no_series(tmp_path):
    folder = write_series(tmp_path / "series", numbers())
    write_image(folder / "converted.nii.gz", Image(numbers()[None], np.eye(4)))
    assert not is_image(folder)
    assert not is_image(tmp_path) and not is_image(tmp_path / "absent")


def test_dicom_is_not_written(tmp_path):
    with pytest.raises(UsageError, match=r"a\.dcm: DICOM is read, not written; write NIfTI"):
        write_image(tmp_path / "a.dcm", Image(numbers()[None], np.eye(4)))
    assert list(tmp_path.iterdir()) == []


def test_headers_are_kept_between_calls_and_not_beyond_a_change(tmp_path):
    folder = write_series(tmp_path / "series", numbers(), SeriesDescription="kept")
    dicom_instance._instance.cache_clear()
    for _ in range(3):
        read_header(folder)
    assert dicom_instance._instance.cache_info().misses == 5
    os.utime(folder / NAMES[0], ns=(1, 1))
    read_header(folder)
    assert dicom_instance._instance.cache_info().misses == 6
