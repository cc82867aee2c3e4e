"""Cohort layouts, one per file, and the one that fits a folder or a CSV."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

from striate.core.case import Case
from striate.core.errors import DataError, LayoutError, expected
from striate.io.formats import DICOM
from striate.io.formats.content import explain
from striate.io.layouts import bids, classes, csv_table, decathlon, nnunet, plain
from striate.io.layouts.layout import Layout
from striate.io.layouts.listing import entries, folders_in, images_in, listed
from striate.io.read import extension, is_image, known_format, read_header

LAYOUTS: dict[str, ModuleType] = {
    "csv": csv_table,
    "nnunet": nnunet,
    "decathlon": decathlon,
    "bids": bids,
    "classes": classes,
    "plain": plain,
}
_COLOURS = ("red", "green", "blue")
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def recognise(path: Path) -> Layout:
    """Find out what a folder or a CSV is, in the order of `LAYOUTS`, and read its cases.

    Raises
    ------
    LayoutError
        When it is none of the known layouts: what was found, what was expected, and the CSV that would settle it.
    """
    path = Path(path)
    try:
        path.stat()
    except OSError as error:
        raise LayoutError(str(explain(error, path)).replace("an image file", "a folder or a CSV"), path=path) from error
    if path.is_file() and path.name == "dataset.json":
        path = path.parent
    for name, module in LAYOUTS.items():
        told = module.sniff(path)
        if told is None:
            continue
        layout: Layout = module.read(path)
        if not layout.cases:
            raise LayoutError(
                expected(path, f"{told}, but no case", f"at least one case of layout {name} is needed"), path=path
            )
        return replace(layout, cases=_with_colours(layout.cases))
    raise _unknown(path)


def _with_colours(cases: list[Case]) -> list[Case]:
    """Give the red, green and blue of colour pictures names of their own (see `striate.io.read.read_channels`).

    A picture that cannot be read is taken for what the others of its channel are: whoever reads it says what is wrong.
    """
    found = {(case.name, n): _coloured(p) for case in cases for n, p in case.channels.items() if _alone(case, p)}
    usual: dict[str, bool] = {}
    for (_, name), coloured in found.items():
        if coloured is not None:
            usual.setdefault(name, coloured)
    split = {key: usual.get(key[1], False) if coloured is None else coloured for key, coloured in found.items()}
    return [_split(case, {n for n in case.channels if split.get((case.name, n))}) for case in cases]


def _alone(case: Case, file: Path) -> bool:
    """Tell whether a file is a picture that one channel name stands for."""
    if list(case.channels.values()).count(file) > 1:
        return False
    return extension(file) in _PICTURES or (file.is_file() and known_format(file) is DICOM and is_image(file))


def _coloured(picture: Path) -> bool | None:
    """Tell whether a picture has colours; None where it cannot be read."""
    try:
        return read_header(picture).channels == len(_COLOURS)
    except DataError:
        return None


def _split(case: Case, coloured: set[str]) -> Case:
    if not coloured:
        return case
    channels: dict[str, Path] = {}
    for name, file in case.channels.items():
        if name in coloured:
            channels.update({(c if len(case.channels) == 1 else f"{name}_{c}"): file for c in _COLOURS})
        else:
            channels[name] = file
    return replace(case, channels=channels)


def _unknown(path: Path) -> LayoutError:
    want = (
        "nnU-Net (imagesTr, labelsTr), Decathlon (dataset.json), BIDS (sub-*/anat), images/ and masks/, images with *_seg beside"
        " them, a folder per class, or a CSV is needed"
    )
    if path.is_file() or is_image(path):
        parent = path.parent if path.is_file() else path.absolute().parent
        hint = f"Give its folder: {parent}" if is_image(path) else "A CSV starts with: subject,flair,label"
        got = "one image" if is_image(path) else f"a file with ending '{path.suffix}'"
        return LayoutError(expected(path, got, want, hint), path=path)
    names = [p.name + ("/" if p.is_dir() else "") for p in entries(path)]
    got = f"a folder with {listed(names, 6)}" if names else "an empty folder"
    deeper = [p for p in folders_in(path) if images_in(p) or any(m.sniff(p) for m in LAYOUTS.values())]
    hint = (
        f"Did you mean {deeper[0]}?"
        if len(deeper) == 1
        else ("A CSV settles it: subject,flair,label ⏎ P1,P1_flair.nii.gz,P1_mask.nii.gz")
    )
    return LayoutError(expected(path, got, want, hint), path=path)
