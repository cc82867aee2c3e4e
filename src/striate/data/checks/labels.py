"""Facts of a label map: voxels, volume and pieces of each value, stray voxels, what lies outside the head, agreement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from striate.core.image import LabelMap, to_ras
from striate.data.checks.facts import Forms, LabelFacts, RaterFacts, ValueFacts
from striate.data.checks.foreground import Foreground, Mask, spread
from striate.data.checks.signature import hash_voxels
from striate.measure.components import components
from striate.measure.overlap import dice

MOST_VALUES = 2000


def measure_label(label: LabelMap, beyond: tuple[int, int] | None, forms: Forms | None) -> LabelFacts:
    """Return the facts of `label`; `beyond` is what `outside` returned."""
    array = label.array
    values = label.values()
    boxes = ndimage.find_objects(array) if values and max(values) <= MOST_VALUES else []
    volume_ml = label.grid.voxel_volume_ml
    found = {}
    for value in values:
        box = boxes[value - 1] if value <= len(boxes) else None
        mask = (array if box is None else array[box]) == value
        sizes = component_sizes(mask)
        voxels = int(sizes.sum())
        found[value] = ValueFacts(voxels, voxels * volume_ml, len(sizes), int((sizes == 1).sum()))
    labelled = np.asarray(array[_box_of(boxes)] if boxes else array) > 0
    stray = int((component_sizes(labelled) == 1).sum()) if values else 0
    outside_head, mirrored = beyond if beyond is not None else (None, None)
    return LabelFacts(
        label.grid, found, stray, outside_head, mirrored, hash_voxels(array), tuple(label.meta.get("notes", ())), forms
    )


def component_sizes(mask: Mask) -> NDArray[np.int64]:
    """Return the voxels of each piece of `mask`; pieces touch by faces, edges or corners (26 neighbours, 8 in 2D)."""
    parts, count = components(mask)
    return np.asarray(np.bincount(parts.ravel(), minlength=count + 1)[1:], dtype=np.int64)


def outside(label: LabelMap, found: Foreground, coarse_mask: Mask) -> tuple[int, int]:
    """Return labelled voxels outside the object as the mask lies, and as it would lie mirrored left to right.

    The object is grown by one coarse block (about 2 mm), which forgives the rim.
    """
    array = label.array if label.array.ndim == 3 else label.array[..., None]
    place = np.nonzero(array)
    if not len(place[0]):
        return 0, 0
    cross = ndimage.generate_binary_structure(3, 3)
    if array.shape[2] == 1:
        cross = cross[..., 1:2]
    head = spread(ndimage.binary_dilation(coarse_mask, structure=cross), found.factors, array.shape)
    turn, _ = to_ras(label.grid)
    axis = turn.order[0]
    mirrored = list(place)
    mirrored[axis] = array.shape[axis] - 1 - place[axis]
    return int(np.count_nonzero(~head[place])), int(np.count_nonzero(~head[tuple(mirrored)]))


def agreement(label: LabelMap, other: LabelMap) -> RaterFacts:
    """Return the Dice of every value that one of both has; none where the grids differ."""
    if not other.grid.matches(label.grid):
        return RaterFacts(other.grid, False, {})
    found: dict[int, float | None] = {}
    for value in sorted({*label.values(), *other.values()}):
        found[value] = dice(label.array == value, other.array == value)
    return RaterFacts(other.grid, True, found)


def _box_of(boxes: Sequence[tuple[slice, ...] | None]) -> tuple[slice, ...]:
    known = [b for b in boxes if b is not None]
    return tuple(
        slice(min(b[axis].start for b in known), max(b[axis].stop for b in known)) for axis in range(len(known[0]))
    )
