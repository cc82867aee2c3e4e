"""What is no even stack of one series is refused, with what is wrong and what to do, and without the name of the patient."""

import traceback
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.pixels import get_decoder
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    CTImageStorage,
    EncapsulatedPDFStorage,
    RTStructureSetStorage,
    SegmentationStorage,
    UltrasoundMultiFrameImageStorage,
)

from dicom_files import (
    CORONAL,
    NAMES,
    PATIENT,
    blank,
    enhanced,
    numbers,
    positions,
    save,
    with_pixels,
    write_series,
)
from striate.core.errors import FormatError, GeometryError, LabelError, MemoryLimitError, StriateError
from striate.io.formats import content
from striate.io.read import read_header, read_image, read_label


def refused(path, error, words):
    """Check that a path is refused by its header alone, in one line that names it and not the patient."""
    for read in (read_header, read_image):
        with pytest.raises(error, match=words) as caught:
            read(path)
        told = str(caught.value)
        assert str(path) in told and "\n" not in told and caught.value.exit_code == 3 and "need" in told
        assert not any(word in told for word in (PATIENT, "Doe", "4711", "19700101"))
    return told


def at(heights):
    return [(0, 0, z) for z in heights]


@pytest.mark.parametrize(
    ("heights", "words"),
    [
        ((0, 2.5, 7.5, 10, 12.5), r"uneven distances of 5 slices, mostly 2\.50 mm: 5\.00 mm from 2\.50 to 7\.50 mm along the"
                                  r" normal, 1 slice is missing; .* Copy the series again"),
        ((0, 10, 12.5, 15, 17.5), r"10\.00 mm from 0\.00 to 10\.00 mm along the normal, 3 slices are missing"),
        ((0, 2.5, 5, 7.5, 11), r"3\.50 mm from 7\.50 to 11\.00 mm along the normal;"),
        ((0, 0.05, 0.1, 0.2, 0.25), r"0\.10 mm from 0\.10 to 0\.20 mm along the normal, 1 slice is missing"),
        ((0, 2.5, 5, 10, 15), r"mostly 3\.75 mm: .* and 1 more|uneven distances"),
    ],
)  # fmt: skip
def test_a_missing_slice(tmp_path, heights, words):
    refused(write_series(tmp_path / "s", numbers(), places=at(heights)), GeometryError, words)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("EchoTime", [30, 30, 30, 80, 80, 80], "they differ in EchoTime 30(.0)?, 80"),
        ("DiffusionBValue", [0, 0, 0, 1000, 1000, 1000], "they differ in DiffusionBValue 0.0, 1000.0"),
        ("TemporalPositionIdentifier", [1, 1, 1, 2, 2, 2], "they differ in TemporalPositionIdentifier 1, 2"),
        ("AcquisitionNumber", [1, 1, 1, 2, 2, 2], "they differ in AcquisitionNumber 1, 2"),
        ("ImageType", [["ORIGINAL", "PRIMARY", p] for p in "MMMPPP"], r"ImageType ORIGINAL\\PRIMARY\\M, ORIGINAL\\PRIMARY\\P"),
        ("InstanceNumber", [1] * 6, "nothing in their headers tells them apart.*Take the copies out, or put"),
    ],
)  # fmt: skip
def test_the_same_position_twice(tmp_path, name, values, words):
    folder = write_series(
        tmp_path / "s", numbers((6, 7, 6)), places=at((0, 2, 4, 0, 2, 4)), each=lambda n: {name: values[n]}
    )
    told = refused(folder, GeometryError, words)
    assert "6 slices at 3 positions, for instance IM0000 and IM0003 both at 0.00 mm" in told


def test_frames_at_the_same_position(tmp_path):
    ds = enhanced(numbers((4, 7, 6)), at((0, 2, 0, 2)), told=[1, 1, 2, 2])
    told = refused(save(ds, tmp_path / "e.dcm"), GeometryError, "they differ in TemporalPositionIndex 1, 2")
    assert "frame 1 of e.dcm and frame 3 of e.dcm" in told


def test_slices_of_differing_size_orientation_or_spacing(tmp_path):
    folder = write_series(tmp_path / "size", numbers())
    write_series(folder, numbers((1, 9, 6)), names=NAMES[5:], places=at([99]))
    refused(folder, FormatError, "1 of 6 slices with 6 × 9 pixels .IM0005., the others with 6 × 7")
    folder = write_series(tmp_path / "axes", numbers())
    write_series(folder, numbers((1, 7, 6)), CORONAL, names=NAMES[5:])
    refused(
        folder, GeometryError, "slices of differing orientation: IM0005 has 1 0 0 0 0 -1, the most have 1 0 0 0 1 0"
    )
    folder = write_series(tmp_path / "mm", numbers())
    write_series(folder, numbers((1, 7, 6)), names=NAMES[5:], places=at([-42.5]), spacing_mm=(1, 1))
    refused(folder, GeometryError, "slices of differing pixel spacing: IM0005 has 1 1, the most have 0.8 1.5")


