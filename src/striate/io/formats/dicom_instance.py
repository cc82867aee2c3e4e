"""One DICOM file: what its header says, read without its pixels, and nothing that names a person.

Definition: https://dicom.nema.org, part 3. A file holds one frame (a slice or a picture) or several; of each it is kept where it
lies (mm, LPS+, as in DICOM), how its numbers are scaled, and what may tell it from another frame at the same place.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import re
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from striate.core.errors import FormatError, StriateError, expected
from striate.io.formats.content import ONE_AT_A_TIME, explain, kind_of, opening

_SCANS = ("Image Storage", "Parametric Map Storage", "Enhanced US Volume Storage")
_TELLING = (
    "EchoTime", "DiffusionBValue", "TemporalPositionIdentifier", "InversionTime", "TriggerTime", "FlipAngle",
    "AcquisitionNumber", "ImageType", "FrameReferenceTime", "AcquisitionTime",
)  # fmt: skip
_TELLING_OF_FRAMES = (
    ("MREchoSequence", "EffectiveEchoTime"), ("MRDiffusionSequence", "DiffusionBValue"),
    ("FrameContentSequence", "TemporalPositionIndex"), ("FrameContentSequence", "FrameAcquisitionNumber"),
    ("MRImageFrameTypeSequence", "FrameType"), ("CTImageFrameTypeSequence", "FrameType"),
)  # fmt: skip
_READ = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SeriesNumber",
    "SeriesDescription", "Modality", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PhotometricInterpretation", "NumberOfFrames",
    "ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "ImagerPixelSpacing", "RescaleSlope",
    "RescaleIntercept", "ModalityLUTSequence", "RedPaletteColorLookupTableDescriptor", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", *_TELLING,
)  # fmt: skip
DEFLATED = "1.2.840.10008.1.2.1.99"
_PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
"""Transfer syntaxes whose pixels lie in the file as they are."""


LONGEST = 64
"""Characters of a part of any text that is read."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One slice or picture.

    Attributes
    ----------
    position
        Centre of its first pixel in mm (LPS+); None where it has no place in the body.
    orientation
        Direction in which columns, then in which rows are counted (LPS+), six cosines; None where it has none.
    spacing_mm
        Between rows, between columns; None where it is not told.
    slope, intercept
        A number is ``slope * stored + intercept``.
    told
        Name and value of what may tell it from another frame at the same place.
    """

    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing_mm: tuple[float, ...] | None
    slope: float
    intercept: float
    told: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Instance:
    """What one DICOM file says of itself.

    Attributes
    ----------
    path
        The file.
    series
        Identifier of its series.
    kind
        What the standard calls such a file, for instance ``MR Image Storage``.
    number, description, modality
        Of its series; empty where they are not told.
    scan
        Whether it is an image; other objects hold outlines, reports, doses.
    localiser
        Whether it is a scout, made to plan the scan.
    mosaic
        Whether one picture shows all slices of a volume side by side.
    shape
        Columns, rows.
    samples
        Numbers per pixel: 1, or 3 for colours.
    bits_stored
        Bits of a number that count.
    dtype
        Type of the stored numbers.
    photometric
        How numbers are shown, for instance ``MONOCHROME2``.
    syntax
        UID of how the pixels are packed.
    table
        Whether numbers stand for those, or for colours, in a table.
    detector
        Whether distances are those at the detector.
    frames
        In the order of the file.
    file_bytes
        Size of the file.
    uid, study, place
        Identifiers of the file's object, of its study, and of the coordinates that positions count in; empty where not told.
    """

    path: Path
    series: str
    kind: str
    number: str
    description: str
    modality: str
    scan: bool
    localiser: bool = False
    mosaic: bool = False
    shape: tuple[int, int] = (0, 0)
    samples: int = 1
    bits_stored: int = 0
    dtype: str = ""
    photometric: str = ""
    syntax: str = ""
    table: bool = False
    detector: bool = False
    frames: tuple[Frame, ...] = ()
    file_bytes: int = 0
    uid: str = ""
    study: str = ""
    place: str = ""

    @property
    def whole(self) -> bool:
        """Whether the file is an image by itself: a picture, or several frames; a slice is a part of one."""
        return len(self.frames) != 1 or self.frames[0].position is None


def is_dicom(path: Path) -> bool:
    """Tell by its first bytes whether a file is DICOM; what is no file, such as a pipe, is not opened."""
    try:
        if not Path(path).is_file():
            return False
        with Path(path).open("rb") as stream:
            return begins(stream.read(400))
    except (OSError, ValueError):
        return False


def begins(head: bytes) -> bool:
    """Tell whether a file that starts with `head` is DICOM, also of the old kind that starts with its first two elements."""
    group = head[:2]
    if head[128:132] == b"DICM" or group not in (b"\2\0", b"\0\2", b"\x08\0", b"\0\x08"):
        return head[128:132] == b"DICM"
    order: Literal["little", "big"] = "little" if group[0] else "big"
    length = int.from_bytes(head[6:8] if head[4:6].isalpha() else head[4:8], order)
    following = head[8 + length : 12 + length]
    return following[:2] == group and int.from_bytes(following[2:], order) > int.from_bytes(head[2:4], order)


def read_instance(path: Path) -> Instance:
    """Return what a DICOM file says of itself; kept while its size and time of change stay the same.

    Raises
    ------
    FormatError
        When it cannot be read, is truncated or no DICOM file, or a number in its header is none.
    """
    try:
        found = Path(path).stat()
    except OSError as error:
        raise explain(error, path) from error
    if not stat.S_ISREG(found.st_mode):
        raise FormatError(
            expected(path, "this is no file (a folder, a pipe or a device)", "a DICOM file is needed"), path=path
        )
    return _instance(Path(path), found.st_size, (found.st_ino, found.st_mtime_ns, found.st_ctime_ns))


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Let pydicom read what others wrote carelessly, without warnings and logs that quote it."""
    from pydicom.config import disable_value_validation, logger

    with ONE_AT_A_TIME, warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)


