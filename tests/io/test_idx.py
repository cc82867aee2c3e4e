"""IDX files: read as written, or refused with a sentence before anything is allocated."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from striate.core.errors import DataError, FormatError, MemoryLimitError
from striate.io.formats.idx import read_idx

UNASKED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def packed(array):
    """Write an array as the definition says: two zeros, type 8, axes, sizes, bytes."""
    return bytes((0, 0, 8, array.ndim)) + b"".join(struct.pack(">I", n) for n in array.shape) + array.tobytes()


@pytest.mark.parametrize("shape", [(7,), (3, 5, 4)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_was_written_comes_back(tmp_path, shape, pack):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    (tmp_path / "x").write_bytes(pack(packed(array)))
    assert np.array_equal(read_idx(tmp_path / "x", len(shape)), array)


IMAGES = packed(np.zeros((2, 3, 4), np.uint8))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"it holds an empty file \(0 bytes\); IDX with unsigned bytes and 3 axes is needed"),
        (b"\x89PNG\r\n", r"it holds a PNG picture"),
        (packed(np.zeros(5, np.uint8)), r"IDX of type 8 with 1 axis; IDX with unsigned bytes and 3 axes"),
        (b"\0\0\x0d\x03" + IMAGES[4:], r"IDX of type 13 with 3 axes"),
        (IMAGES[:9], r"a header of 9 bytes; 16 are needed"),
        (IMAGES[:-1], r"its header announces 2 × 3 × 4 voxels"),
        (IMAGES + b"\0", r"more bytes than its header says; a whole file is needed"),
        (gzip.compress(IMAGES + b"\0", mtime=0), r"more bytes than its header says"),
        (gzip.compress(IMAGES[:-1], mtime=0), r"23 of 24 bytes after its header"),
        (gzip.compress(IMAGES, mtime=0)[:-6], r"gzip data end too early"),
    ],
)
def test_what_is_refused(tmp_path, data, words):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(FormatError, match=words):
        read_idx(tmp_path / "x", 3)


def test_a_header_of_a_million_millions_allocates_nothing(tmp_path):
    import tracemalloc

    (tmp_path / "x").write_bytes(bytes((0, 0, 8, 3)) + struct.pack(">III", 10_000, 10_000, 10_000) + bytes(100))
    (tmp_path / "x.gz").write_bytes(gzip.compress((tmp_path / "x").read_bytes(), mtime=0))
    tracemalloc.start()
    for name in ("x", "x.gz"):
        with pytest.raises(FormatError, match=r"announces 10000 × 10000 × 10000 voxels"):
            read_idx(tmp_path / name, 3)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


@settings(max_examples=200, deadline=None, suppress_health_check=UNASKED)
@given(head=st.binary(max_size=16), body=st.binary(max_size=30), keep=st.booleans(), zipped=st.booleans())
def test_random_headers(tmp_path, head, body, keep, zipped):
    data = (bytes((0, 0, 8, 3)) if keep else b"") + head + body
    path = tmp_path / "f"
    path.write_bytes(gzip.compress(data, mtime=0) if zipped else data)
    said, back = str(path), data
    try:
        back = packed(read_idx(path, 3))
    except (DataError, MemoryLimitError) as error:
        said = str(error)
    assert said.startswith(str(path)) and back == data
