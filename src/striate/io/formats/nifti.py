"""NIfTI-1 and NIfTI-2 (``.nii``, ``.nii.gz``): the header by nibabel, the voxels straight into one buffer.

Definition: https://nifti.nimh.nih.gov/nifti-1. World coordinates are RAS+ mm. The affine is the sform where its code is
positive, else the qform, else the voxel sizes (nibabel's order). Numbers are those after ``scl_slope`` and ``scl_inter``.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import FormatError, GeometryError, UsageError, expected
from striate.core.geometry import Affine, valid_affine
from striate.core.image import Grid, Image
from striate.io.formats.content import kind_of, opening, refuse_axes, refuse_impossible
from striate.io.formats.format import Header
from striate.io.formats.gzip_stream import Bytes

HEADER_BYTES = {348: 1, 540: 2}
_SCALE_TO_MM = {1: 1000.0, 3: 0.001}
_UNITS = {1: "metres", 3: "micrometres"}


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A checked NIfTI header."""

    shape: tuple[int, ...]
    affine: Affine
    dtype: np.dtype[Any]
    offset: int
    slope: float
    inter: float
    notes: tuple[str, ...]

    @property
    def needed_bytes(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.shape) * self.dtype.itemsize


class Nifti:
    """NIfTI files."""

    name = "nifti"
    extensions = (".nii", ".nii.gz")
    lossy = False

    def read_header(self, path: Path, *, stack: int = 0) -> Header:
        """Read what the file says of itself."""
        with opening(path) as stream:
            source = Bytes(stream, path)
            parsed = _parse(source.take(540), path)
        size = refuse_impossible(
            path, parsed.shape, parsed.needed_bytes, packed=source.packed, offset=parsed.offset, held=False
        )
        spatial, channels = _axes(parsed, path, stack)
        return Header(Grid(spatial, parsed.affine), channels, _base(parsed.dtype).name, self.name, size)

    def read(self, path: Path, *, stack: int = 0, labels: bool = False) -> Image:
        """Read the voxels; whole numbers stay whole where no scaling is set, else float32 (float64 for 32-bit numbers)."""
        with opening(path) as stream:
            source = Bytes(stream, path)
            head = source.take(540)
            parsed = _parse(head, path)
            refuse_impossible(path, parsed.shape, parsed.needed_bytes, packed=source.packed, offset=parsed.offset)
            spatial, channels = _axes(parsed, path, stack)
            buffer = np.empty(parsed.needed_bytes, dtype=np.uint8)
            _fill(buffer, source, head, parsed, path)
            source.finish()
        stored: NDArray[Any] = buffer.view(parsed.dtype)
        if parsed.dtype.names:
            stored = stored.view(np.uint8).reshape(len(parsed.dtype.names), -1, order="F")
            array = np.stack([plane.reshape(spatial, order="F") for plane in stored[:3]])
        else:
            array = np.moveaxis(stored.reshape((*spatial, channels), order="F"), -1, 0)
        meta = {"format": self.name, "path": str(path), "dtype": parsed.dtype.name, "notes": list(parsed.notes)}
        return Image(_scaled(array, parsed), parsed.affine, meta)

    def write(self, path: Path, array: NDArray[Any], affine: Affine) -> None:
        """Write NIfTI-1 (NIfTI-2 where an axis exceeds 32767 voxels), sform and qform set, bytes that depend on nothing else.

        Channels become the fourth axis. The affine is stored in float32, as the format has it.
        """
        stored = _storable(array)
        if stored.shape[0] == 1:
            stored = stored[0]
        elif stored.ndim == 3:
            raise UsageError(
                f"{path}: {stored.shape[0]} channels of a 2D picture cannot be told from slices in NIfTI; write PNG, TIFF or NPZ."
            )
        else:
            stored = np.moveaxis(stored, 0, -1)
        packed = path.name.lower().endswith(".gz")
        level = 1 if stored.dtype.kind == "f" else 4
        squeeze = zlib.compressobj(level, zlib.DEFLATED, wbits=31)
        with path.open("wb") as stream:
            head = _header_bytes(stored, affine)
            stream.write(squeeze.compress(head) if packed else head)
            for start in range(0, stored.shape[-1], _slices(stored)):
                piece = stored[..., start : start + _slices(stored)].tobytes(order="F")
                stream.write(squeeze.compress(piece) if packed else piece)
            if packed:
                stream.write(squeeze.flush())