def test_slices_that_leave_the_line_of_the_others(tmp_path):
    places = positions(5)
    places[2] = (places[2][0] + 4, *places[2][1:])
    refused(
        write_series(tmp_path / "s", numbers(), places=places), GeometryError, "slice IM0002 lies 4.00 mm off the line"
    )


def test_slices_without_a_spacing(tmp_path):
    folder = write_series(tmp_path / "s", numbers(), spacing_mm=(0, 0))
    refused(folder, GeometryError, "5 of 5 slices tell no position, orientation or pixel spacing .IM0000.")


def test_several_series_in_one_folder_are_listed(tmp_path):
    write_series(tmp_path / "s", numbers(), series="a")
    write_series(
        tmp_path / "s", numbers((1, 7, 6)), names=NAMES[5:], series="b", SeriesNumber=7, SeriesDescription="FLAIR"
    )
    told = refused(tmp_path / "s", FormatError, "2 DICOM series in one folder")
    assert "3 'T1 MPRAGE' (MR, 5 slices, IM0000); 7 'FLAIR' (MR, 1 slice, IM0005)" in told
    assert told.endswith("Name one file of the series that is wanted, in place of the folder.")


def test_localisers(tmp_path):
    folder = write_series(tmp_path / "s", numbers(), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    refused(folder, FormatError, "5 of 5 images are localisers .scouts., for instance IM0000")


def test_pictures_of_one_series(tmp_path):
    for number in range(3):
        save(with_pixels(blank(), numbers((7, 6), seed=number)), tmp_path / "s" / NAMES[number])
    refused(tmp_path / "s", FormatError, "3 of 3 images of the series tell no place in the body .for instance IM0000.")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (SegmentationStorage, "no scan .Segmentation Storage.*Turn it into NIfTI on the grid of its scan"),
        (RTStructureSetStorage, "no scan .RT Structure Set Storage.*Turn its outlines into a NIfTI mask"),
        (EncapsulatedPDFStorage, "no scan .Encapsulated PDF Storage"),
    ],
)
def test_objects_that_are_no_scan(tmp_path, kind, words):
    path = save(blank(kind), tmp_path / "s" / "a.dcm")
    refused(path, FormatError, words)
    refused(path.parent, FormatError, words)
    with pytest.raises(FormatError, match=words):
        read_label(path)


def test_a_series_as_a_label_map(tmp_path):
    with pytest.raises(LabelError, match=r"DICOM as a label map; a label map in NIfTI.* needed"):
        read_label(write_series(tmp_path / "s", numbers()))


def test_films(tmp_path):
    ds = with_pixels(blank(UltrasoundMultiFrameImageStorage, NumberOfFrames=4), numbers((4, 7, 6)))
    film = save(ds, tmp_path / "s" / "a.dcm")
    refused(film, FormatError, "4 frames without a place in the body in a.dcm")
    refused(film.parent, FormatError, "4 frames without a place in the body in a.dcm")
    write_series(tmp_path / "s", numbers(), series="slices")
    assert read_image(tmp_path / "s" / NAMES[0]).array.shape == (1, 6, 7, 5)  # a film beside it is another series


def test_pixels_that_nothing_can_unpack(tmp_path, monkeypatch):
    path = write_series(tmp_path / "s", numbers(), each=lambda n: {}) / NAMES[0]
    ds = with_pixels(blank(CTImageStorage), numbers((7, 6)))
    ds.file_meta.TransferSyntaxUID = MPEG2MPML
    ds["PixelData"].is_undefined_length = True
    from pydicom.encaps import encapsulate

    ds.PixelData = encapsulate([b"video!"])
    refused(
        save(ds, tmp_path / "v.dcm"), FormatError, "packed as 'MPEG2 Main Profile / Main Level'; uncompressed pixels"
    )
    ds.file_meta.TransferSyntaxUID = JPEG2000
    save(ds, tmp_path / "j.dcm")
    decoder = type(get_decoder(JPEG2000))
    with monkeypatch.context() as patched:
        patched.setattr(decoder, "is_available", property(lambda self: False))
        refused(
            tmp_path / "j.dcm",
            FormatError,
            r"a decoder is needed, which is not installed\. .*pip install 'striate\[dicom\]'",
        )
    with pytest.raises(FormatError, match=r"j\.dcm: its pixels cannot be unpacked"):
        read_image(tmp_path / "j.dcm")
    assert path.is_file()


def test_no_pixels(tmp_path):
    refused(
        save(blank(CTImageStorage), tmp_path / "a.dcm"), FormatError, "of the kind 'CT Image Storage' without pixels"
    )


