"""NRRD and MetaImage through SimpleITK (``striate[itk]``); ITK's LPS+ millimetres become RAS+."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import FormatError, StriateError, UsageError, expected
from striate.core.geometry import LPS, Affine, valid_affine
from striate.core.image import Grid, Image
from striate.core.optional import require
from striate.io.formats.content import head_of, kind_of, refuse_axes, refuse_impossible
from striate.io.formats.format import Header

_STARTS = {
    ".nrrd": (b"NRRD",),
    ".nhdr": (b"NRRD",),
    ".mha": (b"ObjectType", b"NDims", b"Comment", b"DimSize"),
    ".mhd": (b"ObjectType", b"NDims", b"Comment", b"DimSize"),
}


class Itk:
    """What SimpleITK reads and writes besides NIfTI."""

    name = "itk"
    extensions = (".nrrd", ".nhdr", ".mha", ".mhd")
    lossy = False

    def read_header(self, path: Path, *, stack: int = 0) -> Header:
        """Read what the file says of itself."""
        header, _ = _header(path, stack, held=False)
        return header

    def read(self, path: Path, *, stack: int = 0, labels: bool = False) -> Image:
        """Read the voxels."""
        header, reader = _header(path, stack)
        try:
            volume = reader.Execute()
        except RuntimeError as error:
            raise _fault(path, error) from error
        sitk = _sitk()
        array = sitk.GetArrayFromImage(volume)
        vector = volume.GetNumberOfComponentsPerPixel() > 1
        planes = array if vector else array[..., None]
        array = planes.transpose(range(planes.ndim - 1, -1, -1))
        if array.ndim == 5:
            array = array[0].transpose(3, 0, 1, 2) if array.shape[0] == 1 else array
        meta = {"format": self.name, "path": str(path), "dtype": header.dtype, "notes": []}
        return Image(array, header.grid.affine, meta)

    def write(self, path: Path, array: NDArray[Any], affine: Affine) -> None:
        """Write one file, deflated; several channels become a vector image."""
        if path.suffix.lower() in (".mhd", ".nhdr"):
            raise UsageError(
                f"{path}: header and voxels in two files cannot be written whole or not at all; write .mha or .nrrd."
            )
        sitk = _sitk()
        stored = array.astype(np.uint8) if array.dtype.kind == "b" else array
        stored = stored.astype(np.float32) if stored.dtype == np.float16 else stored
        vector = stored.shape[0] > 1
        planes = stored.transpose(range(stored.ndim - 1, -1, -1))
        volume = sitk.GetImageFromArray(np.ascontiguousarray(planes if vector else planes[..., 0]), isVector=vector)
        dims = stored.ndim - 1
        place = (LPS @ affine)[:, [*range(dims), 3]]
        if dims == 2 and (place[:2, :2] == 0).all(axis=0).any():
            raise FormatError(
                expected(path, f"2D affine {np.asarray(affine).tolist()}", "a picture in the plane x, y is needed"),
                path=path,
            )
        spacing = np.linalg.norm(place[:dims, :dims], axis=0)
        volume.SetSpacing([float(v) for v in spacing])
        volume.SetOrigin([float(v) for v in place[:dims, dims]])
        try:
            volume.SetDirection([float(v) for v in (place[:dims, :dims] / spacing).ravel()])
            sitk.WriteImage(volume, str(path), useCompression=True)
        except RuntimeError as error:
            raise FormatError(
                expected(
                    path, f"SimpleITK cannot write it ({_short(error)})", "an affine with independent axes is needed"
                ),
                path=path,
            ) from error


def _sitk() -> Any:
    sitk = require("SimpleITK", "itk", "reading and writing NRRD and MetaImage")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    return sitk


def _header(path: Path, stack: int, *, held: bool = True) -> tuple[Header, Any]:
    sitk = _sitk()
    head = head_of(path)
    if not head.startswith(_STARTS[path.suffix.lower()]):
        raise FormatError(
            expected(path, f"it holds {kind_of(head)}", f"an image as its ending {path.suffix} promises is needed",
                     "Give the file its right ending, or export it again."), path=path,
        )  # fmt: skip
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _fault(path, error) from error
    shape, channels = tuple(reader.GetSize()), reader.GetNumberOfComponents()
    dtype = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if "complex" in dtype:
        raise FormatError(expected(path, f"numbers of type {dtype}", "real numbers are needed"), path=path)
    if min(shape) < 1 or len(shape) not in (2, 3):
        raise refuse_axes(path, shape)
    bits = next((int(b) for b in (64, 32, 16, 8) if f"{b}-bit" in dtype), 8)
    needed = math.prod(shape) * channels * bits // 8
    inside = path.suffix.lower() in (".nrrd", ".mha")
    size = refuse_impossible(path, shape, needed, packed=True, held=held) if inside else path.stat().st_size
    affine = np.eye(4)
    dims = len(shape)
    direction = np.array(reader.GetDirection()).reshape(dims, dims)
    affine[:dims, :dims] = direction * np.array(reader.GetSpacing())
    affine[:dims, 3] = reader.GetOrigin()
    grid = Grid(shape, valid_affine(LPS @ affine, path))
    return Header(grid, channels, _name(dtype), "itk", size), reader


def _name(words: str) -> str:
    """Turn ITK's ``16-bit signed integer`` into ``int16``."""
    bits = next((b for b in ("64", "32", "16", "8") if f"{b}-bit" in words), "")
    return f"float{bits}" if "float" in words else f"uint{bits}" if "unsigned" in words else f"int{bits}"


def _short(error: Exception) -> str:
    """Return the last sentence of an ITK message, which stands behind file names and addresses."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[-160:]


def _fault(path: Path, error: Exception) -> StriateError:
    return FormatError(
        expected(
            path,
            f"the file is truncated or damaged ({_short(error)})",
            "a whole image is needed",
            "Copy or export it again.",
        ),
        path=path,
    )
