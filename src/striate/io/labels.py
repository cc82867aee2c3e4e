"""Understanding the numbers of a mask: 0/255, soft edges, floats; what was understood is said, what cannot be is explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.counted import counted, is_or_are
from striate.core.errors import LabelError, expected

WHITE = (255, 65535)
_MANY = 8


def understand(array: NDArray[Any], path: Path) -> tuple[NDArray[Any], list[str]]:
    """Turn the numbers of a mask into labels of the smallest unsigned type.

    Rules, in this order: whole numbers are labels; only 0 and 255 (or 65535) means 0 and 1; numbers between 0 and 1 are
    the soft edge of one label, cut at 0.5 (0.5 belongs to it); grey edges between 0 and 255 are cut at half. Labels may
    leave gaps (1, 2, 4): they are kept, and noted.

    Returns
    -------
    labels, notes
        Array of the same shape, and one sentence per thing that was understood.

    Raises
    ------
    LabelError
        When numbers are NaN, negative, or lie between labels of which there are several.
    """
    whole, notes = _whole(array, path)
    values, counts = np.unique(whole, return_counts=True) if whole.max(initial=0) > 65535 else _count(whole)
    nonzero = values[values != 0]
    if len(nonzero) and nonzero[-1] in WHITE:
        white = int(nonzero[-1])
        if len(nonzero) == 1:
            return (whole == white).astype(np.uint8), [*notes, f"0 and {white} were taken as 0 and 1"]
        if _grey_edges(values, counts):
            between = int(counts[(values != 0) & (values != white)].sum())
            notes.append(f"grey edges between 0 and {white} ({counted(between, 'voxel')}) were cut at half: 0 and 1")
            return (whole >= white / 2).astype(np.uint8), notes
    if len(nonzero) and len(nonzero) < int(nonzero[-1]):
        shown = ", ".join(str(v) for v in nonzero[:12]) + (", …" if len(nonzero) > 12 else "")
        notes.append(f"label numbers have gaps ({shown}); they are kept as they are")
    return whole, notes


def _whole(array: NDArray[Any], path: Path) -> tuple[NDArray[Any], list[str]]:
    """Return whole numbers of the smallest unsigned type; soft edges of a single label are cut."""
    if array.dtype == np.bool_:
        return array.astype(np.uint8), []
    if array.dtype.kind != "f":
        _refuse_negative(array, path)
        _refuse_huge(array, path)
        return array.astype(_smallest(int(array.max())), order="K", copy=False), []
    with np.errstate(invalid="ignore"):
        small = array.astype(np.uint8, order="K")
    if np.array_equal(small, array):
        return small, []
    if not np.isfinite(array).all():
        count = int(array.size - np.isfinite(array).sum())
        raise LabelError(
            expected(path, f"{counted(count, 'voxel')} of the mask {is_or_are(count)} NaN or infinite",
                     "whole numbers are needed, 0 for background", "Replace them by 0."), path=path,
        )  # fmt: skip
    _refuse_negative(array, path)
    _refuse_huge(array, path)
    near = np.rint(array)
    off = np.abs(array - near) > 1e-3
    if not off.any():
        return near.astype(_smallest(int(near.max()))), ["numbers within 0.001 of whole ones were rounded"]
    top = float(array.max())
    if top <= 1.001:
        note = f"soft edges between 0 and 1 ({counted(int(off.sum()), 'voxel')}) were cut at 0.5"
        return (array >= 0.5).astype(np.uint8), [note]
    if top in WHITE:
        return (array >= top / 2).astype(np.uint8), [f"soft edges between 0 and {top:g} were cut at half: 0 and 1"]
    got = (
        f"{counted(int(off.sum()), 'voxel')} between labels, such as {float(array[off].flat[0]):.4g} (largest {top:g})"
    )
    raise LabelError(
        expected(path, got,
                 "whole numbers are needed as labels", "Resample masks with nearest neighbour, not linearly."), path=path,
    )  # fmt: skip


def _refuse_negative(array: NDArray[Any], path: Path) -> None:
    if array.dtype.kind != "u" and array.min() < 0:
        count = int((array < 0).sum())
        raise LabelError(
            expected(path, f"{counted(count, 'voxel')} below zero (smallest {array.min():g})",
                     "labels start at 0, which is background",
                     "Replace negative numbers by 0, or by a label of their own."), path=path,
        )  # fmt: skip


def _refuse_huge(array: NDArray[Any], path: Path) -> None:
    if float(array.max()) >= 1 << 32:
        raise LabelError(
            expected(path, f"numbers up to {float(array.max()):g}", "labels below 4294967296 are needed",
                     "Is this an image rather than its mask?"), path=path,
        )  # fmt: skip


def _smallest(top: int) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if top < 1 << 8 else np.uint16 if top < 1 << 16 else np.uint32 if top < 1 << 32 else np.uint64


def smallest_unsigned(array: NDArray[Any]) -> NDArray[Any]:
    """Return non-negative whole numbers in the smallest unsigned type that holds them."""
    return array.astype(_smallest(int(array.max(initial=0))), order="K", copy=False)


def _count(whole: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return values and their counts (as np.unique, faster for small numbers of which most are 0)."""
    flat = whole.ravel(order="K")
    marked = flat[flat != 0]
    counts = np.bincount(marked, minlength=1)
    counts[0] = flat.size - marked.size
    values = np.flatnonzero(counts)
    return values, counts[values]


def _grey_edges(values: NDArray[Any], counts: NDArray[Any]) -> bool:
    """Tell whether many greys lie around one white shape, as smoothing leaves them: white is most of what is not 0."""
    white = counts[-1]
    greys = len(values) - 1 - int(values[0] == 0)
    return greys >= _MANY and bool(white * 2 >= counts[values != 0].sum())
