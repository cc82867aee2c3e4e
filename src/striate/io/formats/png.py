"""PNG: grey, RGB, alpha, palette; 1 to 16 bits, none of them lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.geometry import Affine, valid_affine
from striate.core.image import Grid, Image
from striate.io.formats import natural, pillow
from striate.io.formats.content import head_of, opening
from striate.io.formats.format import Header


class Png:
    """PNG pictures."""

    name = "png"
    extensions = (".png",)
    lossy = False

    def read_header(self, path: Path, *, stack: int = 0) -> Header:
        """Read what the file says of itself (a palette counts as three channels, alpha only as the fourth of four)."""
        head = head_of(path)
        with pillow.opened(path, "PNG") as image:
            depth, colour = head[24], head[25]
            coloured = colour in (2, 6) or (colour == 3 and (stack == 3 or not pillow.grey_palette(image)))
            affine = natural.stored_affine(getattr(image, "text", {}).get(natural.AFFINE_KEY))
            size = image.size
        affine = valid_affine(np.eye(4)) if affine is None else affine
        return Header(
            Grid(size, affine),
            4 if stack == 4 and colour == 6 else 3 if coloured else 1,
            "uint16" if depth == 16 else "uint8",
            self.name,
            path.stat().st_size,
        )

    def read(self, path: Path, *, stack: int = 0, labels: bool = False) -> Image:
        """Read the pixels as (C, columns, rows)."""
        notes: list[str] = []
        with opening(path) as stream:
            data = stream.read()
        rows: NDArray[Any] | None = pillow.deep_png(data, path)
        with pillow.opened(path, "PNG") as image:
            whole = stack == 4 and data[25] == 6
            if rows is None:
                rows = pillow.rows_of(image, path, notes, labels=labels, colours=stack == 3)
                rows = rows.astype(np.uint16) if image.mode == "I" else rows
            else:
                image.load()
            affine = natural.stored_affine(getattr(image, "text", {}).get(natural.AFFINE_KEY))
        array = natural.from_rows(rows)
        array = array if whole else natural.without_alpha(array, path, notes)
        array = natural.grey_labels(array, path, notes) if labels else array
        meta = {"format": self.name, "path": str(path), "dtype": array.dtype.name, "notes": notes}
        return Image(array, valid_affine(np.eye(4)) if affine is None else affine, meta)

    def write(self, path: Path, array: NDArray[Any], affine: Affine) -> None:
        """Write grey of 8 or 16 bits, or RGB of 8 bits."""
        from PIL import Image as Pillow
        from PIL import PngImagePlugin

        rows = natural.picture(path, array, ("uint8", "uint16") if array.shape[0] == 1 else ("uint8",))
        text = natural.affine_text(affine)
        info = PngImagePlugin.PngInfo()
        if text:
            info.add_text(natural.AFFINE_KEY, text)
        Pillow.fromarray(rows).save(path, format="PNG", pnginfo=info)
