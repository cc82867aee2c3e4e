"""NPZ: ``array`` (C, I, J, K) or (C, I, J) and ``affine``; an archive of one bare array is understood too."""

from __future__ import annotations

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import FormatError, expected
from striate.core.geometry import Affine, valid_affine
from striate.core.image import Grid, Image
from striate.io.formats.content import kind_of, opening, refuse_axes, refuse_impossible
from striate.io.formats.format import Header

_KEYS = ("array", "image", "data", "img", "label", "mask", "seg", "arr_0")


class Npz:
    """NumPy archives."""

    name = "npz"
    extensions = (".npz",)
    lossy = False

    def read_header(self, path: Path, *, stack: int = 0) -> Header:
        """Read what the file says of itself."""
        with _archive(path) as archive:
            key, shape, dtype = _main(archive, path)
            affine = _affine(archive, path)
        _, channels, spatial = _order(key, shape, stack, path)
        return Header(Grid(spatial, affine), channels, dtype.name, self.name, path.stat().st_size)

    def read(self, path: Path, *, stack: int = 0, labels: bool = False) -> Image:
        """Read the array."""
        with _archive(path) as archive:
            key, shape, dtype = _main(archive, path)
            refuse_impossible(path, shape, math.prod(shape) * dtype.itemsize, packed=True)
            order, _, _ = _order(key, shape, stack, path)
            array = _load(archive, key, path)
            affine = _affine(archive, path)
        array = array[None] if order == "add" else np.moveaxis(array, -1, 0) if order == "last" else array
        meta = {"format": self.name, "path": str(path), "dtype": array.dtype.name, "notes": []}
        return Image(array.astype(array.dtype.newbyteorder("="), copy=False), affine, meta)

    def write(self, path: Path, array: NDArray[Any], affine: Affine) -> None:
        """Write ``array`` and ``affine``, deflated."""
        with path.open("wb") as stream:
            np.savez_compressed(stream, array=array, affine=np.asarray(affine))


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the ZIP archive of an NPZ file, with a sentence for what is wrong with it."""
    with opening(path) as stream:
        head = stream.read(400)
        try:
            archive = zipfile.ZipFile(stream)
        except (zipfile.BadZipFile, EOFError, ValueError) as error:
            got = f"a truncated or damaged archive ({error})" if head[:2] == b"PK" else f"it holds {kind_of(head)}"
            raise FormatError(
                expected(path, got, "a whole NPZ archive is needed", "Save it again."), path=path
            ) from error
        with archive:
            yield archive


def _describe(archive: zipfile.ZipFile, key: str, path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of one array, without its numbers; the announced size is checked against the archive's."""
    try:
        with archive.open(f"{key}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(stream)
    except (ValueError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise FormatError(
            expected(path, f"array '{key}' is damaged ({error})", "a NumPy array is needed"), path=path
        ) from error
    if dtype.kind not in "biuf":
        raise FormatError(expected(path, f"array '{key}' of type {dtype}", "real numbers are needed"), path=path)
    needed = math.prod(shape) * dtype.itemsize
    if needed > archive.getinfo(f"{key}.npy").file_size:
        raise FormatError(
            expected(path, f"array '{key}' announces shape {shape} ({needed} bytes), the archive has"
                     f" {archive.getinfo(f'{key}.npy').file_size} bytes of it", "the whole array is needed"), path=path,
        )  # fmt: skip
    refuse_impossible(path, shape, needed, packed=True, held=False)
    return shape, dtype


def _main(archive: zipfile.ZipFile, path: Path) -> tuple[str, tuple[int, ...], np.dtype[Any]]:
    names = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
    others = [n for n in names if n not in ("affine", "spacing_mm")]
    key = next((k for k in _KEYS if k in others), others[0] if len(others) == 1 else None)
    if key is None:
        raise FormatError(
            expected(
                path,
                f"arrays named {', '.join(names) or 'nothing'}",
                "an array named 'array' (channels first) is needed",
            ),
            path=path,
        )
    shape, dtype = _describe(archive, key, path)
    return key, shape, dtype


def _load(archive: zipfile.ZipFile, key: str, path: Path) -> NDArray[Any]:
    try:
        with archive.open(f"{key}.npy") as stream:
            return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
    except (ValueError, EOFError, zlib.error, zipfile.BadZipFile, OSError) as error:
        raise FormatError(
            expected(path, f"array '{key}' is damaged ({error})", "a NumPy array is needed"), path=path
        ) from error


def _affine(archive: zipfile.ZipFile, path: Path) -> Affine:
    if "affine.npy" not in archive.namelist():
        return valid_affine(np.eye(4))
    _describe(archive, "affine", path)
    return valid_affine(_load(archive, "affine", path), path)


def _order(key: str, shape: tuple[int, ...], stack: int, path: Path) -> tuple[str, int, tuple[int, ...]]:
    """Say where the channels are: ``first`` (ours), ``last`` (asked for) or ``add`` (there is none)."""
    if min(shape, default=0) < 1:
        raise FormatError(
            expected(path, f"array '{key}' of shape {shape}", "at least one voxel along each axis is needed"), path=path
        )
    if key == "array" and len(shape) in (3, 4):
        return "first", shape[0], shape[1:]
    if stack and len(shape) in (3, 4):
        return "last", shape[-1], shape[:-1]
    if len(shape) in (2, 3):
        return "add", 1, shape
    raise refuse_axes(path, shape)
