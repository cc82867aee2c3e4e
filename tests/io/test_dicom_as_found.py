"""DICOM as scanners, archives and file systems leave it: old files, makers' own objects, mosaics, pipes, links."""

import io
import os
import threading
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_files import AXIAL, CORONAL, NAMES, blank, enhanced, numbers, positions, save, with_pixels, write_series
from striate.core.errors import FormatError, GeometryError, UsageError
from striate.data.checks.states import states
from striate.data.cohort import Cohort
from striate.inference.inputs import gather
from striate.io.formats import dicom_instance, dicom_series
from striate.io.read import is_image, known_format, read_header, read_image


@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_old_files_without_a_preamble(tmp_path, syntax, meta):
    folder = write_series(tmp_path / "new", numbers())
    for path in sorted(folder.iterdir()):
        ds, stream = pydicom.dcmread(path), io.BytesIO()
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = ds.pixel_array.astype(">i2").tobytes()
        ds.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(stream, ds, enforce_file_format=True)
        whole = stream.getvalue()[132:]
        length = 12 + int.from_bytes(whole[8:12], "little")
        (tmp_path / "old").mkdir(exist_ok=True)
        (tmp_path / "old" / path.name).write_bytes(whole if meta else whole[length:])
    image, wanted = read_image(tmp_path / "old"), read_image(folder)
    assert is_image(tmp_path / "old") and np.array_equal(image.array, wanted.array)
    assert image.grid.matches(wanted.grid)


@pytest.mark.parametrize(
    "data", [b"", b"\x08\0", bytes(400), b"\x08\0\0\0\4\0\0\0" + bytes(392), b"\2\0" * 200, b"\x08\0\5\0" * 99]
)
def test_bytes_that_are_no_dicom(tmp_path, data):
    (tmp_path / "data").write_bytes(data)
    assert known_format(tmp_path / "data") is None and known_format(tmp_path) is None


def test_outlines_in_an_old_file_are_named_as_such():
    with pytest.raises(FormatError, match=r"RT Structure Set Storage.*Turn its outlines into a NIfTI mask"):
        read_header(get_testdata_file("rtstruct.dcm", download=False))


def test_a_directory_of_files_is_named_as_such(tmp_path):
    path = get_testdata_file("DICOMDIR", download=False)
    with pytest.raises(FormatError, match=r"Media Storage Directory Storage.*Name the folder with the slices"):
        read_header(path)
    folder = write_series(tmp_path / "s", numbers())
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")  # not even looked into
    assert read_header(folder).grid.shape == (6, 7, 5)


def test_makers_own_objects_are_passed_over_beside_slices(tmp_path):
    folder = write_series(tmp_path / "s", numbers())
    private = save(blank("1.3.12.2.1107.5.9.1"), folder / "AAA")
    assert read_image(folder).grid.shape == (6, 7, 5) and not is_image(private)
    with pytest.raises(FormatError, match=r"no scan \(1\.3\.12\.2\.1107\.5\.9\.1\); an image is needed"):
        read_header(private)


@pytest.mark.parametrize("count", [1, 3])
def test_mosaics(tmp_path, count):
    kind = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    folder = write_series(tmp_path / "s", numbers((count, 8, 8)), places=[(0, 0, 0)] * count, ImageType=kind)
    for path in (folder, folder / NAMES[0]):
        with pytest.raises(FormatError, match=r"a mosaic, in which all slices .* \(IM0000\); a file for each slice"):
            read_header(path)


@pytest.mark.parametrize("signed", [True, False])
def test_bits_beyond_those_stored_do_not_count(tmp_path, signed):
    wanted = numbers((7, 6)) - (900 if signed else 0)
    ds = with_pixels(blank(), (wanted.astype(np.uint16) & 0xFFF) | 0x5000)
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, int(signed)
    assert np.array_equal(read_image(save(ds, tmp_path / "a.dcm")).array[0].T, wanted)
    ds.HighBit = 15
    with pytest.raises(
        FormatError, match=r"a\.dcm: pixels of 12 bits that do not start at the lowest of 16; .* needed"
    ):
        read_header(save(ds, tmp_path / "a.dcm"))


def test_times_tell_volumes_of_a_film_of_slices_apart(tmp_path):
    folder = write_series(
        tmp_path / "s",
        numbers((6, 7, 6)),
        places=positions(3) * 2,
        each=lambda n: {"AcquisitionTime": f"12000{n // 3}"},
    )
    with pytest.raises(GeometryError, match=r"6 slices at 3 positions.*they differ in AcquisitionTime 120000, 120001"):
        read_header(folder)


def test_stacks_of_two_orientations_are_told_as_they_are(tmp_path):
    ds = enhanced(numbers((6, 7, 6)), positions(6))
    for number, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        plane = pydicom.Dataset()
        plane.ImageOrientationPatient = list(CORONAL if number > 2 else AXIAL)
        frame.PlaneOrientationSequence = [plane]
    with pytest.raises(GeometryError, match=r"frame 1 of a\.dcm has 1 0 0 0 1 0, the most have 1 0 0 0 0 -1;"):
        read_header(save(ds, tmp_path / "a.dcm"))


