"""DICOM through pydicom: a series of slices, a volume in one file, or a picture; read only.

A folder with the slices of one series is a volume, and so is any one of its files; see `striate.io.formats.dicom_series`. The
axes of the array are columns, rows, slices; the affine is RAS+ mm. Numbers are those after slope and intercept of each slice.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from striate.core.errors import LabelError, UsageError, expected
from striate.core.geometry import Affine
from striate.core.image import Grid, Image
from striate.io.formats.content import is_folder, refuse_unheld
from striate.io.formats.dicom_geometry import picture_affine, stack_order_and_affine
from striate.io.formats.dicom_instance import Instance, is_dicom
from striate.io.formats.dicom_pixels import inverted, number_type, read_frames
from striate.io.formats.dicom_series import (
    ENDINGS,
    dicom_files_in,
    is_image_file,
    is_scan_folder,
    refuse_packed,
    series_of,
)
from striate.io.formats.format import Header


class Dicom:
    """DICOM files and folders of them."""

    name = "dicom"
    extensions = ENDINGS
    lossy = False

    def read_header(self, path: Path, *, stack: int = 0) -> Header:
        """Read what the headers say; no pixels."""
        instances = series_of(path)
        _, grid, _ = placed(instances, path)
        size = sum(one.file_bytes for one in instances)
        return Header(grid, instances[0].samples, number_type(instances).name, self.name, size)

    def read(self, path: Path, *, stack: int = 0, labels: bool = False) -> Image:
        """Read the pixels."""
        instances = series_of(path)
        if labels:
            raise LabelError(
                expected(path, "DICOM as a label map", "a label map in NIfTI, NRRD or another format of images is needed",
                         "Export it as NIfTI on the grid of its scan."), path=path,
            )  # fmt: skip
        order, grid, notes = placed(instances, path)
        channels = instances[0].samples
        refuse_unheld(path, math.prod(grid.shape) * channels * number_type(instances).itemsize)
        found = read_frames(instances, order, path)
        if any(map(inverted, instances)):
            notes.append("it is stored with bright for little (MONOCHROME1): it was inverted")
        planes = found[..., None] if channels == 1 else found
        array = planes.transpose(3, 2, 1, 0)
        array = array[..., 0] if len(grid.shape) == 2 else array
        meta = {"format": self.name, "path": str(path), "dtype": instances[0].dtype, "notes": notes}
        return Image(array, grid.affine, meta)

    def write(self, path: Path, array: NDArray[Any], affine: Affine) -> None:
        """Refuse: a DICOM file says of whom it is, and which series it belongs to."""
        raise UsageError(f"{path}: DICOM is read, not written; write NIfTI (.nii.gz).")

    def files(self, path: Path) -> tuple[Path, ...]:
        """Return the files whose slices make up the image."""
        return tuple(one.path for one in series_of(path))

    def holds(self, path: Path) -> bool:
        """Tell whether a file is DICOM by its first bytes, or a folder holds such files."""
        return any(True for _ in dicom_files_in(path)) if is_folder(path) else is_dicom(path)

    def is_image(self, path: Path) -> bool:
        """Tell whether a file or folder is one image, where a folder is listed: a slice is a part of one."""
        return is_scan_folder(path) if is_folder(path) else is_image_file(path)


def placed(instances: tuple[Instance, ...], path: Path) -> tuple[list[int], Grid, list[str]]:
    """Return which frame, counted over all files, each slice of the volume is, the grid, and what was assumed.

    Raises
    ------
    FormatError, GeometryError
        When pixels cannot be unpacked, or the frames are no even stack.
    """
    refuse_packed(path, instances)
    notes: list[str] = []
    frames = [frame for one in instances for frame in one.frames]
    names = [
        one.path.name if len(one.frames) == 1 else f"frame {number + 1} of {one.path.name}"
        for one in instances for number in range(len(one.frames))
    ]  # fmt: skip
    first = instances[0]
    if len(frames) == 1:
        affine = picture_affine(frames[0], detector=first.detector, notes=notes)
        return [0], Grid(first.shape, affine), notes
    order, affine = stack_order_and_affine(frames, names, path, notes)
    return order, Grid((*first.shape, len(frames)), affine), notes
