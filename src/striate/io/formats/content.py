"""What a file really holds: opening with a clear sentence, naming wrong content, refusing impossible sizes."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from striate.core.counted import counted
from striate.core.errors import FormatError, MemoryLimitError, StriateError, expected
from striate.core.machine import memory_available_bytes, show_bytes
from striate.core.names import nearest

DEFLATE_LIMIT = 1032
"""Deflate cannot pack better than 1032 : 1 (zlib technical details, zlib.net/zlib_tech.html)."""

ALWAYS_TRIED_BYTES = 1 << 28
ONE_AT_A_TIME = threading.RLock()
"""Held where what belongs to the whole process is changed for a while: Python's filters of warnings, limits of packages."""

_MAGIC = (
    (b"\x1f\x8b", "gzip data"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"NRRD", "an NRRD image"),
    (b"ObjectType", "a MetaImage header"),
    (b"\x89HDF", "HDF5 data"),
    (b"%PDF", "a PDF document"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself (run: git lfs pull)"),
)


def kind_of(head: bytes) -> str:
    """Say in words what a file is that starts with `head` (give at least 400 bytes where there are that many)."""
    if not head:
        return "an empty file (0 bytes)"
    for magic, words in _MAGIC:
        if head.startswith(magic):
            return words
    if head[128:132] == b"DICM":
        return "a DICOM file (which has no ending, or .dcm)"
    if head[344:347] in (b"n+1", b"ni1"):
        return "a NIfTI image"
    if all(byte >= 32 or byte in (9, 10, 13) for byte in head[:200]):
        with contextlib.suppress(UnicodeDecodeError):
            text = " ".join(head[:200].decode("utf-8", errors="strict").split())[:40]
            return f"text ('{text}…')"
    return f"unknown data (first bytes {head[:4].hex(' ')})"


def is_folder(path: Path) -> bool:
    """Tell whether a folder is there; also of a name that no system takes."""
    with contextlib.suppress(OSError, ValueError):
        return Path(path).is_dir()
    return False


def head_of(path: Path) -> bytes:
    """Return the first 400 bytes of a file."""
    with opening(path) as stream:
        return stream.read(400)


@contextlib.contextmanager
def opening(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading bytes.

    Raises
    ------
    FormatError
        When it does not exist (with the nearest name beside it), is a folder, a loop of links, or not permitted.
    """
    try:
        with Path(path).open("rb") as stream:
            yield stream
    except OSError as error:
        raise explain(error, path) from error


def explain(error: OSError, path: Path) -> StriateError:
    """Turn an operating system's error about `path` into a sentence."""
    if error.errno == errno.ENOENT:
        return FormatError(
            expected(path, "there is no such file", "an image file is needed here", _beside(path)), path=path
        )
    if error.errno == errno.EISDIR:
        return FormatError(expected(path, "this is a folder", "an image file is needed here"), path=path)
    if error.errno in (errno.EACCES, errno.EPERM):
        return FormatError(
            expected(path, "reading is not permitted", "a file that you may read is needed",
                     f"Ask its owner, or: chmod u+r '{Path(path).name}'"), path=path,
        )  # fmt: skip
    if error.errno == errno.ELOOP:
        return FormatError(
            expected(path, "a loop of symbolic links", "a link that ends at a file is needed", "Make the link anew."),
            path=path,
        )
    if error.errno == errno.ENAMETOOLONG:
        return FormatError(
            expected(f"{str(path)[:60]}…", "the name is too long", "an image file is needed here"), path=path
        )
    if error.errno == errno.ENOTDIR:
        return FormatError(expected(path, "a part of this path is a file", "an image file is needed here"), path=path)
    return FormatError(
        expected(path, f"reading failed ({error.strerror or error})", "a readable file is needed"), path=path
    )


def _beside(path: Path) -> str:
    """Return a hint naming the file in the same folder that looks most like `path`."""
    path = Path(path)
    if path.is_symlink():
        return f"It is a link to {path.readlink()}, which is missing."
    try:
        names = [p.name for p in path.parent.iterdir()]
    except OSError:
        return f"Its folder {path.parent} does not exist either."
    best = nearest(path.name, names)
    others = counted(len(names), "other entry", "other entries")
    return f"Did you mean '{best}'?" if best else f"Its folder {path.parent} holds {others}."


def refuse_impossible(
    path: Path, shape: tuple[int, ...], needed_bytes: int, *, packed: bool, offset: int = 0, held: bool = True
) -> int:
    """Refuse a header whose voxels cannot be in the file or in memory, before anything is allocated.

    Parameters
    ----------
    path
        The file.
    shape
        What its header says, for the message.
    needed_bytes
        Bytes of all voxels.
    packed
        True where the file is compressed by deflate.
    offset
        Bytes before the voxels.
    held
        Whether they will be held in memory.

    Returns
    -------
    int
        Size of the file in bytes.

    Raises
    ------
    FormatError
        When the file is too small to hold the voxels.
    MemoryLimitError
        When they do not fit into the memory that is free.
    """
    try:
        size = Path(path).stat().st_size
    except OSError as error:
        raise explain(error, path) from error
    most = size * DEFLATE_LIMIT if packed else size
    if needed_bytes + offset > most:
        text = " × ".join(str(n) for n in shape)
        raise FormatError(
            expected(path, f"its header announces {text} voxels ({show_bytes(needed_bytes)}), the file has {show_bytes(size)}",
                     "header and voxels must fit together; the file is truncated or its header is wrong",
                     "Copy or export it again."), path=path,
        )  # fmt: skip
    if held:
        refuse_unheld(path, needed_bytes)
    return size


def refuse_unheld(path: Path, needed_bytes: int) -> None:
    """Refuse voxels that do not fit into the memory that is free.

    Raises
    ------
    MemoryLimitError
        With what is needed and free.
    """
    if needed_bytes > ALWAYS_TRIED_BYTES and needed_bytes > memory_available_bytes():
        raise MemoryLimitError(
            expected(path, f"its voxels need {show_bytes(needed_bytes)} of memory",
                     f"{show_bytes(memory_available_bytes())} are free", "Crop or resample the image, or use a bigger machine."),
            path=path,
        )  # fmt: skip


def refuse_axes(path: Path, shape: tuple[int, ...], why: str = "") -> FormatError:
    """Return the error for an array with too many or too few axes."""
    text = " × ".join(str(n) for n in shape)
    want = why or (
        "one 3D volume (or a 2D picture) is needed; a time series or a stack of channels is not taken for one"
    )
    hint = "Split it into one file per volume, or, if its last axis holds channels, name it in a CSV once for each"
    hint += " (in Python: stack=True)."
    return FormatError(expected(path, f"{counted(len(shape), 'axis', 'axes')} ({text})", want, hint), path=path)
