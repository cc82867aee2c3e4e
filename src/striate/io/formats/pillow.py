"""Pictures through Pillow, without its silent loss of 16-bit colour."""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import FormatError, expected
from striate.io.formats.content import ONE_AT_A_TIME, kind_of, opening, refuse_impossible

_DEEP_COLOUR = {2: ("RGB;16B", "RGB;16L"), 6: ("RGBA;16B", "RGBA;16L")}
CHANNELS = {"1": 1, "L": 1, "I;16": 1, "I;16B": 1, "I;16L": 1, "I": 1, "F": 1, "LA": 2, "RGB": 3, "RGBA": 4, "PA": 4}


@contextlib.contextmanager
def opened(path: Path, kind: str) -> Iterator[Any]:
    """Open a picture of `kind` (``PNG``, ``JPEG``, ``TIFF``) with Pillow; sizes that cannot be are refused.

    Raises
    ------
    FormatError
        When it is something else, or damaged (also while it is read inside the block).
    """
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    with ONE_AT_A_TIME, opening(path) as stream:
        head = stream.read(400)
        stream.seek(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
                limit, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
                try:
                    image: Any = Pillow.open(stream, formats=[kind])
                finally:
                    Pillow.MAX_IMAGE_PIXELS = limit
                if getattr(image, "n_frames", 1) > 1:
                    raise FormatError(
                        expected(path, f"{image.n_frames} pictures in one file", "one picture is needed",
                                 "Save a volume as NIfTI (.nii.gz), or each picture as its own file."), path=path,
                    )  # fmt: skip
                width, height = image.size
                refuse_impossible(
                    path, (width, height), width * height * max(1, len(image.getbands())) // 8, packed=True
                )
                yield image
        except UnidentifiedImageError as error:
            raise FormatError(
                expected(path, f"it holds {kind_of(head)}", f"a whole {kind} picture is needed",
                         "Give the file its right ending, or export it again."), path=path,
            ) from error  # fmt: skip
        except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
            raise FormatError(
                expected(path, f"the picture is truncated or damaged ({error})", f"a whole {kind} picture is needed",
                         "Copy or export it again."), path=path,
            ) from error  # fmt: skip


def rows_of(image: Any, path: Path, notes: list[str], *, labels: bool, colours: bool = False) -> NDArray[Any]:
    """Return the pixels of an open picture as (H, W) or (H, W, C), nothing lost.

    Palettes give indices for `labels`, else one channel where they hold greys only and no `colours` are asked for.
    """
    if image.mode == "P":
        if labels:
            notes.append("palette picture: its indices were taken as labels")
            return np.asarray(image)
        return _palette(image, notes, colours)
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode in ("CMYK", "YCbCr", "HSV", "LAB"):
        notes.append(f"its colours were turned from {image.mode} into RGB")
        image = image.convert("RGB")
    if image.mode not in CHANNELS:
        raise FormatError(expected(path, f"colour mode {image.mode}", "grey, RGB or RGBA is needed"), path=path)
    rows = np.asarray(image)
    return rows.astype(rows.dtype.newbyteorder("="), copy=False)


def grey_palette(image: Any) -> bool:
    """Tell whether a palette picture has greys only."""
    colours = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def _palette(image: Any, notes: list[str], colours: bool) -> NDArray[Any]:
    """Return a palette picture's colours; one channel where all of them are grey and no `colours` are asked for."""
    rows = np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))
    if grey_palette(image) and not colours:
        notes.append("palette of greys: one channel")
        return rows[..., 0] if rows.shape[-1] == 3 else rows[..., [0, 3]]
    notes.append("palette of colours: red, green and blue")
    return rows


def deep_png(data: bytes, path: Path) -> NDArray[np.uint16] | None:
    """Decode a PNG of 16 bits with several channels, which Pillow would cut to 8.

    Pillow's decoder can be asked for the upper or for the lower byte of each number: both together are the number. Grey with
    alpha (two 16-bit numbers) has the same bytes as 8-bit RGBA, and is read as that.

    Returns
    -------
    array or None
        (H, W, C) uint16; None where Pillow's own reading loses nothing.
    """
    if len(data) < 33 or data[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    depth, colour = data[24], data[25]
    if depth != 16 or colour not in (2, 4, 6):
        return None
    if colour == 4:
        head = data[12:24] + bytes([8, 6]) + data[26:29]
        rewritten = data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
        split = _decoded(rewritten, path, "RGBA").astype(np.uint16)
        return np.asarray(split[..., 0::2] << 8 | split[..., 1::2], dtype=np.uint16)
    upper, lower = (_decoded(data, path, mode).astype(np.uint16) for mode in _DEEP_COLOUR[colour])
    return np.asarray(upper << 8 | lower, dtype=np.uint16)


def _decoded(data: bytes, path: Path, raw_mode: str) -> NDArray[np.uint8]:
    from PIL import Image as Pillow

    try:
        with Pillow.open(BytesIO(data), formats=["PNG"]) as image:
            tiles: list[Any] = list(image.tile)
            image.tile = [tile._replace(args=raw_mode) for tile in tiles]
            image.load()
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError, AttributeError) as error:
        raise FormatError(
            expected(path, f"the 16-bit colour picture is truncated or damaged ({error})", "a whole PNG picture is needed",
                     "Copy or export it again."), path=path,
        ) from error  # fmt: skip