@functools.lru_cache(maxsize=20_000)
def _instance(path: Path, size: int, _state: tuple[int, int, int]) -> Instance:
    with opening(path) as stream:
        head = stream.read(400)
        if not begins(head):
            raise FormatError(
                expected(path, f"it holds {kind_of(head)}", "a DICOM file is needed ('DICM' after 128 bytes)",
                         "Give the file its right ending, or export it again."), path=path,
            )  # fmt: skip
        stream.seek(0)
        try:
            with quietly():
                return _parsed(stream, path, size)
        except (StriateError, MemoryError):
            raise
        except Exception as error:  # of whatever kind pydicom has for damage; its words may quote the header
            raise FormatError(
                expected(path, f"its DICOM header is truncated or damaged ({type(error).__name__})",
                         "a whole file is needed", "Copy or export it again."), path=path,
            ) from None  # fmt: skip


def _parsed(stream: BinaryIO, path: Path, size: int) -> Instance:
    import pydicom
    from pydicom.uid import UID

    ds = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(_READ), force=True)
    implicit, little = ds.original_encoding
    syntax = _text(ds.file_meta, "TransferSyntaxUID") or _PLAIN[0 if implicit else 1 if little else 2]
    kind = UID(_text(ds, "SOPClassUID") or _text(ds.file_meta, "MediaStorageSOPClassUID")).name or "unknown"
    scan = any(word in kind for word in _SCANS) or not kind.endswith("Storage")
    told: dict[str, Any] = {
        "path": path, "series": _text(ds, "SeriesInstanceUID"), "kind": kind,
        "number": _text(ds, "SeriesNumber"), "description": _text(ds, "SeriesDescription"),
        "modality": _text(ds, "Modality"), "file_bytes": size, "uid": _text(ds, "SOPInstanceUID"),
        "study": _text(ds, "StudyInstanceUID"), "place": _text(ds, "FrameOfReferenceUID"),
    }  # fmt: skip
    if not scan:
        return Instance(**told, scan=False)
    tag, there = (0x7FE00010, math.inf) if syntax == DEFLATED else _pixel_element(stream, ds.original_encoding, size)
    rows, columns, count = _count(ds, "Rows"), _count(ds, "Columns"), _count(ds, "NumberOfFrames", 1)
    if not tag and re.fullmatch(r"[0-9.]+", kind):  # a maker's own; an image lacks its pixels where it is truncated
        return Instance(**told, scan=False)
    if not tag or not rows or not columns:
        raise FormatError(
            expected(path, f"a DICOM file of the kind '{kind}' without pixels", "an image is needed; the file is truncated, or"
                     " its pixels were never sent", "Copy or export it again."), path=path,
        )  # fmt: skip
    bits, samples = _count(ds, "BitsAllocated"), _count(ds, "SamplesPerPixel", 1)
    if samples not in (1, 3):
        raise FormatError(expected(path, f"{samples} numbers per pixel", "grey or RGB is needed"), path=path)
    photometric = _text(ds, "PhotometricInterpretation")
    dtype = _dtype(tag, bits, _count(ds, "PixelRepresentation"), path)
    if photometric == "PALETTE COLOR":  # entries, bits of each
        dtype = f"uint{8 if (ds.get('RedPaletteColorLookupTableDescriptor') or (0, 0, 16))[2] <= 8 else 16}"
    stored = _count(ds, "BitsStored", bits)
    if tag == 0x7FE00010 and stored < bits and _count(ds, "HighBit", stored - 1) != stored - 1:
        raise FormatError(
            expected(path, f"pixels of {stored} bits that do not start at the lowest of {bits}", "the lowest bits are needed",
                     "Export it again."), path=path,
        )  # fmt: skip
    needed = math.prod((rows, columns, count, samples, bits // 8))
    if syntax in _PLAIN and there < (needed * 2 // 3 if photometric == "YBR_FULL_422" else needed):
        raise FormatError(
            expected(path, f"its header announces {columns} × {rows} × {count} pixels ({needed} bytes), the file has {there} of"
                     " these", "the whole file is needed; this one is truncated",
                     "Copy or export it again."), path=path,
        )  # fmt: skip
    image_type = _text(ds, "ImageType").upper()
    return Instance(
        **told, scan=True, localiser="LOCALIZER" in image_type, mosaic="MOSAIC" in image_type, shape=(columns, rows),
        samples=3 if photometric == "PALETTE COLOR" else samples, bits_stored=stored, dtype=dtype,
        photometric=photometric, syntax=syntax, detector="PixelSpacing" not in ds,
        table="ModalityLUTSequence" in ds or photometric == "PALETTE COLOR", frames=_frames(ds, count, path),
    )  # fmt: skip


def _pixel_element(stream: BinaryIO, encoding: tuple[bool | None, bool | None], size: int) -> tuple[int, float]:
    """Return the tag of the pixels at which reading stopped, 0 where there are none, and how many bytes of them there are."""
    head, order = stream.read(12), "little" if encoding[1] else "big"
    if len(head) < 8:
        return 0, 0
    tag = int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)  # type: ignore[arg-type]
    start = 8 if encoding[0] else 12
    length = int.from_bytes(head[start - 4 : start], order)  # type: ignore[arg-type]
    if length == 0xFFFFFFFF:  # packed, in pieces
        return tag, math.inf
    return tag, min(length, size - stream.tell() + len(head) - start)


def _dtype(tag: int, bits: int, signed: int, path: Path) -> str:
    if tag in (0x7FE00008, 0x7FE00009):
        return "float32" if tag == 0x7FE00008 else "float64"
    if bits not in (8, 16, 32):
        raise FormatError(expected(path, f"pixels of {bits} bits", "8, 16 or 32 bits are needed"), path=path)
    return f"{'' if signed else 'u'}int{bits}"


def _text(ds: Any, name: str) -> str:
    """Return an element as text, its parts joined as DICOM does; empty where it is none, since a damaged one may hold others."""
    value = ds.get(name)
    if value is None:
        return ""
    parts = [str(value).strip()] if isinstance(value, str) or not hasattr(value, "__iter__") else [*map(str, value)]
    wrong = any(len(part) > LONGEST or not part.isprintable() for part in parts)
    return "" if wrong or (name.endswith("UID") and not re.fullmatch(r"[0-9.]+", parts[0])) else "\\".join(parts)


def _count(ds: Any, name: str, absent: int = 0) -> int:
    value = ds.get(name)
    return absent if value in (None, "") else int(value)


def _numbers(ds: Any, name: str, count: int, path: Path) -> tuple[float, ...] | None:
    """Return `count` numbers of an element; None where it is not there.

    Raises
    ------
    FormatError
        When it holds something else.
    """
    value = ds.get(name) if ds is not None else None
    if value is None or value == "" or (hasattr(value, "__len__") and not len(value)):
        return None
    try:
        found = tuple(
            float(v) for v in (value if hasattr(value, "__iter__") and not isinstance(value, str) else [value])
        )
    except (TypeError, ValueError):
        found = ()
    if len(found) != count or not all(map(math.isfinite, found)):
        raise FormatError(
            expected(path, f"its {name} holds {len(found) or 'no'} finite numbers", f"{count} are needed",
                     "Export it again."), path=path,
        )  # fmt: skip
    return found


def _frames(ds: Any, count: int, path: Path) -> tuple[Frame, ...]:
    """Return the frames of a file; those of a film have no place.

    Raises
    ------
    FormatError
        When there are more or fewer than it is told where they lie.
    """
    each = list(ds.get("PerFrameFunctionalGroupsSequence") or ())
    shared = next(iter(ds.get("SharedFunctionalGroupsSequence") or ()), None)
    if each:
        if len(each) != count:
            raise FormatError(
                expected(path, f"{count} frames, and the places of {len(each)}", "one place for each frame is needed",
                         "Export it again."), path=path,
            )  # fmt: skip
        return tuple(_frame_of_groups(one, shared, path) for one in each)
    if count > 1:
        return (Frame(None, None, None, 1.0, 0.0, ()),) * count
    told = tuple((name, text) for name in _TELLING if (text := _text(ds, name)))
    orientation = _numbers(ds, "ImageOrientationPatient", 6, path)
    position = _numbers(ds, "ImagePositionPatient", 3, path) if orientation else None
    spacing_mm = _spacing(ds, "PixelSpacing", path) or _spacing(ds, "ImagerPixelSpacing", path)
    return (Frame(position, orientation, spacing_mm, *_scale(ds, path), told),)


def _frame_of_groups(one: Any, shared: Any, path: Path) -> Frame:
    def group(name: str) -> Any:
        found = next((place.get(name) for place in (one, shared) if place is not None and place.get(name)), None)
        return found[0] if found else None

    orientation = _numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6, path)
    position = _numbers(group("PlanePositionSequence"), "ImagePositionPatient", 3, path) if orientation else None
    spacing_mm = _spacing(group("PixelMeasuresSequence"), "PixelSpacing", path)
    groups = ((name, group(sequence)) for sequence, name in _TELLING_OF_FRAMES)
    told = tuple((name, text) for name, found in groups if found is not None and (text := _text(found, name)))
    return Frame(position, orientation, spacing_mm, *_scale(group("PixelValueTransformationSequence"), path), told)


def _spacing(ds: Any, name: str, path: Path) -> tuple[float, ...] | None:
    """Return the distances of pixels; None where they are not told, or are written as zero."""
    found = _numbers(ds, name, 2, path)
    return found if found and min(found) > 0 else None


def _scale(ds: Any, path: Path) -> tuple[float, float]:
    slope, intercept = _numbers(ds, "RescaleSlope", 1, path), _numbers(ds, "RescaleIntercept", 1, path)
    if slope == (0.0,):
        raise FormatError(
            expected(path, "its RescaleSlope is 0", "another factor is needed, all numbers would be the same"),
            path=path,
        )
    return (1.0 if slope is None else slope[0]), (0.0 if intercept is None else intercept[0])
