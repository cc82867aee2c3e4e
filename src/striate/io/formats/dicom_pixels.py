"""The pixels of DICOM files: unpacked, put in order, and scaled slice by slice."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import FormatError, StriateError, expected
from striate.io.formats.content import opening
from striate.io.formats.dicom_instance import DEFLATED, Frame, Instance, quietly

_DECODERS = ("pydicom", "pylibjpeg", "pyjpegls", "pillow", "gdcm")
"""In the order of preference. Damaged pixels end the whole process in gdcm, so it decodes what no other can."""


def number_type(instances: Sequence[Instance]) -> np.dtype[Any]:
    """Return the type of numbers that reading gives: the stored one, or where they are scaled float32 (float64 if large)."""
    stored = np.result_type(*(np.dtype(one.dtype) for one in instances))
    scaled = any(_numbers_of_table(one) or _scales(frame) for one in instances for frame in one.frames)
    if not scaled or stored == np.float64:
        return stored
    return np.dtype(np.float32 if stored.itemsize <= 2 or stored == np.float32 else np.float64)


def read_frames(instances: Sequence[Instance], order: Sequence[int], path: Path) -> NDArray[Any]:
    """Return the numbers of all frames, those of colours last: (slices, rows, columns) or (slices, rows, columns, 3).

    Parameters
    ----------
    instances
        Files with frames of the same shape.
    order
        Number of the frame, counted over all files, that each slice of the volume is.
    path
        What is read, for messages.

    Raises
    ------
    FormatError
        When pixels cannot be unpacked.
    """
    first, kind = instances[0], number_type(instances)
    columns, rows = first.shape
    colours = (3,) if first.samples == 3 else ()
    found = np.empty((len(order), rows, columns, *colours), kind)
    place, number = {frame: index for index, frame in enumerate(order)}, 0
    for one in instances:
        with contextlib.closing(_pixels(one)) as unpacked:  # a lock is held until it is closed
            for frame, pixels in zip(one.frames, unpacked, strict=True):
                if pixels.shape != found.shape[1:]:
                    raise FormatError(
                        expected(one.path, f"its pixels have shape {pixels.shape}, its header says {found.shape[1:]}",
                                 "both must be the same", "Export it again."), path=path,
                    )  # fmt: skip
                _scaled(pixels, frame, found[place[number]])
                number += 1
    return found


def _scaled(pixels: NDArray[Any], frame: Frame, into: NDArray[Any]) -> None:
    into[...] = pixels
    if _scales(frame):
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite then is told where images are used
            np.multiply(into, frame.slope, out=into)
            np.add(into, frame.intercept, out=into)


def _pixels(one: Instance) -> Generator[NDArray[Any], None, None]:
    """Yield the stored numbers of each frame, in the order of the file; colours are RGB."""
    import pydicom
    from pydicom.pixels import get_decoder, iter_pixels

    count = 0
    with opening(one.path) as stream:
        try:
            with quietly():
                large = len(one.frames) > 1 and one.syntax != DEFLATED and not one.table
                large = large and stream.read(132)[128:] == b"DICM"
                stream.seek(0)
                source: Any = stream if large else pydicom.dcmread(stream, force=True)
                if source is not stream:
                    source.file_meta.TransferSyntaxUID = one.syntax  # old files do not tell it
                able = get_decoder(one.syntax).available_plugins
                decoder = next((name for name in _DECODERS if name in able), "")
                for pixels in iter_pixels(source, indices=range(len(one.frames)), decoding_plugin=decoder):
                    count += 1
                    yield _through_tables(pixels, one, source)
        except (StriateError, MemoryError):
            raise
        except Exception as error:  # of whatever kind the decoders have for damage
            words = " ".join(str(error).split())[:160]
            raise FormatError(
                expected(one.path, f"its pixels cannot be unpacked ({words or type(error).__name__})",
                         "a whole file is needed, packed in a way that the decoders know",
                         "Copy it again, or export it without compression."), path=one.path,
            ) from error  # fmt: skip
    if count != len(one.frames):
        raise FormatError(
            expected(one.path, f"{count} frames of pixels, its header says {len(one.frames)}", "all of them are needed",
                     "Copy or export it again."), path=one.path,
        )  # fmt: skip


def _through_tables(pixels: NDArray[Any], one: Instance, source: Any) -> NDArray[Any]:
    """Return numbers after the tables of the file, and with bright for much where a picture without a place says the contrary."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut

    if one.photometric == "PALETTE COLOR":
        return np.asarray(apply_color_lut(pixels, source))
    if _numbers_of_table(one):
        pixels = apply_modality_lut(pixels, source)
    if inverted(one):
        low = -(1 << (one.bits_stored - 1)) if one.dtype.startswith("int") else 0
        return np.asarray(2 * low + (1 << one.bits_stored) - 1 - pixels.astype(np.int64))
    return pixels


def _scales(frame: Frame) -> bool:
    return (frame.slope, frame.intercept) != (1.0, 0.0)


def _numbers_of_table(one: Instance) -> bool:
    return one.table and one.photometric != "PALETTE COLOR"


def inverted(one: Instance) -> bool:
    """Tell whether a picture is stored with bright for little; numbers of slices mean what they say, however they are shown."""
    alone = len(one.frames) == 1 and one.frames[0].position is None
    return one.photometric == "MONOCHROME1" and alone and not one.dtype.startswith("float")
