"""IDX: the arrays of bytes in which MNIST is kept; not a format of medical images, so it stands in no table.

Definition: yann.lecun.com/exdb/mnist. Two zero bytes, type (8: unsigned byte), number of axes N, N sizes of 32 bits
(big-endian), then the bytes, last axis fastest; the whole often packed by gzip.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.core.counted import counted
from striate.core.errors import FormatError, expected
from striate.io.formats.content import head_of, kind_of, opening, refuse_impossible
from striate.io.formats.gzip_stream import Bytes

BYTE = 8
"""Code of unsigned bytes."""


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Read an array of bytes with `axes` axes (3 for images (N, rows, columns), 1 for their labels), gzip or not.

    Raises
    ------
    FormatError
        When it is another file, of another type or number of axes, truncated, or longer than its header says.
    MemoryLimitError
        When it does not fit into the memory that is free; nothing has been allocated then.
    """
    path = Path(path)
    with opening(path) as stream:
        source = Bytes(stream, path)
        head = source.take(4)
        if head != bytes((0, 0, BYTE, axes)):
            want = f"IDX with unsigned bytes and {counted(axes, 'axis', 'axes')} is needed"
            raise FormatError(expected(path, _got(head, path), want), path=path)
        sizes = source.take(4 * axes)
        if len(sizes) < 4 * axes:
            raise FormatError(
                expected(path, f"a header of {4 + len(sizes)} bytes", f"{4 + 4 * axes} are needed; it is truncated"), path=path
            )  # fmt: skip
        shape = struct.unpack(f">{axes}I", sizes)
        refuse_impossible(path, shape, math.prod(shape), packed=source.packed, offset=4 + 4 * axes)
        array = np.empty(shape, dtype=np.uint8)
        done = source.fill(array.reshape(-1).data) if array.size else 0
        if done < array.size or source.take(1):
            got = (
                f"{done} of {counted(array.size, 'byte')} after its header"
                if done < array.size
                else "more bytes than its header says"
            )
            raise FormatError(expected(path, got, "a whole file is needed", "Copy or download it again."), path=path)
    return array


def _got(head: bytes, path: Path) -> str:
    if len(head) == 4 and head[:2] == b"\0\0":
        return f"IDX of type {head[2]} with {counted(head[3], 'axis', 'axes')}"
    return f"it holds {kind_of(head_of(path))}"
