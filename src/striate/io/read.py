"""Reading: one image, its header, a label map, or all channels of a case, whatever the file format.

`read_image` gives intensities as stored after scaling: (1, I, J, K) for a volume, (C, I, J) for a picture with its
columns (x) first. A DICOM series is one image: a folder with its slices, or any one of them. A file with four axes is refused,
unless `stack` says that the last one holds channels (as in the Medical Segmentation Decathlon). In a `Case`, channel names that
share one file say so: `read_channels` understands it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from striate.core.case import Case
from striate.core.counted import counted, is_or_are
from striate.core.errors import DataError, FormatError, LabelError, expected
from striate.core.files import hash_file
from striate.core.image import Image, LabelMap
from striate.io.formats import DICOM, EXTENSIONS
from striate.io.formats.content import head_of, is_folder, kind_of
from striate.io.formats.format import Format, Header
from striate.io.labels import understand


def extension(path: Path) -> str | None:
    """Return the known ending of a file name in lower case (``.nii.gz``), or None."""
    name = Path(path).name.lower()
    found = [e for e in EXTENSIONS if name.endswith(e) and len(name) > len(e)]
    return max(found, key=len) if found else None


def is_image(path: Path) -> bool:
    """Tell whether a file or folder, where it is listed among others, is an image that Striate reads.

    A file is one by its name, a folder by the slices of a DICOM series in it, beside which no file is named as another image. A
    DICOM file is looked into: a slice is a part of an image. One without a known ending has none, or a number behind a dot.
    """
    path = Path(path)
    ending = extension(path)
    if is_folder(path):
        return not _other_images(path) and DICOM.holds(path) and DICOM.is_image(path)
    if path.name.startswith("."):
        return False
    if ending is None:
        return (not path.suffix or path.suffix[1:].isdigit()) and DICOM.holds(path) and DICOM.is_image(path)
    return EXTENSIONS[ending] is not DICOM or DICOM.is_image(path)


def _other_images(folder: Path) -> bool:
    """Tell whether a file in a folder has the name of an image that is not DICOM; True where it cannot be listed."""
    try:
        names = [p.name for p in folder.iterdir() if not p.name.startswith(".")]
    except OSError:
        return True
    return any(EXTENSIONS[ending] is not DICOM for name in names if (ending := extension(Path(name))))


def stem(path: Path) -> str:
    """Return a file's name without its ending, ``.nii.gz`` counting as one; the whole of a folder's, or before a number."""
    path = Path(path)
    if path.name in ("", ".."):
        path = path.resolve()
    ending = extension(path)
    if is_folder(path) or path.suffix[1:].isdigit():
        return path.name
    return path.name[: -len(ending)] if ending else path.stem


def known_format(path: Path) -> Format | None:
    """Return the format that the ending of `path` names, or DICOM by what a file or folder holds; None where there is none."""
    ending = extension(path)
    if ending is None or is_folder(path):
        return DICOM if DICOM.holds(path) else EXTENSIONS.get(ending or "")
    return EXTENSIONS[ending]


def format_of(path: Path) -> Format:
    """Return the format of `path`, as `known_format`.

    Raises
    ------
    FormatError
        When it is not known; what the file holds is said where it exists.
    """
    found = known_format(path)
    if found is None:
        path = Path(path)
        got = "this is a folder" if path.is_dir() else f"ending '{''.join(path.suffixes[-2:])}'"
        held = f" and {kind_of(head_of(path))} inside" if path.is_file() else ""
        known = ", ".join(EXTENSIONS)
        raise FormatError(
            expected(path, got + held, f"one image file is needed ({known}), or a folder with a DICOM series"),
            path=path,
        )
    return found


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the files whose bytes an image is: the file itself, or the slices of a DICOM series.

    Raises
    ------
    FormatError
        When it is DICOM, and no image.
    """
    return DICOM.files(path) if known_format(path) is DICOM else (Path(path),)


def hash_image(path: Path) -> str:
    """Return the SHA-256 of an image's file; of a series that of its files' in rising order, whatever their names and places.

    Raises
    ------
    FormatError
        As `files_of`.
    """
    hashes = sorted(map(hash_file, files_of(path)))
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def read_header(path: Path, *, stack: int = 0) -> Header:
    """Read what a file says of itself: grid, channels, type, size; no voxels.

    Parameters
    ----------
    path
        An image file.
    stack
        How many channels the file is to give, or True for any number: the last axis of a 4D file holds them. Four of a picture
        are red, green, blue and alpha; three are colours also where its palette holds greys only.

    Raises
    ------
    FormatError
        When the file is missing, unreadable, truncated, not what its name says, or has four axes and not `stack`.
    GeometryError
        When its affine is impossible.
    """
    path = Path(path)
    return format_of(path).read_header(path, stack=stack)


