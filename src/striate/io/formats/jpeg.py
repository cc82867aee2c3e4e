"""JPEG: grey and RGB of 8 bits; lossy, so never for label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import UsageError
from striate.core.geometry import Affine, valid_affine
from striate.core.image import Grid, Image
from striate.io.formats import natural, pillow
from striate.io.formats.format import Header

_ORIENTATION = 0x0112


class Jpeg:
    """JPEG pictures."""

    name = "jpeg"
    extensions = (".jpg", ".jpeg")
    lossy = True

    def read_header(self, path: Path, *, stack: int = 0) -> Header:
        """Read what the file says of itself."""
        with pillow.opened(path, "JPEG") as image:
            grid = Grid(image.size, valid_affine(np.eye(4)))
            return Header(grid, 1 if image.mode == "L" else 3, "uint8", self.name, path.stat().st_size)

    def read(self, path: Path, *, stack: int = 0, labels: bool = False) -> Image:
        """Read the pixels as (C, columns, rows), as they are stored: a camera's turning mark is noted, not applied."""
        notes: list[str] = []
        with pillow.opened(path, "JPEG") as image:
            rows = pillow.rows_of(image, path, notes, labels=labels)
            if image.getexif().get(_ORIENTATION, 1) != 1:
                notes.append("its camera mark asks viewers to turn it; the pixels were taken as they are stored")
        array = natural.from_rows(rows)
        return Image(
            array, valid_affine(np.eye(4)), {"format": self.name, "path": str(path), "dtype": "uint8", "notes": notes}
        )

    def write(self, path: Path, array: NDArray[Any], affine: Affine) -> None:
        """Write grey or RGB of 8 bits at quality 95."""
        from PIL import Image as Pillow

        if natural.affine_text(affine):
            raise UsageError(
                f"{path}: JPEG cannot keep an affine with rows {np.asarray(affine)[:3].tolist()}; write PNG or NIfTI."
            )
        Pillow.fromarray(natural.picture(path, array, ("uint8",))).save(path, format="JPEG", quality=95, subsampling=0)
