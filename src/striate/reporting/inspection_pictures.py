"""Pictures of an inspection: maps of a step side by side in one file, single ones of them, and where a point lies in them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import FormatError, expected

LOSSLESS_BYTES = 60_000
"""Larger sheets are stored with loss."""
QUALITY = 82

Bytes = NDArray[np.uint8]


class Pictures:
    """The picture files of an inspection, each read once.

    Parameters
    ----------
    folder
        Of the inspection; no file outside it is read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._read: dict[str, Bytes] = {}
        self.broken: list[str] = []

    def array(self, name: str) -> Bytes | None:
        """Return a grey picture (H, W); None where it cannot be read, `broken` then has the reason."""
        if name not in self._read:
            try:
                self._read[name] = _grey(self._folder, name)
            except FormatError as error:
                self.broken.append(str(error).replace(f"{self._folder}/", ""))
                self._read[name] = np.zeros((0, 0), np.uint8)
        found = self._read[name]
        return found if found.size else None

    def source(self, name: str) -> str | None:
        """Return a picture as a data URI."""
        found = self.array(name)
        return None if found is None else source_of(found)

    def tile(self, sheet: Mapping[str, Any] | None, unit: int) -> Bytes | None:
        """Return the map of one unit (h, w) from a sheet (``file``, ``units``, ``tile``, ``columns``)."""
        if not sheet or unit not in sheet["units"]:
            return None
        whole = self.array(str(sheet["file"]))
        if whole is None:
            return None
        height, width = (int(n) for n in sheet["tile"])
        row, column = divmod(list(sheet["units"]).index(unit), int(sheet["columns"]))
        found = whole[row * height : (row + 1) * height, column * width : (column + 1) * width]
        return found if found.size else None


def _grey(folder: Path, name: str) -> Bytes:
    from PIL import Image as Picture

    path = (folder / name).resolve()
    try:
        if not path.is_relative_to(folder):
            raise ValueError("it lies outside the folder")
        with Picture.open(path) as stored:
            return np.asarray(stored.convert("L"))
    except (OSError, ValueError, SyntaxError) as error:
        problem = "there is no such file" if isinstance(error, FileNotFoundError) else f"not readable ({error})"
        raise FormatError(
            expected(path, problem, "a grey picture written by striate inspect is needed"), path=path
        ) from error


def source_of(pixels: Bytes) -> str:
    """Return a picture as a data URI: without loss where it is small."""
    from PIL import Image as Picture
    from PIL import features

    buffer, form = io.BytesIO(), "PNG"
    Picture.fromarray(pixels).save(buffer, form, optimize=True)
    if buffer.tell() > LOSSLESS_BYTES and max(pixels.shape) < 16_384 and features.check("webp"):
        buffer, form = io.BytesIO(), "WEBP"
        Picture.fromarray(pixels).save(buffer, form, quality=QUALITY, method=3)
    return f"data:image/{form.lower()};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


class Planes:
    """How places in maps and in the tile lie in pictures.

    Parameters
    ----------
    tile
        ``tile`` of the document.
    dims
        Number of axes of a map.
    """

    def __init__(self, tile: Mapping[str, Any], dims: int) -> None:
        axis = tile.get("plane_axis") if dims == 3 else None
        rest = [a for a in range(dims) if a != axis][:2]
        given = tile.get("plane_axes")
        self.axes: list[int] = [int(a) for a in given] if isinstance(given, list) and len(given) == 2 else rest
        self.axis: int | None = None if dims < 3 else next(a for a in range(dims) if a not in self.axes)
        self.flipped = [bool(f) for f in tile.get("flipped") or (False, False)]
        spacing = tile.get("spacing_mm") or [1.0] * dims
        size = tile.get("shape") or [1] * dims
        size = size[-dims:]
        self.mm = [float(spacing[a] if a < len(spacing) else 1.0) for a in self.axes]
        self.size = [int(size[a]) for a in self.axes]
        self.aspect = self.size[1] * self.mm[1] / max(self.size[0] * self.mm[0], 1e-9)
        """Width by height of the tile's plane in millimetres; all maps are drawn so."""

    def spot(self, at: Sequence[float] | None, shape: Sequence[int]) -> tuple[float, float] | None:
        """Return where (per cent from the left, from the top) the middle of voxel `at` of a map (F, *map) lies."""
        if not at or len(at) != len(shape) - 1 or len(at) < 2:
            return None
        down, across = (
            (at[a] + 0.5) / shape[1 + a] if not back else 1 - (at[a] + 0.5) / shape[1 + a]
            for a, back in zip(self.axes, self.flipped, strict=True)
        )
        return round(100 * across, 2), round(100 * down, 2)

    def plain(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {"axes": self.axes, "axis": self.axis, "flipped": self.flipped, "aspect": round(self.aspect, 4)}
