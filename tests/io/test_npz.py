"""NPZ: ours with channels and affine, others' with one bare array."""

import zipfile

import numpy as np
import pytest

from striate.core.errors import FormatError
from striate.core.image import Image
from striate.io.read import read_header, read_image, read_label
from striate.io.write import write_image

AFFINE = np.array([[0, -1.3, 0, 5], [0.7, 0, 0, -3], [0, 0.1, 2, 9.123456789], [0, 0, 0, 1]])


@pytest.mark.parametrize("shape", [(1, 4, 5, 6), (3, 4, 5, 6), (1, 4, 5), (3, 4, 5)])
def test_array_and_affine_come_back_exactly(tmp_path, shape):
    array = np.random.default_rng(0).normal(size=shape)
    write_image(tmp_path / "a.npz", Image(array, AFFINE))
    image, header = read_image(tmp_path / "a.npz"), read_header(tmp_path / "a.npz")
    assert np.array_equal(image.array, array) and np.array_equal(image.affine, AFFINE)
    assert (header.channels, header.grid.shape, header.dtype) == (shape[0], shape[1:], "float64")


def test_a_bare_array_is_one_channel(tmp_path):
    np.savez(tmp_path / "a.npz", scan=np.ones((4, 5, 6), np.int16))
    assert read_image(tmp_path / "a.npz").array.shape == (1, 4, 5, 6)
    np.savez(tmp_path / "b.npz", mask=np.array([[0, 1], [1, 0]]))
    assert read_label(tmp_path / "b.npz").array.shape == (2, 2)


def test_channels_last_when_asked(tmp_path):
    np.savez(tmp_path / "a.npz", image=np.zeros((4, 5, 6, 2)))
    assert read_image(tmp_path / "a.npz", stack=True).array.shape == (2, 4, 5, 6)
    with pytest.raises(FormatError, match=r"4 axes \(4 × 5 × 6 × 2\)"):
        read_image(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": np.zeros(3), "b": np.zeros(3)}, r"arrays named a, b; an array named 'array'"),
        ({"array": np.array(["x", "y"])}, r"array 'array' of type <U1; real numbers"),
        ({"array": np.array([{1: 2}], dtype=object)}, r"of type object; real numbers"),
        ({"array": np.zeros((1, 0, 3))}, r"shape \(1, 0, 3\); at least one voxel"),
        ({}, r"arrays named nothing"),
    ],
)
def test_what_is_not_an_image_is_explained(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FormatError, match=words):
        read_image(tmp_path / "a.npz")


def test_an_announced_size_that_is_not_there_is_refused_before_allocating(tmp_path):
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 10000, 10000, 10000), }"
    head = head.ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("array.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + b"\0" * 64)
    with pytest.raises(FormatError, match=r"announces shape \(1, 10000, 10000, 10000\) \(8000000000000 bytes\)"):
        read_image(tmp_path / "a.npz")