def _slices(array: NDArray[Any]) -> int:
    """Number of last-axis slices that make about 16 MB."""
    return int(max(1, (1 << 24) * array.shape[-1] // max(1, array.nbytes)))


def _parse(head: bytes, path: Path) -> _Parsed:
    import nibabel as nib
    from nibabel.spatialimages import HeaderDataError

    order, version = _order_and_version(head, path)
    kind = nib.Nifti1Header if version == 1 else nib.Nifti2Header
    header = kind(head[: 348 if version == 1 else 540], endianness=order, check=False)
    shape = _shape(header, path)
    try:
        dtype = np.dtype(header.get_data_dtype())
        slope, inter = header.get_slope_inter()
    except (HeaderDataError, KeyError, TypeError) as error:
        code = f"datatype {int(header['datatype'])}, {error}"
        raise FormatError(
            expected(path, f"NIfTI header with a fault ({code})", "a valid header is needed"), path=path
        ) from error
    if dtype.kind not in "iufV" or dtype.itemsize == 0:
        raise FormatError(
            expected(path, f"numbers of type {dtype}", "real numbers are needed", "Save magnitude and phase apart."),
            path=path,
        )
    offset = float(header["vox_offset"]) or (352.0 if version == 1 else 544.0)
    if not math.isfinite(offset) or not 348 <= offset < 1 << 40:
        raise FormatError(
            expected(path, f"vox_offset {offset}", "the byte where the voxels start is needed (352)"), path=path
        )
    notes: list[str] = []
    affine = _affine(header, shape, path, notes)
    return _Parsed(shape, affine, dtype, int(offset), 1.0 if slope is None else slope, inter or 0.0, tuple(notes))


def _order_and_version(head: bytes, path: Path) -> tuple[str, int]:
    """Return byte order and version of a NIfTI header, or explain what the file is instead."""
    order = version = None
    if len(head) >= 348:
        for sign in "<>":
            size = int(np.frombuffer(head, dtype=f"{sign}i4", count=1)[0])
            if size in HEADER_BYTES and len(head) >= size:
                order, version = sign, HEADER_BYTES[size]
    if order is None or version is None:
        raise FormatError(
            expected(path, f"it holds {kind_of(head)}", "a NIfTI header (348 or 540 bytes) is needed",
                     "Give the file its right ending, or export it again as NIfTI."), path=path,
        )  # fmt: skip
    magic = head[344:348] if version == 1 else head[4:8]
    if magic[:3] not in (b"n+1", b"n+2"):
        pair = magic[:3] in (b"ni1", b"ni2")
        got = "the header of a .hdr/.img pair" if pair else f"NIfTI magic {magic!r}"
        raise FormatError(
            expected(path, got, "one file with header and voxels is needed (magic 'n+1')", "Convert it to .nii.gz."),
            path=path,
        )
    return order, version


def _shape(header: Any, path: Path) -> tuple[int, ...]:
    dims = [int(n) for n in header["dim"]]
    if not 1 <= dims[0] <= 7:
        raise FormatError(expected(path, f"{dims[0]} axes in its header", "2 or 3 axes of space are needed"), path=path)
    shape = tuple(dims[1 : dims[0] + 1])
    if min(shape) < 1:
        text = " × ".join(str(n) for n in shape)
        raise FormatError(
            expected(path, f"an axis without voxels ({text})", "at least one voxel along each axis is needed",
                     "The export was not finished: repeat it."), path=path,
        )  # fmt: skip
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) < 2:
        raise refuse_axes(path, shape)
    return shape


def _affine(header: Any, shape: tuple[int, ...], path: Path, notes: list[str]) -> Affine:
    from nibabel.spatialimages import HeaderDataError

    try:
        with np.errstate(all="ignore"):
            affine = np.array(header.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        raise GeometryError(
            expected(path, f"its header places the voxels nowhere ({error})", "a valid qform or sform is needed",
                     "Repair the header with the tool that wrote the file."), path=path,
        ) from error  # fmt: skip
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        notes.append(
            "the header has no orientation (sform and qform codes are 0): left and right are assumed, not known"
        )
    if len(shape) == 2 and np.isfinite(affine).all() and not affine[:3, 2].any():
        affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1])
    unit = int(header["xyzt_units"]) & 7
    if unit in _SCALE_TO_MM:
        affine[:3] *= _SCALE_TO_MM[unit]
        notes.append(f"the header gives lengths in {_UNITS[unit]}; they were turned into millimetres")
    return valid_affine(affine, path)


