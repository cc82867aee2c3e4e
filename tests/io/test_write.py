"""Writing leaves a whole file or none."""

import errno
from pathlib import Path

import numpy as np
import pytest

from striate.core.errors import DiskFullError, FormatError
from striate.core.image import Image, LabelMap
from striate.io.read import read_label
from striate.io.write import write_image, write_label

IMAGE = Image(np.ones((1, 4, 5, 6), np.float32), np.eye(4))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, name):
    class Full:
        def __init__(self, stream):
            self.stream = stream

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            self.stream.close()

        def write(self, data):
            self.stream.write(data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

    real = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda self, mode="r", *a, **k: Full(real(self, mode)) if "w" in mode else real(self, mode, *a, **k),
    )
    with pytest.raises(DiskFullError, match=r"the disk is full; .*nothing was left half-written") as caught:
        write_image(tmp_path / name, IMAGE)
    assert caught.value.exit_code == 5 and not list(tmp_path.iterdir())


def test_what_was_there_stays_when_writing_fails(tmp_path):
    write_label(tmp_path / "a.nii.gz", LabelMap(np.ones((4, 5, 6), np.uint8), np.eye(4)))
    with pytest.raises(Exception, match="cannot be written as NIfTI"):
        write_image(tmp_path / "a.nii.gz", Image(np.ones((1, 4, 5, 6), np.complex64), np.eye(4)))
    assert read_label(tmp_path / "a.nii.gz").values() == (1,)
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


def test_an_unknown_ending_and_a_place_that_is_a_file(tmp_path):
    with pytest.raises(FormatError, match=r"ending '\.bmp'; one image file is needed \(\.nii, \.nii\.gz, \.png"):
        write_image(tmp_path / "a.bmp", IMAGE)
    (tmp_path / "file").write_text("x")
    with pytest.raises(Exception, match=r"file"):
        write_image(tmp_path / "file" / "a.nii", IMAGE)
    write_image(tmp_path / "new" / "er" / "a.nii", IMAGE)
    assert (tmp_path / "new" / "er" / "a.nii").is_file()


@pytest.mark.parametrize(("top", "kind"), [(1, "u1"), (255, "u1"), (256, "u2"), (65536, "u4")])
def test_labels_take_the_smallest_type(tmp_path, top, kind):
    import nibabel as nib

    write_label(tmp_path / "a.nii.gz", LabelMap(np.full((4, 5, 6), top, np.int64), np.eye(4)))
    assert nib.load(tmp_path / "a.nii.gz").get_data_dtype() == np.dtype(kind)
