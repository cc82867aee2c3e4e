"""Sliding window with blending in bounded memory: finished rows are handed on while later ones are computed.

Windows are visited row by row along one axis. Only the rows that a window still to come can touch are kept: classes ×
patch height × the other two axes, never classes × the whole volume. A window in which every channel is constant shows
the network nothing (and is ill-conditioned for instance normalisation); it counts as background without being computed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.inference.engines import Engine
from striate.inference.tiling import Tiling

HALF_ABOVE_BYTES = 1_000_000_000
"""Unfinished rows are kept in half precision (relative error 2⁻¹¹) where single precision needs more than this."""
PIXELS_AT_ONCE = 1 << 18
"""Voxels of the windows that a network is given at once (more than one window only where they are small)."""
BLENDED_AT_ONCE = 1 << 14
"""Voxels that are weighted and added at once: few enough to stay in the processor's cache on the way."""


@dataclass(frozen=True, slots=True)
class Window:
    """How a network is slid over an array.

    Attributes
    ----------
    engine
        Gives probabilities of tiles.
    tiling
        Where windows lie.
    out_channels
        K, classes or regions.
    exclusive
        Whether channel 0 is background.
    spatial_dims
        Of the network; one less than the array's for a 2D network on slices of a volume.
    mirror_axes
        Predictions of all flips along these axes are averaged (test-time augmentation).
    """

    engine: Engine
    tiling: Tiling
    out_channels: int
    exclusive: bool
    spatial_dims: int
    mirror_axes: tuple[int, ...] = ()
    skipped: list[int] = field(default_factory=lambda: [0])

    @property
    def rows_shape(self) -> tuple[int, ...]:
        """Shape of the rows kept: (K, height, *other axes)."""
        size, patch, axis = self.tiling.size, self.tiling.patch, self.tiling.rolling_axis
        rest = (n for a, n in enumerate(size) if a != axis)
        return (self.out_channels, min(patch[axis], size[axis]), *rest)

    @property
    def rows_dtype(self) -> type[np.floating[Any]]:
        """Type of the rows kept."""
        return np.float32 if 4 * math.prod(self.rows_shape) <= HALF_ABOVE_BYTES else np.float16

    def slide(
        self, array: NDArray[np.float32], tell: Callable[[int], None] = lambda done: None
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield finished rows of the blended probabilities.

        Parameters
        ----------
        array
            (C, *size) float32.
        tell
            Called with the number of windows done.

        Yields
        ------
        start
            First row along ``tiling.rolling_axis``; rows come in order and cover the axis.
        rows
            (K, rows, *other axes) probabilities, float32 or float16; valid until the next ones are asked for. In memory they
            lie in the order of the array's own axes.
        """
        tiling, axis = self.tiling, self.tiling.rolling_axis
        weights = [tiling.weights(a) for a in range(len(tiling.size))]
        others = [range(len(s)) for a, s in enumerate(tiling.starts) if a != axis]
        (classes, height, *rest), first, done = self.rows_shape, 0, 0
        kept = np.zeros((classes, *rest[:axis], height, *rest[axis:]), dtype=self.rows_dtype)
        rows = np.moveaxis(kept, 1 + axis, 1)
        for row in range(len(tiling.starts[axis])):
            visits = [(*w[:axis], row, *w[axis:]) for w in itertools.product(*others)]
            for group in self._groups(visits):
                self._add(array, group, weights, kept, first)
                done += len(group)
                tell(done)
            last = row + 1 == len(tiling.starts[axis])
            end = tiling.size[axis] if last else tiling.starts[axis][row + 1]
            yield first, rows[:, : end - first]
            _roll(rows, end - first)
            first = end

    def _groups(self, visits: list[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
        at_once = max(1, PIXELS_AT_ONCE // math.prod(self.tiling.patch))
        for start in range(0, len(visits), at_once):
            yield visits[start : start + at_once]

    def _add(
        self,
        array: NDArray[np.float32],
        group: list[tuple[int, ...]],
        weights: list[NDArray[np.float32]],
        kept: NDArray[Any],
        first: int,
    ) -> None:
        """Add the weighted predictions of some windows to the rows kept (K, *axes; row 0 is row `first` of the array)."""
        tiles = [cut_window(array, self.tiling, where) for where in group]
        seen = [not blank(tile) for tile in tiles]
        self.skipped[0] += seen.count(False)
        found = (
            self._predict([t for t, s in zip(tiles, seen, strict=True) if s]) if any(seen) else np.zeros(0, np.float32)
        )
        shares = iter(found)
        for where, look in zip(group, seen, strict=True):
            target, source = self._boxes(where, first)
            along = [weights[a][w][s] for a, (w, s) in enumerate(zip(where, source, strict=True))]
            share = next(shares)[(slice(None), *source)] if look else None
            if look or self.exclusive:
                _blend(kept[(slice(None), *target)], share, along)

    def _boxes(self, where: tuple[int, ...], first: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return where a window lies in the rows kept, and which part of it lies inside the array."""
        target, source = [], []
        for a, w in enumerate(where):
            start, patch, size = self.tiling.starts[a][w], self.tiling.patch[a], self.tiling.size[a]
            low, high = max(start, 0), min(start + patch, size)
            shift = first if a == self.tiling.rolling_axis else 0
            target.append(slice(low - shift, high - shift))
            source.append(slice(low - start, high - start))
        return tuple(target), tuple(source)

    def _predict(self, tiles: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return probabilities (B, K, *patch) of tiles (C, *patch), averaged over flips."""
        x = np.stack(tiles)
        lend = getattr(self.engine, "lend", None)  # spares a copy where nothing else is asked before this is used
        answer = lend if lend is not None and len(tiles) == 1 and not self.mirror_axes else self.engine
        flat = 2 + self.tiling.patch.index(1) if self.spatial_dims < len(self.tiling.patch) else None
        total = None
        for count in range(len(self.mirror_axes) + 1):
            for axes in itertools.combinations(self.mirror_axes, count):
                places = tuple(2 + a for a in axes)
                given = np.flip(x, places) if places else x
                found = answer(np.ascontiguousarray(given if flat is None else given.squeeze(flat)))
                found = found if flat is None else np.expand_dims(found, flat)
                found = np.flip(found, places) if places else found
                total = found if total is None else total + found
        return total / 2 ** len(self.mirror_axes) if total is not None and self.mirror_axes else found


def cut_window(array: NDArray[np.float32], tiling: Tiling, where: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the (C, *patch) part of `array` under a window; zeros (background) outside of the array."""
    starts = [tiling.starts[a][w] for a, w in enumerate(where)]
    inside = tuple(slice(max(s, 0), min(s + p, n)) for s, p, n in zip(starts, tiling.patch, tiling.size, strict=True))
    part = array[(slice(None), *inside)]
    if part.shape[1:] == tiling.patch:
        return part
    whole = np.zeros((array.shape[0], *tiling.patch), dtype=np.float32)
    whole[(slice(None), *(slice(i.start - s, i.stop - s) for i, s in zip(inside, starts, strict=True)))] = part
    return whole


def blank(tile: NDArray[np.float32]) -> bool:
    """Tell whether every channel is constant; a coarse sample answers for most tiles."""
    flat = tile.reshape(len(tile), -1)
    sample = flat[:, :: max(1, flat.shape[1] // 997)]
    if (sample != sample[:, :1]).any():
        return False
    return bool((flat == flat[:, :1]).all())


def _blend(kept: NDArray[Any], share: NDArray[np.float32] | None, along: list[NDArray[np.float32]]) -> None:
    """Add `share` (K, *axes), weighted, to `kept` (K, *axes) in place; None is background. `along` are weights of each axis."""
    step = max(1, BLENDED_AT_ONCE // math.prod(kept.shape[2:]))
    weighted = np.empty((step, *kept.shape[2:]), dtype=np.float32)
    for low in range(0, kept.shape[1], step):
        weight = _outer([along[0][low : low + step], *along[1:]])
        if share is None:
            np.add(kept[0, low : low + step], weight, out=kept[0, low : low + step], casting="same_kind")
            continue
        out = weighted[: len(weight)]
        for channel, said in zip(kept, share, strict=True):
            np.multiply(said[low : low + step], weight, out=out)
            part = channel[low : low + step]
            np.add(part, out, out=part, casting="same_kind")


def _outer(weights: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    found = weights[0]
    for weight in weights[1:]:
        found = found[..., None] * weight
    return found


def _roll(kept: NDArray[Any], count: int) -> None:
    """Drop the first `count` rows of (K, rows, …) and append as many of zeros, in place."""
    stay = kept.shape[1] - count
    for channel in kept:
        if stay > 0:
            channel[:stay] = channel[count:]
        channel[max(stay, 0) :] = 0