def test_pipes_and_loops_of_links_beside_slices(tmp_path):
    folder = write_series(tmp_path / "s", numbers())
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "self").symlink_to(folder)
    found = []
    reader = threading.Thread(target=lambda: found.append(read_header(folder)), daemon=True)  # may wait for ever
    reader.start()
    reader.join(120)
    assert found and found[0].grid.shape == (6, 7, 5)
    (folder / "a.dcm").symlink_to(folder / "a.dcm")
    with pytest.raises(FormatError, match=r"a\.dcm: a loop of symbolic links"):  # a slice that may be missing
        read_header(folder)
    (folder / "a.dcm").unlink()
    os.mkfifo(folder / "a.dcm")
    with pytest.raises(FormatError, match=r"a\.dcm: this is no file \(a folder, a pipe or a device\)"):
        read_header(folder)


def test_a_file_put_in_place_of_another_with_its_time_and_size_is_read(tmp_path):
    folder = write_series(tmp_path / "s", numbers(), spacing_mm=(1.5, 1.5))
    assert read_header(folder).grid.spacing_mm[0] == 1.5
    before = {path: path.stat() for path in folder.iterdir()}
    write_series(folder, numbers(), spacing_mm=(2.5, 2.5))
    for path, was in before.items():
        os.utime(path, ns=(was.st_mtime_ns, was.st_mtime_ns))
        while path.stat().st_ctime_ns == was.st_ctime_ns:  # clocks of file systems tick slowly
            os.utime(path, ns=(was.st_mtime_ns, was.st_mtime_ns))
    assert read_header(folder).grid.spacing_mm[0] == 2.5


@pytest.mark.parametrize("name", ["P7", ".P7"])
def test_a_folder_that_is_given_may_be_hidden_or_the_one_above(tmp_path, monkeypatch, name):
    folder = write_series(tmp_path / name, numbers())
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder / "empty")
    for given in (folder, Path("..")):
        (case,) = gather([given], ("image",))
        assert case.name == name and list(case.channels.values()) == [given]


def test_many_slices_of_a_series_are_refused_at_the_second(tmp_path, monkeypatch):
    folder = write_series(tmp_path / "s", numbers((40, 4, 4)))
    listed = []
    found = dicom_series.dicom_files_in
    monkeypatch.setattr(dicom_series, "dicom_files_in", lambda path: listed.append(path) or found(path))
    with pytest.raises(UsageError, match=r"IM0001: a slice of the same DICOM series as .*IM0000"):
        gather(sorted(folder.iterdir()), ("image",))
    assert len(listed) == 2


def test_words_in_a_table_that_no_file_can_be_named(tmp_path):
    write_series(tmp_path / "P1", numbers())
    for word in ("ü" * 250, "a\\" + "ü" * 250, "a/" * 900):
        (tmp_path / "cohort.csv").write_text(f"subject,flair,note\nP1,P1,{word}\n")
        (case,) = Cohort.open(tmp_path / "cohort.csv").cases
        assert case.metadata == {"note": word} and list(case.channels) == ["flair"]


@pytest.mark.parametrize("cell", ["P0", f"P0/{NAMES[4]}"])
def test_any_slice_that_changes_makes_another_state(tmp_path, cell):
    folder = write_series(tmp_path / "P0", numbers())
    (folder / "away").symlink_to(tmp_path / "nowhere")
    (tmp_path / "cohort.csv").write_text(f"subject,flair\nP0,{cell}\n")
    before = states(Cohort.open(tmp_path / "cohort.csv"))
    assert states(Cohort.open(tmp_path / "cohort.csv")) == before
    path = folder / NAMES[2]
    path.write_bytes(path.read_bytes() + b"\0\0")
    dicom_instance._instance.cache_clear()
    assert states(Cohort.open(tmp_path / "cohort.csv")) != before


def test_damaged_pixels_do_not_end_the_process(tmp_path, python):
    data = bytearray(Path(get_testdata_file("SC_rgb_jpeg_dcmtk.dcm", download=False)).read_bytes())
    for place, byte in ((521, 255), (1293, 255), (1869, 189), (2094, 202), (3091, 255)):  # gdcm ends it here
        data[place] = byte
    (tmp_path / "a.dcm").write_bytes(data)
    told = python("-c", f"from striate.io.read import read_image; read_image({str(tmp_path / 'a.dcm')!r})")
    assert (
        told.returncode == 1
        and "FormatError: " in told.stderr
        and "a.dcm: its pixels cannot be unpacked" in told.stderr
    )


def test_a_packing_that_is_no_identifier_is_told_once(tmp_path, recwarn):
    data = save(with_pixels(blank(), numbers((7, 6))), tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2..\0"))
    recwarn.clear()
    with pytest.raises(FormatError, match=r"pixels packed as '1\.2\.840\.10008\.1\.2\.\.'; uncompressed pixels"):
        read_header(tmp_path / "a.dcm")
    assert not recwarn.list
