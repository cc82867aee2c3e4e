"""Where the slices of a DICOM series lie: their order along the normal, and one affine; what is no even stack is refused.

The distance of slices is that of their positions, never ``SliceThickness``. Slices that move within their plane as they go along
(CT with a tilted gantry) give an affine with shear. Coordinates are mm; LPS+ as in the files, the affine is RAS+.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.core.counted import counted, is_or_are
from striate.core.errors import GeometryError, expected
from striate.core.geometry import LPS, Affine, valid_affine
from striate.io.formats.dicom_instance import Frame

SAME_MM = 1e-3
"""Slices that are less far apart along the normal lie at one place."""
UNEVEN_MM, UNEVEN = 0.1, 0.05
"""A slice may lie this far, and this share of the usual distance, off its place in an even stack: positions are rounded."""
_ANGLE = 1e-3
MOST_TOLD = 3


def picture_affine(frame: Frame, *, detector: bool, notes: list[str]) -> Affine:
    """Return the affine of a picture: with its place in the body where that is told, else its spacing alone."""
    if frame.spacing_mm is None:
        notes.append("the file tells no size of its pixels: they were taken as 1 mm")
    elif frame.position is None and detector:
        notes.append("the size of its pixels is that at the detector, which projection makes larger than in the body")
    rows_mm, columns_mm = frame.spacing_mm or (1.0, 1.0)
    if frame.position is None or frame.orientation is None:
        return valid_affine(np.diag([columns_mm, rows_mm, 1.0, 1.0]))
    along_columns, along_rows = np.array(frame.orientation).reshape(2, 3)
    return _affine(
        np.array(frame.position), along_columns * columns_mm, along_rows * rows_mm, np.cross(along_columns, along_rows)
    )


def stack_order_and_affine(
    frames: Sequence[Frame], names: Sequence[str], path: Path, notes: list[str]
) -> tuple[list[int], Affine]:
    """Return the order of slices along their normal, and the affine of the volume.

    Parameters
    ----------
    frames
        At least two.
    names
        The file of each.
    path
        What is read, for messages.
    notes
        Gets what was assumed.

    Raises
    ------
    GeometryError
        When a slice has no place or two have the same, axes differ, or distances do.
    """
    placed = [
        (f.position, f.orientation, f.spacing_mm) for f in frames if f.position and f.orientation and f.spacing_mm
    ]
    if len(placed) < len(frames):
        lacking = next(
            n for f, n in zip(frames, names, strict=True) if not (f.position and f.orientation and f.spacing_mm)
        )
        raise GeometryError(
            expected(path, f"{len(frames) - len(placed)} of {counted(len(frames), 'slice')} tell no position, orientation or"
                     f" pixel spacing ({lacking})", "a volume needs them of every slice", "Export it again."), path=path,
        )  # fmt: skip
    positions, orientations, spacings_mm = (np.array(values) for values in zip(*placed, strict=True))
    _refuse_other_axes(orientations, spacings_mm, names, path)
    along_columns, along_rows = _unit(orientations[0, :3], path), _unit(orientations[0, 3:], path)
    normal = _unit(np.cross(along_columns, along_rows), path)
    heights = positions @ normal
    order = [int(i) for i in np.argsort(heights, kind="stable")]
    _refuse_copies(heights[order], [frames[i] for i in order], [names[i] for i in order], path)
    _refuse_gaps(heights[order], path)
    step = (positions[order[-1]] - positions[order[0]]) / (len(frames) - 1)
    off = positions[order] - (positions[order[0]] + np.arange(len(frames))[:, None] * step)
    _refuse_jumps(off, names, order, float(np.linalg.norm(step)), path)
    most_mm = float(np.linalg.norm(off, axis=1).max())
    if most_mm > UNEVEN_MM:
        notes.append(f"slices lie up to {most_mm:.2f} mm off even distances; they were taken as even")
    rows_mm, columns_mm = spacings_mm[0]
    return order, _affine(positions[order[0]], along_columns * columns_mm, along_rows * rows_mm, step)


def _affine(
    origin: NDArray[np.float64], column: NDArray[np.float64], row: NDArray[np.float64], slice_: NDArray[np.float64]
) -> Affine:
    """Return the affine in RAS+ of vectors in LPS+."""
    matrix = np.eye(4)
    matrix[:3] = np.stack([column, row, slice_, origin], axis=1)
    return valid_affine(LPS @ matrix)


def _unit(vector: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    length = float(np.linalg.norm(vector))
    if length < 0.5:  # cosines are of length 1; so is their product, where they are not parallel
        raise GeometryError(
            expected(path, f"its ImageOrientationPatient gives an axis of length {length:.3f}", "two directions at right angles,"
                     " of length 1, are needed", "Export it again."), path=path,
        )  # fmt: skip
    return np.asarray(vector / length)


def _refuse_other_axes(
    orientations: NDArray[np.float64], spacings_mm: NDArray[np.float64], names: Sequence[str], path: Path
) -> None:
    for what, values, tolerance in (
        ("orientation", orientations, _ANGLE),
        ("pixel spacing", spacings_mm, _ANGLE * float(spacings_mm[0].min())),
    ):
        _, first, counts = np.unique(values.round(3), axis=0, return_index=True, return_counts=True)
        usual = values[first[counts.argmax()]]
        odd = np.flatnonzero(np.abs(values - usual).max(axis=1) > tolerance)
        if len(odd):
            other = int(odd[0])
            shown = " ".join(f"{v:.4g}" for v in values[other])
            raise GeometryError(
                expected(path, f"slices of differing {what}: {names[other]} has {shown}, the most have"
                         f" {' '.join(f'{v:.4g}' for v in usual)}", "all slices of a volume need the same",
                         "Keep the slices of each orientation in a folder of their own."), path=path,
            )  # fmt: skip


def _refuse_copies(heights: NDArray[np.float64], frames: Sequence[Frame], names: Sequence[str], path: Path) -> None:
    twice = np.flatnonzero(np.diff(heights) < SAME_MM)
    if not len(twice):
        return
    first = int(twice[0])
    places = 1 + int((np.diff(heights) >= SAME_MM).sum())
    told: dict[str, list[str]] = {}
    for frame in frames:
        for name, value in frame.told:
            told.setdefault(name, [])
            told[name] += [value] if value not in told[name] else []
    apart = [f"{name} {', '.join(values[:4])}" for name, values in told.items() if len(values) > 1]
    by = f"they differ in {'; '.join(apart)}" if apart else "nothing in their headers tells them apart"
    raise GeometryError(
        expected(path, f"{counted(len(frames), 'slice')} at {counted(places, 'position')}, for instance {names[first]} and"
                 f" {names[first + 1]} both at {heights[first]:.2f} mm; {by}", "one slice at each position is needed",
                 f"{'P' if apart else 'Take the copies out, or p'}ut the files of each image into a folder of its own."),
        path=path,
    )  # fmt: skip


def _refuse_gaps(heights: NDArray[np.float64], path: Path) -> None:
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    even = heights[0] + np.arange(len(heights)) * (heights[-1] - heights[0]) / (len(heights) - 1)
    tolerance = min(UNEVEN_MM + UNEVEN * usual, usual / 4)
    if np.abs(heights - even).max() <= tolerance:
        return
    odd = [int(i) for i in np.argsort(-np.abs(gaps - usual), kind="stable") if abs(gaps[i] - usual) > tolerance]
    shown = [_gap(heights[i], heights[i + 1], usual) for i in sorted(odd[:MOST_TOLD])]
    more = f" and {len(odd) - MOST_TOLD} more" if len(odd) > MOST_TOLD else ""
    got = f"uneven distances of {len(heights)} slices, mostly {usual:.2f} mm: {'; '.join(shown)}{more}"
    if not shown:
        got = f"distances of {len(heights)} slices from {gaps.min():.2f} to {gaps.max():.2f} mm"
    raise GeometryError(
        expected(path, got, "slices at even distances are needed, all of the series",
                 "Copy the series again, or resample it to even slices."), path=path,
    )  # fmt: skip


def _gap(low: float, high: float, usual: float) -> str:
    missing = round((high - low) / usual) - 1
    whole = abs((high - low) / usual - missing - 1) < 0.2
    why = f", {counted(missing, 'slice')} {is_or_are(missing)} missing" if missing > 0 and whole else ""
    return f"{high - low:.2f} mm from {low:.2f} to {high:.2f} mm along the normal{why}"


def _refuse_jumps(
    off: NDArray[np.float64], names: Sequence[str], order: Sequence[int], usual: float, path: Path
) -> None:
    """Refuse slices that leave the straight line that the others lie on, within their plane."""
    away = np.linalg.norm(off, axis=1)
    worst = int(np.argmax(away))
    if away[worst] > max(UNEVEN_MM + UNEVEN * usual, 2 * UNEVEN_MM):
        raise GeometryError(
            expected(path, f"slice {names[order[worst]]} lies {away[worst]:.2f} mm off the line of the others", "slices in one"
                     " straight stack are needed", "Resample the series to one grid, or take it apart."), path=path,
        )  # fmt: skip
