"""The corpus of broken input: each gets one sentence with its path, exit code 3, and nothing is allocated or lost."""

# ruff: noqa: E501  (tables of cases, one to a line)

import errno
import gzip
import os
import shutil
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from striate.core.case import Case
from striate.core.errors import DataError, FormatError, GeometryError, LayoutError, MemoryLimitError, StriateError
from striate.core.image import Image
from striate.data.cohort import Cohort
from striate.io.formats import content
from striate.io.read import read_channels, read_header, read_image, read_label
from striate.io.write import write_image


def header(shape=(4, 5, 6), kind=np.float32, **fields):
    made = nib.Nifti1Header()
    made.set_data_dtype(kind)
    made.set_data_shape(shape)
    made.set_sform(np.eye(4), 1)
    made["vox_offset"] = 352
    for key, value in fields.items():
        made[key] = value
    return made.binaryblock.ljust(352, b"\0")


VOXELS = bytes(480)


def broken(name):
    """Return file name, bytes, error class and words of one kind of broken file."""
    whole = header() + VOXELS
    nan = header(srow_x=[np.nan, 0, 0, 0])
    return {
        "truncated gzip": ("a.nii.gz", gzip.compress(whole + os.urandom(9000))[:-3000], FormatError, "gzip data end too early"),
        "gzip cut inside the header": ("a.nii.gz", gzip.compress(whole)[:40], FormatError, "gzip data end too early"),
        "gzip without its checksum": ("a.nii.gz", gzip.compress(whole)[:-6], FormatError, "gzip data end too early"),
        "damaged gzip": ("a.nii.gz", gzip.compress(whole)[:10] + b"\x07" * 60, FormatError, "damaged"),
        "wrong checksum": ("a.nii.gz", gzip.compress(whole)[:-8] + bytes(8), FormatError, "damaged .*incorrect data check"),
        "truncated": ("a.nii", whole[:-1], FormatError, r"announces 4 × 5 × 6 voxels \(480 B\), the file has 831 B"),
        "wrong magic": ("a.nii", header()[:344] + b"xxx\0" + bytes(500), FormatError, r"NIfTI magic b'xxx"),
        "two files": ("a.nii", header()[:344] + b"ni1\0" + bytes(500), FormatError, r"\.hdr/\.img pair.*Convert it to \.nii\.gz"),
        "zero-size axis": ("a.nii", header(dim=[3, 4, 0, 6, 1, 1, 1, 1]) + VOXELS, FormatError, r"without voxels \(4 × 0 × 6\)"),
        "negative axis": ("a.nii", header(dim=[3, 4, -5, 6, 1, 1, 1, 1]) + VOXELS, FormatError, r"without voxels \(4 × -5 × 6\)"),
        "no axes": ("a.nii", header(dim=[0, 4, 5, 6, 1, 1, 1, 1]) + VOXELS, FormatError, "0 axes in its header"),
        "one axis": ("a.nii", header(dim=[1, 120, 1, 1, 1, 1, 1, 1]) + VOXELS, FormatError, r"1 axis \(120\)"),
        "NaN affine": ("a.nii", nan + VOXELS, GeometryError, "affine holds NaN or infinity"),
        "flat affine": ("a.nii", header(srow_z=[0, 0, 0, 0]) + VOXELS, GeometryError, "affine is singular"),
        "10^12 voxels": ("a.nii", header((10000, 10000, 10000)) + VOXELS, FormatError, r"10000 × 10000 × 10000 voxels \(4000\.0 GB\)"),
        "10^12 packed": ("a.nii.gz", gzip.compress(header((10000, 10000, 10000))), FormatError, r"must fit together"),
        "complex": ("a.nii", header(kind=np.complex64) + bytes(960), FormatError, "complex64; real numbers"),
        "unknown type": ("a.nii", header(datatype=999) + VOXELS, FormatError, "NIfTI header with a fault"),
        "offset": ("a.nii", header(vox_offset=-7) + VOXELS, FormatError, r"vox_offset -7\.0"),
        "offset NaN": ("a.nii", header(vox_offset=np.nan) + VOXELS, FormatError, r"vox_offset nan"),
        "offset past the end": ("a.nii", header(vox_offset=5000) + VOXELS, FormatError, "truncated or its header is wrong"),
        "text": ("a.nii.gz", b"Dear colleague,\nplease find the scan attached.\n" * 9, FormatError, "text .'Dear colleague, please"),
        "web page": ("a.nii", b"<!DOCTYPE html><html>" * 30, FormatError, "text .'<!DOCTYPE html>"),
        "LFS pointer": ("a.nii.gz", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", FormatError, "run: git lfs pull"),
        "DICOM": ("a.nii", bytes(128) + b"DICM" + bytes(300), FormatError, r"it holds a DICOM file .*Give the file its right ending"),
        "PNG": ("a.nii", b"\x89PNG\r\n\x1a\n" + bytes(600), FormatError, "a PNG picture"),
        "empty": ("a.nii", b"", FormatError, r"an empty file \(0 bytes\)"),
        "no ending": ("scan", b"hello world", FormatError, r"ending '' and text .*one image file is needed"),
        "DICOM ending": ("scan.dcm", bytes(128) + b"DICM" + bytes(300), FormatError, "without pixels; .* the file is truncated"),
    }[name]  # fmt: skip


KINDS = [
    "truncated gzip", "gzip cut inside the header", "gzip without its checksum", "damaged gzip", "wrong checksum", "truncated",
    "wrong magic", "two files", "zero-size axis", "negative axis", "no axes", "one axis", "NaN affine", "flat affine",
    "10^12 voxels", "10^12 packed", "complex", "unknown type", "offset", "offset NaN", "offset past the end", "text", "web page",
    "LFS pointer", "DICOM", "PNG", "empty", "no ending", "DICOM ending",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", [read_image, read_label])
def test_broken_files(tmp_path, kind, read):
    name, data, error, words = broken(kind)
    path = tmp_path / "Żółty Ordner, à Été" / name
    path.parent.mkdir()
    path.write_bytes(data)
    with pytest.raises(error, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value) and caught.value.exit_code == 3 and "\n" not in str(caught.value)
    assert path.read_bytes() == data and len(list(path.parent.iterdir())) == 1


def test_an_impossible_header_is_refused_before_anything_is_allocated(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(header((10000, 10000, 10000))))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="announces"):
            read_image(tmp_path / "a.nii.gz")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_behind_a_small_header_takes_no_memory(tmp_path):
    bomb = gzip.compress(header() + bytes(200_000_000), compresslevel=9)
    (tmp_path / "a.nii.gz").write_bytes(bomb)
    tracemalloc.start()
    try:
        assert read_image(tmp_path / "a.nii.gz").array.shape == (1, 4, 5, 6)
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()


def test_more_than_the_free_memory_is_refused_with_exit_code_5(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "ALWAYS_TRIED_BYTES", 0)
    monkeypatch.setattr(content, "memory_available_bytes", lambda: 100)
    (tmp_path / "a.nii").write_bytes(header() + VOXELS)
    with pytest.raises(MemoryLimitError, match=r"its voxels need 480 B of memory; 100 B are free") as caught:
        read_image(tmp_path / "a.nii")
    assert caught.value.exit_code == 5
    assert read_header(tmp_path / "a.nii").grid.shape == (4, 5, 6)  # holds no voxels
    write_image(tmp_path / "a.npz", Image(np.zeros((1, 4, 5, 6), np.float32), np.eye(4)))
    with pytest.raises(MemoryLimitError, match=r"a\.npz: its voxels need 480 B of memory"):
        read_image(tmp_path / "a.npz")
    assert read_header(tmp_path / "a.npz").grid.shape == (4, 5, 6)


def test_a_missing_file_names_its_neighbour(tmp_path):
    (tmp_path / "P1_flair.nii.gz").write_bytes(b"x")
    with pytest.raises(
        FormatError, match=r"P1_flare\.nii\.gz: there is no such file; .* Did you mean 'P1_flair\.nii\.gz'\?"
    ):
        read_image(tmp_path / "P1_flare.nii.gz")
    with pytest.raises(FormatError, match=r"Its folder .* does not exist either"):
        read_image(tmp_path / "nowhere" / "a.nii.gz")


def test_a_folder_is_no_image(tmp_path):
    (tmp_path / "a.nii.gz").mkdir()
    with pytest.raises(FormatError, match=r"a\.nii\.gz: this is a folder; an image file is needed"):
        read_image(tmp_path / "a.nii.gz")


def test_all_dead_links_of_a_folder_are_told_at_once(tmp_path):
    for name in "abc":
        (tmp_path / "images" / f"{name}.nii.gz").parent.mkdir(exist_ok=True)
        (tmp_path / "images" / f"{name}.nii.gz").symlink_to(tmp_path / f"gone_{name}.nii.gz")
    with pytest.raises(
        LayoutError, match=r"3 of 3 images in .*images are not there:(\n  .*gone_[abc]\.nii\.gz, which.*){3}$"
    ):
        Cohort.open(tmp_path)


def test_a_loop_of_links_and_a_dead_link(tmp_path):
    (tmp_path / "a.nii.gz").symlink_to(tmp_path / "b.nii.gz")
    (tmp_path / "b.nii.gz").symlink_to(tmp_path / "a.nii.gz")
    (tmp_path / "c.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    with pytest.raises(FormatError, match="a loop of symbolic links"):
        read_image(tmp_path / "a.nii.gz")
    with pytest.raises(FormatError, match=r"there is no such file.*It is a link to .*gone\.nii\.gz, which is missing"):
        read_header(tmp_path / "c.nii.gz")
    with pytest.raises(LayoutError, match="a loop of symbolic links"):
        Cohort.open(tmp_path)


def test_a_loop_of_folders_is_not_followed(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "P1.nii").write_bytes(header() + VOXELS)
    (tmp_path / "images" / "again").symlink_to(tmp_path)
    assert [c.name for c in Cohort.open(tmp_path).cases] == ["P1"]
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(LayoutError, match="a loop of symbolic links"):
        Cohort.open(tmp_path / "loop")


def refuse(monkeypatch, victim):
    """Simulate missing rights: root, who runs the tests, may read everything."""
    real_open, real_iter = Path.open, Path.iterdir

    def opened(self, *args, **kwargs):
        if self == victim:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real_open(self, *args, **kwargs)

    def listed(self):
        if self == victim:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real_iter(self)

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(Path, "iterdir", listed)


def test_missing_rights_of_file_and_folder(tmp_path, monkeypatch):
    file = tmp_path / "a.nii"
    file.write_bytes(header() + VOXELS)
    refuse(monkeypatch, file)
    with pytest.raises(FormatError, match=r"reading is not permitted; .* chmod u\+r 'a\.nii'"):
        read_image(file)
    refuse(monkeypatch, tmp_path)
    with pytest.raises(LayoutError, match=r"reading is not permitted"):
        Cohort.open(tmp_path)


def test_an_empty_folder_and_a_missing_one(tmp_path):
    with pytest.raises(LayoutError, match=r"an empty folder; nnU-Net .* CSV is needed.*subject,flair,label") as caught:
        Cohort.open(tmp_path)
    assert caught.value.exit_code == 3
    (tmp_path / "Dataset").mkdir()
    with pytest.raises(
        LayoutError, match=r"there is no such file; a folder or a CSV is needed here.* Did you mean 'Dataset'"
    ):
        Cohort.open(tmp_path / "Datset")


def test_channels_of_a_case_that_are_not_there(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(header() + VOXELS)
    with pytest.raises(DataError, match=r"case P1: a\.nii holds 1 channel; 2 are needed \(flair, t1\)"):
        read_channels(Case("P1", "P1", {"flair": path, "t1": path}))


def test_spaces_and_accents_in_every_part_of_a_path(tmp_path):
    folder = tmp_path / "Études – IRM (2024) ñ" / "mes données"
    folder.mkdir(parents=True)
    for name in ("Zoë Müller flair", "Zoë Müller mask"):
        nib.save(nib.Nifti1Image(np.ones((4, 5, 6), np.uint8), np.eye(4)), folder / f"{name}.nii.gz")
    cohort = Cohort.open(folder)
    assert cohort.cases[0].name == "Zoë Müller" and cohort.channels == ("flair",)
    cohort.write_csv(folder / "à moi.csv")
    again = Cohort.open(folder / "à moi.csv")
    assert again.cases == cohort.cases and read_label(again.cases[0].label).values() == (1,)


@pytest.mark.parametrize("seed", range(3))
def test_a_copy_that_stopped_anywhere_is_noticed(tmp_path, seed):
    rng = np.random.default_rng(seed)
    nib.save(nib.Nifti1Image(rng.normal(size=(8, 8, 8)).astype(np.float32), np.eye(4)), tmp_path / "a.nii.gz")
    data = (tmp_path / "a.nii.gz").read_bytes()
    for size in rng.integers(0, len(data), 25):
        (tmp_path / "b.nii.gz").write_bytes(data[:size])
        with pytest.raises(StriateError, match=r"b\.nii\.gz: "):
            read_image(tmp_path / "b.nii.gz")
    shutil.rmtree(tmp_path)