def test_every_truncation_of_a_slice_is_a_sentence(tmp_path):
    folder = write_series(tmp_path / "s", numbers())
    data = (folder / NAMES[2]).read_bytes()
    for length in range(132, len(data), 7):
        (folder / NAMES[2]).write_bytes(data[:length])
        for path in (folder, folder / NAMES[0]):
            with pytest.raises((FormatError, GeometryError)) as caught:
                read_image(path)
            assert NAMES[2] in str(caught.value) or "missing" in str(caught.value), length
    (folder / NAMES[2]).write_bytes(data[:-1])
    with pytest.raises(
        FormatError, match=r"IM0002: its header announces 6 × 7 × 1 pixels \(84 bytes\), the file has 83"
    ):
        read_image(folder)


def test_no_traceback_quotes_a_damaged_header(tmp_path, monkeypatch):
    def fails(*arguments, **options):
        raise ValueError(PATIENT)

    series = write_series(tmp_path / "s", numbers())
    monkeypatch.setattr(pydicom, "dcmread", fails)
    with pytest.raises(FormatError, match=r"truncated or damaged \(ValueError\)") as caught:
        read_header(series)
    assert PATIENT not in "".join(traceback.format_exception(caught.value))  # which --debug shows


def test_damaged_bytes_never_give_another_exception_nor_a_name(tmp_path, caplog):
    caplog.set_level("DEBUG")
    folder = write_series(tmp_path / "s", numbers((3, 7, 6)))
    path = folder / NAMES[1]
    data, rng, told = path.read_bytes(), np.random.default_rng(5), []
    for _ in range(300):
        hurt = bytearray(data)
        for place in rng.integers(0, len(data) - 84, 3):
            hurt[place] = rng.integers(0, 256)
        path.write_bytes(hurt)
        try:
            read_image(folder)
        except StriateError as error:
            told.append(str(error))
    assert len(told) > 20 and caplog.text == ""
    assert not [line for line in told if any(word in line for word in ("Doe", "4711", "19700101"))]


def test_a_file_named_as_dicom_that_is_none(tmp_path):
    folder = write_series(tmp_path / "s", numbers(), names=[f"{n}.dcm" for n in range(5)])
    (folder / "2.dcm").write_bytes(b"")
    with pytest.raises(FormatError, match=r"2\.dcm: it holds an empty file \(0 bytes\); a DICOM file is needed"):
        read_header(folder)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"RescaleSlope": 0}, "its RescaleSlope is 0"),
        ({"ImageOrientationPatient": [1, 0, 0]}, "its ImageOrientationPatient holds 3 finite numbers; 6 are needed"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "gives an axis of length 0.000"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "gives an axis of length 0.000"),
    ],
)
def test_impossible_numbers_in_the_header(tmp_path, tags, words):
    with pytest.raises(StriateError, match=words):
        read_header(write_series(tmp_path / "s", numbers(), **tags))


def test_pixels_of_another_shape_than_the_header_says(tmp_path, monkeypatch):
    folder = write_series(tmp_path / "s", numbers())
    with monkeypatch.context() as patched:
        patched.setattr(pydicom.pixels, "iter_pixels", lambda *a, **k: iter([np.zeros((3, 3), np.int16)]))
        with pytest.raises(
            FormatError, match=r"IM0000: its pixels have shape \(3, 3\), its header says \(7, 6\)"
        ) as held:
            read_image(folder)
    with ThreadPoolExecutor(1) as crew:  # no lock is held while the error lives
        assert crew.submit(read_image, folder).result(timeout=120).array.shape == (1, 6, 7, 5)
    assert held.value.exit_code == 3


def test_more_than_the_free_memory(tmp_path, monkeypatch):
    folder = write_series(tmp_path / "s", numbers())
    monkeypatch.setattr(content, "ALWAYS_TRIED_BYTES", 0)
    monkeypatch.setattr(content, "memory_available_bytes", lambda: 100)
    with pytest.raises(MemoryLimitError, match=r"s: its voxels need 420 B of memory; 100 B are free"):
        read_image(folder)
    assert read_header(folder).grid.shape == (6, 7, 5)  # holds no voxels


def test_files_of_others_that_are_no_scans():
    for name in ("rtplan.dcm", "test-SR.dcm", "liver_1frame.dcm", "rtdose_1frame.dcm", "waveform_ecg.dcm"):
        with pytest.raises(FormatError, match="a DICOM object that is no scan"):
            read_header(get_testdata_file(name, download=False))


def test_an_empty_folder(tmp_path):
    with pytest.raises(
        FormatError, match=r"this is a folder; one image file is needed .* or a folder with a DICOM series"
    ):
        read_header(tmp_path)
