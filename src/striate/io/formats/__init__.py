"""File formats, one per file, and the table of their endings."""

from __future__ import annotations

from collections.abc import Iterable

from striate.core.errors import UsageError
from striate.io.formats.dicom import Dicom
from striate.io.formats.format import Format
from striate.io.formats.itk import Itk
from striate.io.formats.jpeg import Jpeg
from striate.io.formats.nifti import Nifti
from striate.io.formats.npz import Npz
from striate.io.formats.png import Png
from striate.io.formats.tiff import Tiff


def by_extension(formats: Iterable[Format]) -> dict[str, Format]:
    """Return ending (lower case, with dots) → format.

    Raises
    ------
    UsageError
        When two formats claim the same ending.
    """
    table: dict[str, Format] = {}
    for each in formats:
        for extension in each.extensions:
            if extension in table:
                raise UsageError(f"ending {extension}: claimed by the formats {table[extension].name} and {each.name}.")
            table[extension] = each
    return table


DICOM = Dicom()
FORMATS: tuple[Format, ...] = (Nifti(), Png(), Jpeg(), Tiff(), Npz(), Itk(), DICOM)
EXTENSIONS = by_extension(FORMATS)
