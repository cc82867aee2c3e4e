"""`Scene`: the part of a prepared case that decides what is explained, the target in it, and the way back to the files."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate.core.errors import DataError, expected
from striate.core.image import Image
from striate.data.back import back
from striate.data.prepare import Prepared
from striate.data.resample import resample
from striate.explaining.score import Heard, Score, Tile
from striate.inference.tiling import Tiling
from striate.planning.cost import seen_patch
from striate.planning.plan import Plan

KEPT = 0.95
"""Windows are taken, those that say most of the target first, until they decide this share of it."""
BASELINE = 0.0
"""What stands for "nothing there", after normalisation: the mean of the cropped image (its air with it) for ``zscore``, that
of the tissue for ``zscore_nonzero``, that of the training foreground for ``ct``, the smallest value for ``rescale``, and 0 for
``none``."""

Box = tuple[slice, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What is explained, and of what.

    Attributes
    ----------
    score
        The number that is explained.
    image
        (1, C, *region) float32, what the network sees; beyond the border of the prepared image as `predict` fills it.
    inside
        (*region) bool, the target; None where a class of the whole image is explained.
    tissue
        (*region) bool, voxels of the image that are not `BASELINE` in every channel: with ``zscore`` air inside the crop too.
    corner
        Voxel of the prepared image at which the region begins; negative beyond its border.
    prepared
        The case.
    decided
        Share of the target's blended output that the tiles give; 1 for classes.
    layer
        Path of the layer that Grad-CAM looks at; None: the deepest.
    """

    score: Score
    image: Tensor
    inside: NDArray[np.bool_] | None
    tissue: NDArray[np.bool_]
    corner: tuple[int, ...]
    prepared: Prepared
    decided: float = 1.0
    layer: str | None = None

    @classmethod
    def of_mask(
        cls, plan: Plan, network: nn.Module, prepared: Prepared, target: NDArray[np.bool_], label: str
    ) -> Scene:
        """Return the scene of a label or region over `target`, a mask on the working grid (*grid).

        Raises
        ------
        DataError
            When the target is empty.
        """
        if not target.any():
            raise DataError(
                expected(f"case {prepared.case}", f"an empty target of '{label}'", "a mask with voxels is needed"),
                case=prepared.case,
            )
        tiling = Tiling.of(target.shape, plan.inference.patch, plan.inference.overlap)
        windows, decided = _windows(tiling, target)
        corner = tuple(min(start[a] for start, _ in windows) for a in range(target.ndim))
        stop = tuple(max(start[a] for start, _ in windows) + n for a, n in enumerate(tiling.patch))
        flat = tiling.patch.index(1) if plan.network.spatial_dims < target.ndim else None
        tiles = [
            Tile(
                tuple(slice(s - c, s - c + p) for s, c, p in zip(start, corner, tiling.patch, strict=True)),
                torch.from_numpy(weights),
                flat,
            )
            for start, weights in windows
        ]
        size = tuple(b - a for a, b in zip(corner, stop, strict=True))
        targets = plan.targets
        channel = targets.names.index(label) + int(targets.exclusive)
        score = Score(network, tiles, channel, exclusive=targets.exclusive)
        inside = cut(target[None], corner, size)[0]
        return cls._of(score, prepared, corner, cut(prepared.array, corner, size), inside, decided)

    @classmethod
    def of_class(cls, plan: Plan, network: nn.Module, prepared: Prepared, name: str, plane: int | None = None) -> Scene:
        """Return the scene of class `name` of a whole image, or of its axial slice `plane` of the prepared scan."""
        patch = seen_patch(plan.training.patch, plan.network.spatial_dims)
        seen = prepared.array.shape[1:]
        size = patch if plane is None else (*patch, 1)
        corner = tuple(_middle(n, p) for n, p in zip(seen, size, strict=True))
        corner = corner if plane is None else (*corner[:2], plane)
        tile = Tile(tuple(slice(0, n) for n in size), None, None if plane is None else 2)
        score = Score(network, [tile], plan.task.classes.index(name), exclusive=not plan.task.multi_label)
        return cls._of(score, prepared, corner, cut(prepared.array, corner, size, mode="edge"), None, 1.0)

    @classmethod
    def _of(
        cls,
        score: Score,
        prepared: Prepared,
        corner: tuple[int, ...],
        image: NDArray[np.float32],
        inside: NDArray[np.bool_] | None,
        decided: float,
    ) -> Scene:
        tissue = (image != BASELINE).any(axis=0)
        given = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None]
        return cls(score, given, inside, tissue, corner, prepared, decided)

    @property
    def size(self) -> tuple[int, ...]:
        """Voxels of the region along each axis."""
        return tuple(self.image.shape[2:])

    @property
    def first_tile(self) -> Tensor:
        """What the network sees first, (1, C, *patch), as it takes it."""
        tile = self.score.tiles[0]
        seen = self.image[(slice(None), slice(None), *tile.place)]
        return seen if tile.flat is None else seen.squeeze(2 + tile.flat)

    def of(self, network: nn.Module) -> Scene:
        """Return the same scene seen by another network."""
        return replace(self, score=self.score.of(network))

    def hearing(self, heard: Heard) -> Scene:
        """Return the same scene; `heard` is told of every pass through a network."""
        return replace(self, score=self.score.hearing(heard))

    def looking_at(self, layer: str | None) -> Scene:
        """Return the same scene with `layer` for Grad-CAM."""
        return replace(self, layer=layer)

    def restore(self, values: NDArray[Any]) -> Image:
        """Return `values` (C, *region) on the grid of the files, interpolated linearly; 0 where the network did not look."""
        return back(self.placed(values), self.prepared)

    def placed(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return `values` (C, *region) on the working grid (C, *grid); 0 where the network did not look."""
        whole = np.zeros((len(values), *self.prepared.grid.shape), dtype=np.float32)
        target, source = _overlap(self.prepared.grid.shape, self.corner, self.size)
        whole[(slice(None), *target)] = values[(slice(None), *source)]
        return whole


def on_working_grid(mask: NDArray[Any], prepared: Prepared) -> NDArray[np.bool_]:
    """Return a mask on the grid of the files as one on the working grid: voxels that it fills by half or more.

    Where it fills none by half (it is smaller than a voxel), the fullest ones.
    """
    cropped = np.ascontiguousarray(prepared.reorientation.apply(mask != 0)[prepared.crop])
    share = resample(cropped, prepared.grid.shape, "area")
    most = float(share.max(initial=0.0))
    if most <= 0:
        return np.zeros(share.shape, dtype=bool)
    return np.asarray(share >= min(0.5, most))


def cut(array: NDArray[Any], corner: Sequence[int], size: Sequence[int], mode: str = "zero") -> NDArray[Any]:
    """Return the (C, *size) part of `array` (C, *spatial) from `corner` on; beyond the border 0, or the ``edge`` value."""
    target, source = _overlap(array.shape[1:], corner, size)
    part = array[(slice(None), *target)]
    pads = [(0, 0), *((s.start, n - s.stop) for s, n in zip(source, size, strict=True))]
    return np.pad(part, pads, mode="edge") if mode == "edge" else np.pad(part, pads)


def _overlap(shape: Sequence[int], corner: Sequence[int], size: Sequence[int]) -> tuple[Box, Box]:
    """Return where the region lies in an array of `shape`, and which part of the region that is."""
    target = tuple(slice(max(c, 0), min(c + n, m)) for c, n, m in zip(corner, size, shape, strict=True))
    return target, tuple(slice(t.start - c, t.stop - c) for t, c in zip(target, corner, strict=True))


def _middle(have: int, want: int) -> int:
    """Return where a sample begins in an axis of `have` voxels (as `striate.data.samples.fit` cuts it)."""
    return (have - want) // 2 if have >= want else -((want - have) // 2)


def _windows(
    tiling: Tiling, target: NDArray[np.bool_]
) -> tuple[list[tuple[tuple[int, ...], NDArray[np.float32]]], float]:
    """Return the windows (start, blending weights on the target) that decide it, and the share that they decide."""
    weights = [tiling.weights(a) for a in range(target.ndim)]
    found = []
    for where in np.ndindex(*(len(s) for s in tiling.starts)):
        start = tuple(tiling.starts[a][w] for a, w in enumerate(where))
        mask = cut(target[None], start, tiling.patch)[0]
        if mask.any():
            share = functools.reduce(np.multiply.outer, (weights[a][w] for a, w in enumerate(where)))
            found.append((start, (share * mask).astype(np.float32)))
    found.sort(key=lambda one: -float(one[1].sum()))
    total = float(np.count_nonzero(target))
    sums = np.cumsum([float(w.sum()) for _, w in found])
    count = min(int(np.searchsorted(sums, KEPT * total)) + 1, len(found))
    return found[:count], float(sums[count - 1] / total)
