"""Which files make up a DICOM image: the slices of one series in a folder, or one file that is an image by itself.

Files are told by what they hold, since names of slices say nothing; DICOMDIR, files of other kinds and DICOM objects that are
no images (outlines, reports) are passed over beside a scan.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from striate.core.counted import counted, is_or_are
from striate.core.errors import FormatError, expected
from striate.core.names import natural_order
from striate.io.formats.content import explain, is_folder
from striate.io.formats.dicom_instance import Instance, is_dicom, quietly, read_instance

ENDINGS = (".dcm", ".ima")
MOST_TOLD = 8
_ONE_SERIES = "one series is needed, its slices are one image"
_OBJECTS = {
    "Media Storage Directory Storage": "Name the folder with the slices that it lists.",
    "Segmentation Storage": "Turn it into NIfTI on the grid of its scan first, for instance with 3D Slicer.",
    "RT Structure Set Storage": "Turn its outlines into a NIfTI mask on the grid of its scan first, for instance with 3D Slicer.",
}


def series_of(path: Path) -> tuple[Instance, ...]:
    """Return the files of the image that `path` names: a folder with one series, a file of it, or a file that is an image.

    Raises
    ------
    FormatError
        When there is none, or several, or a file is no scan.
    """
    path = Path(path)
    if is_folder(path):
        found = tuple(instances_in(path))
        scans = tuple(one for one in found if one.scan)
        if not scans:
            raise _no_scan(path, found)
        _refuse_several(path, scans)
    else:
        one = read_instance(path)
        if not one.scan:
            raise _no_scan(path, (one,))
        beside = () if one.whole else instances_in(path.absolute().parent)
        scans = tuple(other for other in beside if other.scan and other.series == one.series) or (one,)
    _refuse_others(path, scans)
    return scans


def is_scan_folder(folder: Path) -> bool:
    """Tell whether a folder is one image: slices lie in it, or nothing but one picture or volume."""
    alone = broken = False
    for path in dicom_files_in(folder):
        try:
            one = read_instance(path)
        except FormatError:
            broken = True  # reading says what is wrong, where nothing else lies there
            continue
        if one.scan and not one.whole:
            return True
        if one.scan and alone:
            return False
        alone = alone or one.scan
    return (alone or broken) and not any(p.is_dir() for p in Path(folder).iterdir() if not p.name.startswith("."))


def is_image_file(path: Path) -> bool:
    """Tell whether a DICOM file is an image by itself, or cannot be read; a slice is a part of one, other objects are none."""
    try:
        one = read_instance(path)
    except FormatError:
        return True
    return one.scan and one.whole


def dicom_files_in(folder: Path) -> Iterator[Path]:
    """Yield the DICOM files in a folder, and what is named as such, in natural order.

    Raises
    ------
    FormatError
        When the folder cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            names = [entry.name for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        raise explain(error, folder) from error
    for name in sorted(names, key=natural_order):
        path = Path(folder) / name
        if name.upper() != "DICOMDIR" and (is_dicom(path) or (name.lower().endswith(ENDINGS) and not path.is_dir())):
            yield path


def instances_in(folder: Path) -> Iterator[Instance]:
    """Read the headers of the DICOM files in a folder.

    Raises
    ------
    FormatError
        When one cannot be read: a slice that is passed over would be missing.
    """
    return (read_instance(path) for path in dicom_files_in(folder))


def refuse_packed(path: Path, instances: Sequence[Instance]) -> None:
    """Refuse pixels that are packed in a way that nothing installed can unpack.

    Raises
    ------
    FormatError
        With what installs it.
    """
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    for syntax in dict.fromkeys(one.syntax for one in instances):
        try:
            with quietly():
                name = UID(syntax).name or "nothing known"
                able = get_decoder(syntax).is_available
        except NotImplementedError:
            raise FormatError(
                expected(path, f"pixels packed as '{name}'", "uncompressed pixels, JPEG, JPEG-LS, JPEG 2000"
                         " or RLE are needed", "Export it again without compression."), path=path,
            ) from None  # fmt: skip
        if not able:
            raise FormatError(
                expected(path, f"pixels packed as '{name}'", "a decoder is needed, which is not installed",
                         "Install it: pip install 'striate[dicom]'"), path=path,
            )  # fmt: skip


def _no_scan(path: Path, found: Sequence[Instance]) -> FormatError:
    if not found:
        return FormatError(
            expected(path, "a folder without a DICOM file in it", "the slices of one series are needed"), path=path
        )
    kinds = list(dict.fromkeys(one.kind for one in found))
    hint = next((_OBJECTS[kind] for kind in kinds if kind in _OBJECTS), "")
    got = f"a DICOM object that is no scan ({', '.join(kinds[:MOST_TOLD])})"
    return FormatError(expected(path, got, "an image is needed here", hint), path=path)


def _refuse_several(path: Path, scans: Sequence[Instance]) -> None:
    series: dict[str, list[Instance]] = {}
    for one in scans:
        series.setdefault(one.series, []).append(one)
    if len(series) == 1:
        return
    shown = [_described(some) for some in list(series.values())[:MOST_TOLD]]
    more = f" and {len(series) - len(shown)} more" if len(series) > len(shown) else ""
    raise FormatError(
        expected(path, f"{len(series)} DICOM series in one folder: {'; '.join(shown)}{more}", _ONE_SERIES,
                 "Name one file of the series that is wanted, in place of the folder."), path=path,
    )  # fmt: skip


def _described(some: Sequence[Instance]) -> str:
    """Describe a series by its number, name, modality, slices, and one of its files."""
    first = some[0]
    name = f" '{first.description}'" if first.description else ""
    slices = counted(sum(len(one.frames) for one in some), "slice")
    scout = ", a localiser" if any(one.localiser for one in some) else ""
    return (
        f"{first.number or 'no number'}{name} ({first.modality or 'no modality'}, {slices}{scout}, {first.path.name})"
    )


def _refuse_others(path: Path, scans: Sequence[Instance]) -> None:
    """Refuse scouts, mosaics, films, several pictures in one series, and slices of differing size."""
    scouts = [one for one in scans if one.localiser]
    if scouts:
        raise FormatError(
            expected(path, f"{len(scouts)} of {counted(len(scans), 'image')} {is_or_are(len(scouts))} localisers (scouts),"
                     f" for instance {scouts[0].path.name}", "a scan is needed, not what it was planned on",
                     "Name a file of another series, or take them out of the folder."), path=path,
        )  # fmt: skip
    mosaic = next((one for one in scans if one.mosaic), None)
    if mosaic is not None:
        raise FormatError(
            expected(path, f"a mosaic, in which all slices of a volume lie side by side in one picture ({mosaic.path.name})",
                     "a file for each slice, or an enhanced file, is needed", "Turn it into NIfTI, for instance with dcm2niix."),
            path=path,
        )  # fmt: skip
    film = next((one for one in scans if len(one.frames) > 1 and not any(frame.position for frame in one.frames)), None)
    if film is not None:
        raise FormatError(
            expected(path, f"{len(film.frames)} frames without a place in the body in {film.path.name} (a film, or views of"
                     " another kind)", "a picture, or slices with their places, is needed", "Export one frame as a picture."),
            path=path,
        )  # fmt: skip
    pictures = [one for one in scans if one.whole and len(one.frames) == 1]
    if pictures and len(scans) > 1:
        raise FormatError(
            expected(path, f"{len(pictures)} of {counted(len(scans), 'image')} of the series tell no place in the body"
                     f" (for instance {pictures[0].path.name})", "a volume needs the place of every slice, and a picture is an"
                     " image by itself", "Name one file of them, in place of the folder."), path=path,
        )  # fmt: skip
    for name, values in (
        ("pixels", [f"{one.shape[0]} × {one.shape[1]}" for one in scans]),
        ("numbers per pixel", [str(one.samples) for one in scans]),
    ):
        if len(set(values)) > 1:
            usual = max(set(values), key=values.count)
            odd = [one for one, value in zip(scans, values, strict=True) if value != usual]
            other = values[scans.index(odd[0])]
            raise FormatError(
                expected(path, f"{len(odd)} of {counted(len(scans), 'slice')} with {other} {name} ({odd[0].path.name}), the"
                         f" others with {usual}", "all slices of a volume need the same",
                         "Take out those that belong elsewhere."),
                path=path,
            )  # fmt: skip
