"""Candidates: what may be a lesion: those of the mask, and fainter ones that the mask leaves out.

A free-response curve looks at candidates down to a low score (Setio et al., Medical Image Analysis 42:1, 2017), while a mask
was cut at one threshold. Below it candidates are looked for on the map of the probability p of the label:

* A **hill** is what is connected (26 neighbours; 8 in 2D) to a peak outside of the mask and has at least half of its p.
* A hill is a candidate where it does not touch the mask and holds no higher peak. So the faint border of a lesion is none, and
  a peak needs a valley below half of its height towards every higher one. A sure lesion is cut at p = ½ by the same rule.
* Peaks of at least `FAINT` are looked at, in `STEPS` steps per factor of 2.

Lesions of the mask stay as they are, whatever lies around them. Hills touch neither them nor each other: of two that would,
the hill of the lower peak holds the higher one. So the lesions of the mask with the hills (`with_hills`) are its candidates.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from striate.measure.overlap import same_shape

FAINT = 0.01
"""Smallest p of a peak: that from which a voxel is called suspected (`striate.trust.calibration.SUSPECT`)."""
STEPS = 8
"""Steps of p per factor of 2, each 9 %; peaks in one step are equally high."""
MOST_VOXELS = 200_000
"""Voxels outside of the mask that are looked at; where more have half of `FAINT`, the limit rises step by step."""


def level_of(probability: NDArray[Any]) -> NDArray[np.uint8]:
    """Return in which step each probability lies, from 1; 0 below half of `FAINT`. Same shape."""
    floor = FAINT / 2
    steps = np.floor(STEPS * np.log2(np.clip(probability, floor, 1) / floor) + 1e-6) + 1
    return np.where(np.asarray(probability) >= floor, steps, 0).astype(np.uint8)


def with_hills(mask: NDArray[Any], levels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the mask together with the hills outside of it.

    Parameters
    ----------
    mask
        (I, J, K) or (I, J); every non-zero element belongs to it.
    levels
        Same shape: `level_of` the probability of the label.

    Raises
    ------
    GeometryError
        When the shapes differ.
    """
    same_shape(mask, levels)
    found: NDArray[np.bool_] = np.asarray(mask) != 0
    free = np.flatnonzero(levels)
    free = free[~found.ravel()[free]]
    lowest = _lowest(levels.ravel()[free])
    free = free[levels.ravel()[free] >= lowest]
    free = free[np.argsort(-levels.ravel()[free].astype(np.int16), kind="stable")]
    if not len(free):
        return found
    places = np.unravel_index(free, levels.shape)
    box = tuple(slice(max(0, int(p.min()) - 1), int(p.max()) + 2) for p in places)
    taken = np.pad(found[box], 1)
    inside = tuple(p - s.start + 1 for p, s in zip(places, box, strict=True))
    where, steps = np.ravel_multi_index(inside, taken.shape), _neighbours(taken.shape)
    touched = np.zeros(len(free), dtype=bool)
    for step in steps:
        touched |= taken.ravel()[where + step] | taken.ravel()[where - step]
    kept = _hills(levels.ravel()[free], _edges(where, steps, taken.size), touched, lowest)
    found[tuple(p[kept] for p in places)] = True
    return found


def _hills(
    heights: NDArray[np.uint8],
    edges: tuple[NDArray[np.int32], NDArray[np.int32]],
    touched: NDArray[np.bool_],
    lowest: int,
) -> NDArray[np.bool_]:
    """Return which voxels lie on hills: (N,) of voxels of these heights, falling, some of which touch the mask.

    The threshold falls step by step, and what it joins becomes one part, whose peak is known.
    """
    first, second = edges
    weight = np.minimum(heights[first], heights[second])
    order = np.argsort(weight, kind="stable")
    first, second = first[order], second[order]
    starts = np.searchsorted(weight[order], np.arange(257))
    reached = np.searchsorted(-heights.astype(np.intp), -np.arange(257), side="right")
    part, peak, near = np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, bool)
    kept = np.zeros(len(heights), dtype=bool)
    for level in range(int(heights.max(initial=0)), lowest - 1, -1):
        new = slice(len(part), int(reached[level]))
        part = np.concatenate([part, np.arange(len(peak), len(peak) + new.stop - new.start, dtype=np.int32)])
        peak, near = np.concatenate([peak, heights[new]]), np.concatenate([near, touched[new]])
        here = slice(starts[level], starts[level + 1])
        if here.start < here.stop:
            pairs = part[first[here]], part[second[here]]
            graph = coo_matrix((np.ones(len(pairs[0])), pairs), shape=(len(peak), len(peak)))
            count, joined = connected_components(graph, directed=False)
            higher, nearer = np.zeros(count, dtype=np.uint8), np.zeros(count, dtype=bool)
            np.maximum.at(higher, joined, peak)
            nearer[joined[near]] = True
            part, peak, near = joined[part], higher, nearer
        kept[: len(part)] |= ((peak == level + STEPS) & ~near)[part]
    return kept


def _edges(where: NDArray[np.intp], steps: list[int], size: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the pairs of neighbours among voxels, as places in `where`."""
    number = np.full(size, -1, dtype=np.int32)
    number[where] = np.arange(len(where), dtype=np.int32)
    others = [number[where + step] for step in steps]
    first = [np.flatnonzero(other >= 0).astype(np.int32) for other in others]
    return np.concatenate(first), np.concatenate([o[f] for o, f in zip(others, first, strict=True)])


def _neighbours(shape: tuple[int, ...]) -> list[int]:
    """Return the steps, in places of a flat array of `shape`, to one half of the neighbours; the others lie opposite."""
    strides = np.cumprod([1, *shape[:0:-1]])[::-1]
    steps = [int(np.dot(strides, move)) for move in itertools.product((-1, 0, 1), repeat=len(shape))]
    return [step for step in steps if step > 0]


def _lowest(free: NDArray[np.uint8]) -> int:
    """Return the lowest level that at most `MOST_VOXELS` voxels reach, at least 1."""
    reached = np.cumsum(np.bincount(free, minlength=257)[::-1])[::-1]
    return max(1, int(np.argmax(reached <= MOST_VOXELS)))
