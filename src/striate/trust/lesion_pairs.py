"""Lesions of two examinations, matched: which lesion of the later mask is which of the earlier one, splits and merges included.

Each mask keeps its own grid, so that volumes are those of the masks as they are and neither is blurred by resampling. Two
lesions belong together where a voxel of one lies in the other; what is left over on both sides and touches (within one voxel)
belongs together too: a small lesion that moved by the error of the registration is not one that vanished and one that is new.
What belongs together by any chain of such pairs is one lesion: two that merged, or one that split, are counted once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from striate.core.geometry import Affine
from striate.core.image import Grid
from striate.measure.components import components

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Side:
    """One lesion in one of the two masks.

    Attributes
    ----------
    volume_ml
        0 where it was not there.
    surface_mm2
        Area of the voxel faces between it and its surroundings.
    edge_voxels
        Voxels with such a face.
    """

    volume_ml: float = 0.0
    surface_mm2: float = 0.0
    edge_voxels: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class PairedLesion:
    """One lesion at both times.

    Attributes
    ----------
    before, after
        What it was and what it is.
    index_before, index_after
        (N, 3) its voxels in each mask's own grid; empty where it is not there.
    centroid_mm
        In mm of the later image; of a lesion that is gone, where it was.
    """

    before: Side
    after: Side
    index_before: NDArray[np.int64]
    index_after: NDArray[np.int64]
    centroid_mm: tuple[float, ...]

    @property
    def size_ml(self) -> float:
        """The larger of its volumes."""
        return max(self.before.volume_ml, self.after.volume_ml)


def pair_lesions(
    before: NDArray[np.bool_], before_grid: Grid, after: NDArray[np.bool_], after_grid: Grid, matrix: Affine
) -> list[PairedLesion]:
    """Match the lesions of two masks, the largest first.

    Parameters
    ----------
    before, after
        (I, J, K), each on its own grid.
    before_grid, after_grid
        These grids.
    matrix
        mm of the later image → mm of the earlier one.
    """
    first, second = _Mask(before, before_grid, np.eye(4)), _Mask(after, after_grid, np.asarray(matrix))
    links = np.concatenate([_overlaps(first, second), _overlaps(second, first)[:, ::-1]])
    links = np.concatenate([links, _touching(first, second, links)])
    owner = _owners(links, first.count, second.count)
    groups = int(owner.max(initial=-1)) + 1
    back = np.asarray(np.linalg.inv(matrix))
    sides = first.sides(owner[: first.count], groups), second.sides(owner[first.count :], groups)
    found = [_paired(was, now, first.grid, second.grid, back) for was, now in zip(*sides, strict=True)]
    return sorted(found, key=lambda lesion: (-lesion.size_ml, lesion.centroid_mm))


class _Mask:
    """A mask with its lesions numbered from 0, and where its voxels lie in mm of the earlier image."""

    def __init__(self, mask: NDArray[np.bool_], grid: Grid, to_common: Affine) -> None:
        self.grid, self.to_common = grid, to_common
        self.numbers, self.count = components(mask)
        self.index = np.argwhere(self.numbers)
        self.lesion = self.numbers[tuple(self.index.T)].astype(np.int64) - 1
        self.mm: Points = (np.c_[self.index, np.ones(len(self.index))] @ (to_common @ grid.affine).T)[:, :3]
        self.surface_mm2, self.edges = _surfaces(self.numbers, self.count, grid)

    def sides(self, owner: NDArray[np.int32], groups: int) -> list[tuple[Side, NDArray[np.int64]]]:
        """Return what each group of lesions is in this mask, and its voxels."""
        of_voxel = owner[self.lesion]
        order = np.argsort(of_voxel, kind="stable")
        voxels = np.bincount(of_voxel, minlength=groups)
        parts = np.split(self.index[order], np.cumsum(voxels)[:-1]) if groups else []
        surface = np.bincount(owner, weights=self.surface_mm2, minlength=groups)
        edges = np.bincount(owner, weights=self.edges, minlength=groups)
        return [
            (Side(int(n) * self.grid.voxel_volume_ml, float(area), int(edge)), part)
            for n, area, edge, part in zip(voxels, surface, edges, parts, strict=True)
        ]

    def at(self, mm: Points) -> NDArray[np.int64]:
        """Return the lesion at each point (N, 3) of the earlier image's mm; −1 for none."""
        index = np.linalg.inv(self.to_common @ self.grid.affine)
        voxel = np.floor((np.c_[mm, np.ones(len(mm))] @ index.T)[:, :3] + 0.5).astype(np.int64)
        inside = ((voxel >= 0) & (voxel < self.grid.shape)).all(axis=1)
        found = np.full(len(mm), -1, dtype=np.int64)
        found[inside] = self.numbers[tuple(voxel[inside].T)].astype(np.int64) - 1
        return found


