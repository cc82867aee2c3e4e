"""What PNG, JPEG and TIFF share: axes, alpha, palettes, and where an affine is kept.

A picture of W columns and H rows becomes an array (C, W, H): the first axis of space is the column (x, to the right), the
second the row (y, downwards). Pictures have no place in the body: their affine is the identity (1 mm pixels), unless
Striate wrote another one into the file (text ``striate:affine_mm``). Resolutions such as 72 dpi are never taken for mm.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import FormatError, LabelError, UsageError, expected
from striate.core.geometry import Affine, valid_affine

AFFINE_KEY = "striate:affine_mm"


def from_rows(rows: NDArray[Any]) -> NDArray[Any]:
    """Turn (H, W) or (H, W, C) into (C, W, H)."""
    planes = rows[..., None] if rows.ndim == 2 else rows
    return np.ascontiguousarray(planes.transpose(2, 1, 0))


def to_rows(array: NDArray[Any]) -> NDArray[Any]:
    """Turn (C, W, H) into (H, W) for one channel, else (H, W, C)."""
    rows = array.transpose(2, 1, 0)
    return np.ascontiguousarray(rows[..., 0] if rows.shape[2] == 1 else rows)


def without_alpha(array: NDArray[Any], path: Path, notes: list[str]) -> NDArray[Any]:
    """Drop the alpha channel of (2 or 4, W, H) where it says nothing.

    Raises
    ------
    FormatError
        When transparency varies over the picture, since intensities are then not what one sees.
    """
    if array.shape[0] not in (2, 4):
        return array
    alpha = array[-1]
    low, high = int(alpha.min()), int(alpha.max())
    if low != high:
        raise FormatError(
            expected(path, f"transparency varies over the picture (alpha {low} to {high})", "plain grey or RGB is needed,"
                     " since transparency is not an intensity", "Save it without an alpha channel (flatten it)."), path=path,
        )  # fmt: skip
    notes.append(f"its alpha channel, {high} everywhere, was left out")
    return array[:-1]


def grey_labels(array: NDArray[Any], path: Path, notes: list[str]) -> NDArray[Any]:
    """Return the one channel of a label picture; three equal channels count as one.

    Raises
    ------
    LabelError
        When colours are used.
    """
    if array.shape[0] == 1:
        return array
    if all(np.array_equal(array[0], other) for other in array[1:]):
        notes.append(f"its {array.shape[0]} equal colour channels were taken as one")
        return array[:1]
    colours = len(np.unique(array.reshape(array.shape[0], -1), axis=1).T)
    raise LabelError(
        expected(path, f"a label map in {colours} colours", "one whole number per pixel is needed (grey or palette PNG)",
                 "Replace each colour by a number: 0 for background, 1, 2, …"), path=path,
    )  # fmt: skip


def stored_affine(text: str | bytes | None) -> Affine | None:
    """Read an affine that Striate wrote into a picture; None where there is none."""
    try:
        found = json.loads(text)[AFFINE_KEY] if text else None
        return None if found is None else valid_affine(found, AFFINE_KEY)
    except (ValueError, KeyError, TypeError):
        return None


def affine_text(affine: Affine) -> str | None:
    """Return the text to keep `affine` in a picture; None for the identity."""
    if np.array_equal(affine, np.eye(4)):
        return None
    return json.dumps({AFFINE_KEY: np.asarray(affine).tolist()})


def picture(path: Path, array: NDArray[Any], kinds: tuple[str, ...]) -> NDArray[Any]:
    """Return `array` (C, W, H) as rows to write.

    Raises
    ------
    UsageError
        When it is not a picture of one or three channels, or its type is not one of `kinds`.
    """
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.dtype.name not in kinds and array.dtype.kind in "iu" and array.size:
        fitting = [k for k in kinds if k.startswith("uint") and array.min() >= 0 and array.max() <= np.iinfo(k).max]
        array = array.astype(fitting[0]) if fitting else array
    if array.ndim != 3 or array.shape[0] not in (1, 3) or array.dtype.name not in kinds:
        raise UsageError(
            f"{path}: an array of shape {array.shape} and type {array.dtype} is not a picture of this format;"
            f" (1 or 3, columns, rows) of {' or '.join(kinds)} is needed. Write NIfTI (.nii.gz) or .npz."
        )
    return to_rows(array)