def read_image(path: Path, *, stack: int = 0) -> Image:
    """Read an image as (C, I, J, K), or (C, I, J) for a picture.

    Parameters
    ----------
    path
        An image file.
    stack
        How many channels the file is to give, or True for any number: the last axis of a 4D file holds them. Four of a picture
        are red, green, blue and alpha; three are colours also where its palette holds greys only.

    Returns
    -------
    Image
        Stored numbers after scaling, in the file's own orientation; ``meta`` holds format, path, dtype and notes.

    Raises
    ------
    FormatError
        When the file is missing, unreadable, truncated, not what its name says, or has four axes and not `stack`.
    GeometryError
        When its affine is impossible.
    MemoryLimitError
        When its voxels do not fit into the free memory.
    """
    path = Path(path)
    return format_of(path).read(path, stack=stack)


def read_label(path: Path) -> LabelMap:
    """Read a label map as (I, J, K) or (I, J) of the smallest unsigned type.

    Returns
    -------
    LabelMap
        ``meta["notes"]`` says what was understood (see `striate.io.labels.understand`).

    Raises
    ------
    LabelError
        When its format is lossy, it holds colours or several channels, or its numbers cannot be understood as labels.
    FormatError, GeometryError, MemoryLimitError
        As `read_image`.
    """
    path = Path(path)
    kind = format_of(path)
    if kind.lossy:
        head_of(path)
        raise LabelError(
            expected(path, f"a label map as {kind.name.upper()}", "a format without loss is needed, since compression changes"
                     " the labels", "Export it from its source as PNG or NIfTI."), path=path,
        )  # fmt: skip
    image = kind.read(path, labels=True)
    if image.channels != 1:
        raise LabelError(
            expected(path, f"{image.channels} channels in a label map", "one whole number per voxel is needed",
                     "Write overlapping structures as one label per combination."), path=path,
        )  # fmt: skip
    array, notes = understand(image.array[0], path)
    return LabelMap(array, image.affine, {**image.meta, "notes": [*image.meta["notes"], *notes]})


def read_channels(case: Case) -> dict[str, Image]:
    """Read all channels of a case, each file once.

    Channel names that share a file stand for its channels, in order.

    Returns
    -------
    dict
        Channel name → image (1, I, J, K) or (1, I, J).

    Raises
    ------
    DataError
        When a file holds more or fewer channels than the case names; the case is named.
    FormatError, GeometryError, MemoryLimitError
        As `read_image`.
    """
    found: dict[str, Image] = {}
    for path in dict.fromkeys(case.channels.values()):
        names = [n for n, p in case.channels.items() if p == path]
        image = read_image(path, stack=len(names) if len(names) > 1 else 0)
        if image.channels != len(names):
            raise DataError(
                expected(f"case {case.name}", f"{path.name} holds {counted(image.channels, 'channel')}",
                         f"{len(names)} {is_or_are(len(names))} needed ({', '.join(names)})",
                         "All cases of a cohort need the same channels."),
                case=case.name, path=path,
            )  # fmt: skip
        for index, name in enumerate(names):
            found[name] = Image(image.array[index : index + 1], image.affine, image.meta)
    return {name: found[name] for name in case.channels}


def largest(cases: Sequence[Case]) -> tuple[int, float]:
    """Return the voxels of all channels of the largest of some cases, and the volume of one in mm³, by its headers.

    Headers are read of the three cases whose files are largest. 0 voxels where none of them can be read: whoever reads the
    cases says what is wrong.
    """
    sizes = {case.name: sum(map(_size, case.channels.values())) for case in cases}
    found = [(0, 1.0)]
    for case in sorted(cases, key=lambda one: sizes[one.name])[-3:]:
        files = dict.fromkeys(case.channels.values())
        with suppress(DataError):
            headers = [read_header(path, stack=len(files) < len(case.channels)) for path in files]
            voxels = sum(h.channels * math.prod(h.grid.shape) for h in headers)
            found.append((voxels, math.prod(headers[0].grid.spacing_mm)))
    return max(found)


def _size(path: Path) -> int:
    """Return the size of an image's files in bytes; 0 where they cannot be told."""
    with suppress(DataError, OSError):
        return sum(file.stat().st_size for file in files_of(path))
    return 0