def _surfaces(numbers: NDArray[np.int32], count: int, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the surface in mm² and the voxels at it of each lesion."""
    padded = np.pad(numbers, 1)
    inner = (slice(1, -1),) * 3
    edge = np.zeros(numbers.shape, dtype=bool)
    surface = np.zeros(count + 1)
    for axis, spacing in enumerate(grid.spacing_mm):
        face_mm2 = 1000 * grid.voxel_volume_ml / spacing
        for step in (-1, 1):
            open_ = (numbers > 0) & (np.roll(padded, step, axis)[inner] == 0)
            surface += face_mm2 * np.bincount(numbers[open_], minlength=count + 1)
            edge |= open_
    return surface[1:], np.bincount(numbers[edge], minlength=count + 1)[1:]


def _overlaps(inner: _Mask, outer: _Mask) -> NDArray[np.int64]:
    """Return the pairs (lesion of `inner`, lesion of `outer`) that share a voxel of `inner`."""
    other = outer.at(inner.mm)
    return np.unique(np.c_[inner.lesion, other][other >= 0].reshape(-1, 2), axis=0)


def _touching(first: _Mask, second: _Mask, links: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pairs of lesions without a partner whose voxels lie within one voxel's diagonal."""
    lone = [~np.isin(mask.lesion, links[:, side]) for side, mask in enumerate((first, second))]
    if not lone[0].any() or not lone[1].any():
        return np.zeros((0, 2), dtype=np.int64)
    reach = max(float(np.linalg.norm(mask.grid.spacing_mm)) for mask in (first, second))
    near, far = cKDTree(first.mm[lone[0]]), cKDTree(second.mm[lone[1]])
    pairs = near.sparse_distance_matrix(far, reach * (1 + 1e-9), output_type="ndarray")
    ends = np.c_[first.lesion[lone[0]][pairs["i"]], second.lesion[lone[1]][pairs["j"]]]
    return np.unique(ends.reshape(-1, 2), axis=0).astype(np.int64)


def _owners(links: NDArray[np.int64], before: int, after: int) -> NDArray[np.int32]:
    """Return for each lesion of both masks, earlier ones first, the number of the group that it belongs to."""
    size = before + after
    if not size:
        return np.zeros(0, dtype=np.int32)
    ones = np.ones(len(links), dtype=np.int8)
    graph = coo_array((ones, (links[:, 0], before + links[:, 1])), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int32)


def _paired(
    was: tuple[Side, NDArray[np.int64]], now: tuple[Side, NDArray[np.int64]], before: Grid, after: Grid, back: Affine
) -> PairedLesion:
    (old, index_before), (new, index_after) = was, now
    if len(index_after):
        centre = after.affine @ [*index_after.mean(axis=0), 1.0]
    else:
        centre = back @ before.affine @ [*index_before.mean(axis=0), 1.0]
    return PairedLesion(old, new, index_before, index_after, tuple(float(v) for v in centre[:3]))
