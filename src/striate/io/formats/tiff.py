"""TIFF by tifffile (whole numbers of any width, float), with Pillow for compressions that tifffile leaves to others."""

from __future__ import annotations

import logging
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import FormatError, expected
from striate.core.geometry import Affine, valid_affine
from striate.core.image import Grid, Image
from striate.io.formats import natural, pillow
from striate.io.formats.content import kind_of, opening, refuse_impossible
from striate.io.formats.format import Header

_FAULTS = (
    ValueError, IndexError, KeyError, TypeError, AttributeError, OSError, EOFError, ArithmeticError, AssertionError,
    RuntimeError, struct.error, zlib.error,
)  # fmt: skip


class Tiff:
    """TIFF pictures."""

    name = "tiff"
    extensions = (".tif", ".tiff")
    lossy = False

    def read_header(self, path: Path, *, stack: int = 0) -> Header:
        """Read what the file says of itself."""
        page, size = self._page(path)
        width, height, channels, dtype, text, _ = page
        affine = natural.stored_affine(text)
        grid = Grid((width, height), valid_affine(np.eye(4)) if affine is None else affine)
        return Header(grid, {2: 1, 4: 4 if stack == 4 else 3}.get(channels, channels), dtype, self.name, size)

    def read(self, path: Path, *, stack: int = 0, labels: bool = False) -> Image:
        """Read the pixels as (C, columns, rows)."""
        notes: list[str] = []
        page, _ = self._page(path)
        _, _, channels, dtype, text, palette = page
        if palette and labels:
            notes.append("palette picture: its indices were taken as labels")
        rows = self._pixels(path, channels, dtype, palette and not labels, notes, labels)
        array = natural.from_rows(rows)
        array = array if stack == 4 == channels else natural.without_alpha(array, path, notes)
        array = natural.grey_labels(array, path, notes) if labels else array
        affine = natural.stored_affine(text)
        meta = {"format": self.name, "path": str(path), "dtype": array.dtype.name, "notes": notes}
        return Image(array, valid_affine(np.eye(4)) if affine is None else affine, meta)

    def write(self, path: Path, array: NDArray[Any], affine: Affine) -> None:
        """Write grey or RGB, deflated."""
        import tifffile

        rows = natural.picture(path, array, ("uint8", "uint16", "uint32", "int16", "int32", "float32", "float64"))
        tifffile.imwrite(
            path, rows, photometric="rgb" if rows.ndim == 3 else "minisblack", compression="zlib", metadata=None,
            description=natural.affine_text(affine), software="Striate",
        )  # fmt: skip

    def _page(self, path: Path) -> tuple[tuple[int, int, int, str, str, bool], int]:
        """Return width, height, channels, dtype, description and whether it has a palette; and the file's size."""
        import tifffile

        logging.getLogger("tifffile").setLevel(logging.CRITICAL)
        with opening(path) as stream:
            head = stream.read(400)
            stream.seek(0)
            try:
                with tifffile.TiffFile(stream, name=str(path)) as file:
                    pages = [p for p in file.pages if not getattr(p, "is_reduced", False)]
                    first = pages[0].aspage()
                    shape, dtype, count = first.shape, first.dtype, len(pages)
                    text, palette = first.description, first.photometric == tifffile.PHOTOMETRIC.PALETTE
                    planar = len(shape) == 3 and first.axes[0] == "S"
            except _FAULTS as error:
                got = f"it holds {kind_of(head)}" if head[:2] not in (b"II", b"MM") else f"damaged TIFF ({error})"
                raise FormatError(
                    expected(path, got, "a whole TIFF picture is needed", "Export it again."), path=path
                ) from error
        if count > 1:
            raise FormatError(
                expected(path, f"{count} pages in one file", "one picture is needed",
                         "Save a volume as NIfTI (.nii.gz), or each page as its own file."), path=path,
            )  # fmt: skip
        if dtype is None or dtype.kind not in "iufb" or len(shape) not in (2, 3) or min(shape) < 1:
            raise FormatError(
                expected(path, f"TIFF of shape {shape} and type {dtype}", "a grey or RGB picture is needed"), path=path
            )
        channels = 1 if len(shape) == 2 else shape[0 if planar else -1]
        height, width = (shape[1:] if planar else shape[:2]) if len(shape) == 3 else shape
        size = refuse_impossible(path, (width, height), int(np.prod(shape)) * dtype.itemsize // 8, packed=True)
        return (width, height, channels, dtype.name, text, palette), size

    def _pixels(
        self, path: Path, channels: int, dtype: str, colour: bool, notes: list[str], labels: bool
    ) -> NDArray[Any]:
        """Return rows (H, W) or (H, W, C)."""
        import tifffile

        needs_pillow = colour
        if not needs_pillow:
            try:
                with opening(path) as stream, tifffile.TiffFile(stream, name=str(path)) as file:
                    page = file.pages[0].aspage()
                    rows = page.asarray()
                    planar = rows.ndim == 3 and page.axes[0] == "S"
                return np.moveaxis(rows, 0, -1) if planar else rows
            except _FAULTS as error:
                needs_pillow = "imagecodecs" in str(error)
                if not needs_pillow:
                    raise FormatError(
                        expected(path, f"the picture is truncated or damaged ({error})", "a whole TIFF picture is needed",
                                 "Copy or export it again."), path=path,
                    ) from error  # fmt: skip
        if channels > 1 and dtype != "uint8":
            raise FormatError(
                expected(path, f"{channels} channels of {dtype} in a compression that cannot be read without loss",
                         "no, deflate or PackBits compression is needed", "Save it again without compression."), path=path,
            )  # fmt: skip
        with pillow.opened(path, "TIFF") as image:
            return pillow.rows_of(image, path, notes, labels=labels)
