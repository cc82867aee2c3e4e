"""What became of each lesion between two examinations, and whether a change is more than noise.

**Lesions of both times are matched** (`striate.trust.lesion_pairs`), so a lesion that splits, or two that merge, are one. A
group is *new* where nothing was before, *vanished* where nothing is after, *enlarged* or *shrunken* where its volume changed by
more than its noise, else *stable*.

**Volumes** are those of each mask on its own grid. The transform only tells which lesion is which: a mask that is resampled
loses volume at its edges, a small lesion on phantoms 15 % of it, which would look like growth.

**Noise** is the smallest detectable change, 1.96 · √2 · SEM (`striate.trust.repeatability`): measured where scans and rescans
were given, else estimated from the voxels at the edges. A single lesion must change by `LEAST_ML` too and, where noise is
estimated only, by `LEAST_SHARE` of its earlier volume.

**New lesions** must be as large as a ball of 3 mm in diameter and three voxels, and larger than what appears between scan and
rescan where that was measured. Where beliefs of both times are known, a lesion is new only where the network did not half
believe in it before, and vanished only where it does not half believe in it now: a probability that crosses one half says
little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import GeometryError, UsageError, expected
from striate.core.geometry import Affine
from striate.core.image import Grid
from striate.measure.change import LabelChange, LesionChange, LesionKind
from striate.measure.finding import Quantity
from striate.trust.lesion_pairs import PairedLesion, pair_lesions
from striate.trust.repeatability import LEVEL, LabelRepeatability, Noise

LEAST_ML, LEAST_SHARE = 0.02, 0.25
BELIEVED = 0.3
"""Mean probability from which on a lesion was half believed in."""
KINDS: dict[str, int] = {"stable": 1, "new": 2, "enlarged": 3, "shrunken": 4, "vanished": 5}
"""Kind → value in the map of changes: of an enlarged lesion the part that was added, of a shrunken one the part that was lost."""

Mask = NDArray[np.bool_]
Belief = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Examined:
    """One label at one time.

    Attributes
    ----------
    mask
        (I, J, K) bool.
    grid
        Its own.
    volume_ml
        As measured, with its interval where one is known.
    belief
        (I, J, K) probability on the same grid; None where it is not known.
    """

    mask: Mask
    grid: Grid
    volume_ml: Quantity
    belief: Belief | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LabelCompared:
    """One label at both times.

    Attributes
    ----------
    change
        In numbers.
    kinds
        (I, J, K) uint8 on the later grid, see `KINDS`.
    lesions
        All that was matched, before any rule.
    specks
        Lesions without a partner that are too small, or were too nearly there at the other time, to be new or vanished.
    noise
        What the smallest detectable change rests on.
    """

    change: LabelChange
    kinds: NDArray[np.uint8]
    lesions: tuple[PairedLesion, ...]
    specks: int
    noise: Noise


def compare_label(
    before: Examined, after: Examined, matrix: Affine, repeatability: LabelRepeatability | None = None
) -> LabelCompared:
    """Compare one label at two times.

    Parameters
    ----------
    before, after
        Earlier and later time, each on its own grid.
    matrix
        mm of the later image → mm of the earlier one.
    repeatability
        Of masks made in the same way; None: noise is estimated.

    Returns
    -------
    LabelCompared
        The interval of its volume change is the change ± the smallest detectable one where that was measured (95 %); else, where
        both volumes have an interval, it reaches from the lowest later less the highest earlier volume to the opposite, and
        so covers at least 1 − 2 (1 − coverage).

    Raises
    ------
    GeometryError
        When a grid is not 3D.
    UsageError
        When a mask does not lie on its grid.
    """
    for seen in (before, after):
        if len(seen.grid.shape) != 3:
            flat = f"a 2D mask, shape {seen.grid.shape}"
            raise GeometryError(expected("change", flat, "3D masks are needed to compare two examinations"))
        if seen.mask.shape != seen.grid.shape:
            shape = f"a mask of shape {seen.mask.shape}"
            raise UsageError(expected("change", shape, f"one on its grid {seen.grid.shape} is needed"))
    matrix = np.asarray(matrix, dtype=np.float64)
    paired = pair_lesions(before.mask, before.grid, after.mask, after.grid, matrix)
    noise = Noise(repeatability, (before.grid.voxel_volume_ml, after.grid.voxel_volume_ml))
    kinds = [_kind(lesion, noise, before, after, matrix) for lesion in paired]
    limit = noise.total_ml([(lesion.before, lesion.after) for lesion in paired])
    was, now = before.volume_ml, after.volume_ml
    change = LabelChange(
        _difference(was, now, limit if repeatability is not None else None),
        100 * (now.value - was.value) / was.value if was.value > 0 else None,
        limit,
        tuple(
            LesionChange(kind, lesion.before.volume_ml, lesion.after.volume_ml, lesion.centroid_mm)
            for lesion, kind in zip(paired, kinds, strict=True)
            if kind is not None
        ),
        noise.source,
    )
    drawn = _drawn(paired, kinds, before, after, matrix)
    return LabelCompared(change, drawn, tuple(paired), kinds.count(None), noise)


def on_later_grid(array: NDArray[Any], grid: Grid, later: Grid, matrix: Affine) -> NDArray[Any]:
    """Return the nearest voxel of the earlier `array`, on `grid`, at each voxel of the `later` grid; 0 outside.

    For looking at, not for measuring. `matrix` maps mm of the later image to mm of the earlier one.
    """
    place = np.linalg.inv(grid.affine) @ matrix @ later.affine
    found = np.zeros(later.shape, dtype=array.dtype)
    j, k = np.ogrid[: later.shape[1], : later.shape[2]]
    for i in range(later.shape[0]):
        voxel = [np.floor(row[0] * i + row[1] * j + row[2] * k + row[3] + 0.5).astype(np.int64) for row in place[:3]]
        inside = np.ones(later.shape[1:], dtype=bool)
        for at, size in zip(voxel, grid.shape, strict=True):
            inside &= (at >= 0) & (at < size)
        found[i][inside] = array[tuple(at[inside] for at in voxel)]
    return found


def _difference(was: Quantity, now: Quantity, limit_ml: float | None) -> Quantity:
    value = now.value - was.value
    if limit_ml is not None:
        return Quantity(value, value - limit_ml, value + limit_ml, LEVEL)
    if None in (was.low, was.high, now.low, now.high) or was.coverage is None or now.coverage is None:
        return Quantity(value)
    low, high = cast("float", now.low) - cast("float", was.high), cast("float", now.high) - cast("float", was.low)
    return Quantity(value, low, high, max(0.0, was.coverage + now.coverage - 1))


def _kind(lesion: PairedLesion, noise: Noise, before: Examined, after: Examined, matrix: Affine) -> LesionKind | None:
    """Return what became of a lesion; None for what is too small, or was too nearly there, to be new or vanished."""
    was_ml, now_ml = lesion.before.volume_ml, lesion.after.volume_ml
    if was_ml == 0 or now_ml == 0:
        if lesion.size_ml < noise.least_ml * (1 - 1e-9) or _believed(lesion, before, after, matrix) >= BELIEVED:
            return None
        return "new" if was_ml == 0 else "vanished"
    change, share = now_ml - was_ml, LEAST_SHARE if noise.measured is None else 0.0
    if abs(change) <= max(noise.lesion_ml(lesion.before, lesion.after), LEAST_ML, share * was_ml):
        return "stable"
    return "enlarged" if change > 0 else "shrunken"


def _believed(lesion: PairedLesion, before: Examined, after: Examined, matrix: Affine) -> float:
    """Return the mean probability of a lesion at the time at which it is not in the mask; 0 where it is not known."""
    new = lesion.before.volume_ml == 0
    there, other = (after, before) if new else (before, after)
    index, across = (lesion.index_after, matrix) if new else (lesion.index_before, np.linalg.inv(matrix))
    if other.belief is None:
        return 0.0
    place = np.linalg.inv(other.grid.affine) @ across @ there.grid.affine
    voxel = np.floor((np.c_[index, np.ones(len(index))] @ place.T)[:, :3] + 0.5).astype(np.int64)
    inside = ((voxel >= 0) & (voxel < other.belief.shape)).all(axis=1)
    return float(other.belief[tuple(voxel[inside].T)].sum() / len(index))


def _drawn(
    paired: Sequence[PairedLesion],
    kinds: Sequence[LesionKind | None],
    before: Examined,
    after: Examined,
    matrix: Affine,
) -> NDArray[np.uint8]:
    """Return the map of changes on the later grid."""
    earlier, later = np.zeros(before.grid.shape, np.int32), np.zeros(after.grid.shape, np.int32)
    for number, (lesion, kind) in enumerate(zip(paired, kinds, strict=True), start=1):
        if kind is not None:
            earlier[tuple(lesion.index_before.T)] = number
            later[tuple(lesion.index_after.T)] = number
    moved = on_later_grid(earlier, before.grid, after.grid, matrix)
    gained: Mapping[str, tuple[int, int, int]] = {"enlarged": (3, 1, 1), "shrunken": (1, 4, 1)}
    tables = np.zeros((3, len(paired) + 1), np.uint8)
    for number, kind in enumerate(kinds, start=1):
        if kind is not None:
            tables[:, number] = gained.get(kind, (KINDS[kind],) * 3)  # only after, only before, at both times
    drawn = np.where(later > 0, tables[0][later], tables[1][moved])
    both = (later > 0) & (moved > 0)
    drawn[both] = tables[2][later[both]]
    return np.asarray(drawn, dtype=np.uint8)
