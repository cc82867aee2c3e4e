"""`Observer`: counts what a network says of a case while its mask is restored; no probability map is kept.

Each restored share is quantised to one byte (`striate.inference.observed.quantise`) and counted on the spot. Whether a
voxel lies inside the mask is known once its class is decided. For exclusive labels that one is then read off the share
that won, since inside the mask of a label the winner's share is the label's own: one count of (class, bin) pairs serves all
labels. For regions each region's bytes are kept as its map anyway.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import GeometryError, expected
from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.data.prepare import Prepared, describe_grid
from striate.inference.observed import AT_ONCE, BINS, REACH, Observed, quantise

FAINT = 1 / (1 + math.exp(REACH))
"""Shares up to this lie in bin 0."""


class Observer:
    """Collects `Observed` of one case: one byte per voxel of the cropped grid, for regions (with the truth: labels) one of each.

    Parameters
    ----------
    prepared
        The case; only its grids and the way back are used.
    targets
        Labels or regions.
    truth
        On the grid of the files, where it is known; label values that belong to no target count as background.

    Raises
    ------
    GeometryError
        When the truth does not lie on the grid of the files.
    """

    def __init__(self, prepared: Prepared, targets: Targets, truth: LabelMap | None = None) -> None:
        self.prepared, self.targets = prepared, targets
        self._members = _members(targets)
        self._truth = None if truth is None else _true_classes(truth, prepared, targets)
        self._all, self._inside, self._true, self._true_inside = (
            np.zeros((len(targets.names), BINS), dtype=np.int64) for _ in range(4)
        )

    def begin(self, axis: int) -> None:
        """Make ready for rows along `axis` of the cropped grid."""
        shape = self.prepared.cropped.shape
        self._axis = axis
        maps = 1 if self.targets.exclusive else len(self.targets.names)
        self._maps = [np.moveaxis(np.zeros(shape, dtype=np.uint8), axis, 0) for _ in range(maps)]
        self._true_rows, self._own = None, self._maps
        if self._truth is not None:
            self._true_rows = np.moveaxis(self._truth, axis, 0)
            if self.targets.exclusive:
                self._own = [np.moveaxis(np.zeros(shape, dtype=np.uint8), axis, 0) for _ in self.targets.names]

    def take(self, target: int, low: int, share: NDArray[np.float32]) -> None:
        """Count the restored shares (rows, *other axes) of one target, from row `low` on."""
        true = None
        if self._true_rows is not None:
            true = self._members[:, target][self._true_rows[low : low + len(share)]]
        if float(share.max()) <= FAINT:
            self._all[target, 0] += share.size
            self._true[target, 0] += 0 if true is None else int(true.sum())
            return
        bins = quantise(share)
        self._all[target] += _counted(bins)
        if true is not None:
            self._true[target] += _counted(bins[true])
        if not self.targets.exclusive or self._truth is not None:
            self._own[target][low : low + len(share)] = bins

    def decide(self, low: int, found: NDArray[np.int16], best: NDArray[np.float32] | None) -> None:
        """Count what lies inside the mask, once the classes `found` (rows, *other axes) of rows from `low` on are known.

        `best` is the share of the class that was found; it is looked at for exclusive labels only.
        """
        rows = slice(low, low + len(found))
        true = None if self._true_rows is None else self._true_rows[rows]
        if self.targets.exclusive and best is not None:
            bins = quantise(best)
            self._maps[0][rows] = bins
            laid = [self._laid(part) for part in (found, bins)]
            inside = laid[0] > 0
            kinds, own = (part[inside] for part in laid)
            self._inside += _counted_by(kinds, own, len(self._members))[1:]
            if true is not None:
                right = kinds == (true if laid[0] is found else np.moveaxis(true, 0, self._axis))[inside]
                self._true_inside += _counted_by(kinds[right], own[right], len(self._members))[1:]
            return
        for target, bins in enumerate(whole[rows] for whole in self._maps):
            inside = self._members[:, target][found]
            self._inside[target] += _counted(bins[inside])
            if true is not None:
                both = inside & self._members[:, target][true]
                self._true_inside[target] += _counted(bins[both])

    def _laid(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return rows with their axes in the order in which they lie in memory, where that is the array's own."""
        return rows if rows.flags.c_contiguous else np.moveaxis(rows, 0, self._axis)

    def finish(self) -> Observed:
        """Return what was observed, its maps on the grid of the files; the observer lets go of each as it is framed."""
        names, exclusive = self.targets.names, self.targets.exclusive
        alone, self._true_rows = self._own is self._maps, None
        maps = [self._framed(self._maps.pop(0), BINS - 1 if exclusive else 0) for _ in range(len(self._maps))]
        own = maps if alone else [self._framed(self._own.pop(0), 0) for _ in range(len(self._own))]
        return Observed(
            counts=_two_rows(names, self._all, self._inside),
            certainty={name: maps[0 if exclusive else index] for index, name in enumerate(names)},
            true_counts={} if self._truth is None else _two_rows(names, self._true, self._true_inside),
            shares={} if self._truth is None else dict(zip(names, own, strict=True)),
        )

    def _framed(self, rows: NDArray[np.uint8], outside: int) -> NDArray[np.uint8]:
        """Return rows on the grid of the files, `outside` where the network saw nothing."""
        whole = np.full(self.prepared.turned_shape, outside, dtype=np.uint8)
        whole[self.prepared.crop] = np.moveaxis(rows, 0, self._axis)
        return np.ascontiguousarray(self.prepared.reorientation.invert(whole))


def _members(targets: Targets) -> NDArray[np.bool_]:
    """Return (A, targets) bool: whether class index a belongs to each target; class 0 is background."""
    count = len(targets.names)
    return np.eye(count + 1, count, -1, dtype=bool) if targets.exclusive else targets.memberships()[0]


def _true_classes(truth: LabelMap, prepared: Prepared, targets: Targets) -> NDArray[np.uint8]:
    if not truth.grid.matches(prepared.source):
        raise GeometryError(
            expected(f"case {prepared.case}",
                     f"the truth has {describe_grid(truth.grid)}, the image has {describe_grid(prepared.source)}",
                     "both must lie on one grid, because they are compared voxel by voxel",
                     "Resample the truth onto the image, or fix its header; see striate check."), case=prepared.case,
        )  # fmt: skip
    turned = prepared.reorientation.apply(truth.array)
    return targets.classes(np.ascontiguousarray(turned[prepared.crop]))


def _counted(bins: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how often each bin occurs, (BINS,) int64."""
    flat = bins.ravel(order="K")
    pieces = (flat[start : start + AT_ONCE] for start in range(0, flat.size, AT_ONCE))
    return sum((np.bincount(piece, minlength=BINS) for piece in pieces), start=np.zeros(BINS, dtype=np.int64))


def _counted_by(classes: NDArray[np.int16], bins: NDArray[np.uint8], kinds: int) -> NDArray[np.int64]:
    """Return how often each bin occurs in each class, (kinds, BINS) int64."""
    pairs = classes.astype(np.int64)
    pairs *= BINS
    pairs += bins
    return np.bincount(pairs.ravel(), minlength=kinds * BINS).reshape(kinds, BINS)


def _two_rows(
    names: tuple[str, ...], everywhere: NDArray[np.int64], inside: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Return name → (2, BINS): outside of the mask, inside of it."""
    both = np.stack([everywhere - inside, inside], axis=1)
    return dict(zip(names, both, strict=True))
