"""Writing images and label maps: the ending names the format, and a file is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from striate.core.errors import LabelError, expected
from striate.core.files import writing
from striate.core.image import Image, LabelMap
from striate.io.labels import smallest_unsigned
from striate.io.read import format_of


def write_image(path: Path, image: Image) -> None:
    """Write an image.

    NIfTI keeps the affine in float32 as sform and qform; several channels become its fourth axis (read back with
    ``stack=True``).

    Raises
    ------
    FormatError
        When the ending is not known or the format cannot hold the affine.
    UsageError
        When the format cannot hold such an array.
    DiskFullError
        When the disk is full or the place cannot be written.
    """
    path = Path(path)
    kind = format_of(path)
    with writing(path) as beside:
        kind.write(beside, image.array, image.affine)


def write_label(path: Path, label: LabelMap) -> None:
    """Write a label map in the smallest unsigned type that holds its labels.

    Raises
    ------
    LabelError
        When the format is lossy.
    FormatError, UsageError, DiskFullError
        As `write_image`.
    """
    path = Path(path)
    kind = format_of(path)
    if kind.lossy:
        raise LabelError(
            expected(
                path, f"a label map as {kind.name.upper()}", "a format without loss is needed (.png, .nii.gz, .npz)"
            ),
            path=path,
        )
    with writing(path) as beside:
        kind.write(beside, smallest_unsigned(label.array)[None], label.affine)