def _base(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.uint8) if dtype.names else dtype.newbyteorder("=")


def _axes(parsed: _Parsed, path: Path, stack: int) -> tuple[tuple[int, ...], int]:
    """Split the shape into axes of space and a number of channels."""
    shape = parsed.shape
    if len(shape) == 5 and shape[3] == 1:
        shape = (*shape[:3], shape[4])
    if parsed.dtype.names and len(shape) <= 3:
        return shape, 3
    if len(shape) == 4 and stack:
        return shape[:3], shape[3]
    if len(shape) > 3:
        raise refuse_axes(path, parsed.shape)
    return shape, 1


def _fill(buffer: NDArray[np.uint8], source: Bytes, head: bytes, parsed: _Parsed, path: Path) -> None:
    """Fill `buffer` with the voxels' bytes; `head` holds what was read of the file already."""
    early = head[parsed.offset :][: buffer.size]
    buffer[: len(early)] = np.frombuffer(early, dtype=np.uint8)
    for start in range(len(head), parsed.offset, 1 << 20):
        source.take(min(1 << 20, parsed.offset - start))
    done = len(early) + source.fill(buffer.data[len(early) :])
    if done < buffer.size:
        raise FormatError(
            expected(path, f"{done} of {buffer.size} bytes of voxels", "the whole file is needed; this one is truncated",
                     "Copy or export it again."), path=path,
        )  # fmt: skip


def _scaled(array: NDArray[Any], parsed: _Parsed) -> NDArray[Any]:
    """Return native-endian numbers after slope and intercept; the memory order of the file is kept."""
    plain = (parsed.slope, parsed.inter) == (1.0, 0.0) or parsed.dtype.names
    if plain:
        native = array.dtype.newbyteorder("=")
        wide = native.kind == "f" and native.itemsize > 8
        return array.astype(np.float64 if wide else native, order="K", copy=False)
    narrow = array.dtype.itemsize <= 2 or (array.dtype.itemsize == 4 and array.dtype.kind == "f")
    scaled: NDArray[Any] = array.astype(np.float32 if narrow else np.float64, order="K")
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite then is told where images are used
        np.multiply(scaled, parsed.slope, out=scaled)
        np.add(scaled, parsed.inter, out=scaled)
    return scaled


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` in a type that NIfTI and its readers know."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        return array.astype(np.float64 if array.dtype.itemsize >= 8 else np.float32, copy=False)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        low, high = int(array.min()), int(array.max())
        for kind in (np.int32, np.uint32):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return array.astype(kind)
    if array.dtype.kind not in "iu":
        raise UsageError(f"an array of type {array.dtype} cannot be written as NIfTI; real numbers are needed.")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _header_bytes(array: NDArray[Any], affine: Affine) -> bytes:
    import nibabel as nib

    header = nib.Nifti1Header() if max(array.shape) <= 32767 else nib.Nifti2Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_xyzt_units("mm")
    header.set_sform(affine, code="scanner")
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    rigid = bool(np.allclose(cosines.T @ cosines, np.eye(3), atol=1e-4))
    header.set_qform(affine, code="scanner" if rigid else "unknown", strip_shears=True)
    start = 352 if header.sizeof_hdr == 348 else 544
    header["vox_offset"] = start
    header["descrip"] = b"Striate"
    return bytes(header.binaryblock).ljust(start, b"\0")
