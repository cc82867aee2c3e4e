"""Back from the grid that the network saw to the grid of the files, row by row, without a full-size probability map.

`Restorer` is given finished rows of probabilities as the sliding window yields them. Each class is interpolated by
itself (linear along each axis; extents are kept as on the way there, so voxel j of n is centred on (j + ½)·m/n − ½ of
m), compared with the best so far, and forgotten. What stays is one small integer per voxel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.data.prepare import Prepared
from striate.data.resample import matrix
from striate.inference.observe import Observer
from striate.inference.probabilities import ProbabilityWriter

ROWS_BYTES = 64_000_000
"""Rows are restored in portions of about this many bytes."""


@dataclass(frozen=True, slots=True)
class Line:
    """Linear resampling along one axis, the same as on the way there (`striate.data.resample.matrix`).

    Attributes
    ----------
    weights
        (after, before) float32.
    first, last
        Per new voxel, the first and last old voxel that it takes something of; both rise.
    same
        Whether nothing changes.
    """

    weights: NDArray[np.float32]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    same: bool

    @classmethod
    def of(cls, before: int, after: int) -> Line:
        """Return the line from `before` voxels to `after` voxels that cover the same extent."""
        if before == after:
            places = np.arange(after)
            return cls(np.zeros((0, 0), np.float32), places, places, True)
        weights = matrix(before, after, "linear")
        taken = weights != 0
        return cls(weights, taken.argmax(axis=1), before - 1 - taken[:, ::-1].argmax(axis=1), False)

    def apply(self, values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
        """Resample `values` along `axis`, which is its last or last but one."""
        if self.same:
            return values
        return values @ self.weights.T if axis == values.ndim - 1 else self.weights @ values


class Restorer:
    """Collects rows of probabilities of one case and gives its label map.

    Parameters
    ----------
    prepared
        The case; only its grids and the way back are used.
    targets
        What the channels of the rows are.
    axis
        The axis along which rows come.
    writer
        Takes the restored probabilities, where they are wanted.
    observer
        Counts them, where that is wanted.
    """

    def __init__(
        self,
        prepared: Prepared,
        targets: Targets,
        axis: int,
        writer: ProbabilityWriter | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.prepared, self.targets, self.axis = prepared, targets, axis
        self.writer, self.observer = writer, observer
        if writer is not None:
            writer.begin(prepared, axis)
        if observer is not None:
            observer.begin(axis)
        before, after = prepared.grid.shape, prepared.cropped.shape
        order = [axis, *(a for a in range(len(after)) if a != axis)]
        self._lines = [Line.of(before[a], after[a]) for a in order]
        whole = np.zeros(after, dtype=np.uint8 if _kinds(targets) <= 256 else np.uint16)
        self._found = np.moveaxis(whole, axis, 0)  # in memory, axes stay in their order all the way
        self._order: Literal["C", "K"] = "K" if all(line.same for line in self._lines) else "C"
        self._kept: NDArray[Any] | None = None
        self._done = 0

    def push(self, start: int, rows: NDArray[Any]) -> None:
        """Take probabilities (K, rows, *other axes) of the rows from `start` on; rows come in order."""
        if self._kept is not None:
            rows, start = np.concatenate([self._kept, rows], axis=1), start - self._kept.shape[1]
        end, line = start + rows.shape[1], self._lines[0]
        ready = int(np.searchsorted(line.last, end))
        across = math.prod(self._found.shape[1:])
        portion = max(1, ROWS_BYTES // (4 * across * (1 if self.targets.exclusive else len(self.targets.sets))))
        for low in range(self._done, ready, portion):
            high = min(low + portion, ready)
            self._found[low:high] = self._decide(rows, low, high, start)
        self._done = ready
        still = int(line.first[ready]) if ready < len(line.first) else end
        self._kept = rows[:, min(still, end) - start :].copy() if still < end else None

    def finish(self) -> LabelMap:
        """Return the label map on the grid of the files."""
        prepared = self.prepared
        whole = np.zeros(prepared.turned_shape, dtype=self._found.dtype)
        whole[prepared.crop] = np.moveaxis(self._found, 0, self.axis)
        table = values_of(self.targets)
        turned = np.ascontiguousarray(prepared.reorientation.invert(whole))
        return LabelMap(table[turned], prepared.source.affine)

    def _decide(self, rows: NDArray[Any], low: int, high: int, start: int) -> NDArray[np.int16]:
        """Return the class of the restored rows low … high."""
        best: NDArray[np.float32] | None
        if self.targets.exclusive:
            best = self._restored(rows, 0, low, high, start)
            found = np.zeros_like(best, dtype=np.int16)
            for k in range(1, rows.shape[0]):
                share = self._restored(rows, k, low, high, start)
                self._show(k - 1, low, share)
                _keep_larger(best, found, share, k)
        else:
            shares = [self._restored(rows, r, low, high, start) for r in range(rows.shape[0])]
            for r, share in enumerate(shares):
                self._show(r, low, share)
            best, found = None, decide_regions(shares, self.targets)
        if self.observer is not None:
            self.observer.decide(low, found, best)
        return found

    def _restored(self, rows: NDArray[Any], k: int, low: int, high: int, start: int) -> NDArray[np.float32]:
        """Return the restored rows low … high of one channel, float32."""
        line = self._lines[0]
        if line.same:
            values = rows[k, low - start : high - start].astype(np.float32, order=self._order)
        else:
            old = slice(int(line.first[low]), int(line.last[high - 1]) + 1)
            taken = rows[k, old.start - start : old.stop - start].astype(np.float32, order="C", copy=False)
            values = np.tensordot(line.weights[low:high, old], taken, axes=1)
        for axis, across in enumerate(self._lines[1:], start=1):
            values = across.apply(values, axis)
        return values

    def _show(self, target: int, low: int, share: NDArray[np.float32]) -> None:
        """Hand the restored rows of one target, from `low` on, to whoever wants them."""
        if self.writer is not None:
            self.writer.push(target, share)
        if self.observer is not None:
            self.observer.take(target, low, share)


def decide_regions(shares: Sequence[NDArray[np.float32]], targets: Targets) -> NDArray[np.int16]:
    """Return which combination of regions is written, as an index into `Targets.memberships`, given each region's probability.

    With ``targets.region_values`` each region is painted where its probability is above 0.5, a later one over an earlier one, as
    nnU-Net does it. Without, the most probable combination is taken, regions being independent: only combinations that some
    label value has are possible (see `Targets.memberships`); the probability of one is the product of p over its regions and
    1 − p over the others. Ties go to the earlier one, background first.
    """
    members, values = targets.memberships()
    best: NDArray[np.float32] | None = None
    found = np.zeros_like(shares[0], dtype=np.int16)
    if targets.region_values is not None:
        for share, written in zip(shares, targets.region_values, strict=True):
            np.copyto(found, np.int16(values.tolist().index(written)), where=share > 0.5)
        return found
    for index, row in enumerate(members):
        value = np.ones_like(shares[0])
        for share, inside in zip(shares, row, strict=True):
            value *= share if inside else 1 - share
        if best is None:
            best = value
        else:
            _keep_larger(best, found, value, index)
    return found


def values_of(targets: Targets) -> NDArray[Any]:
    """Return the label value of each class index, in the smallest unsigned type that holds them."""
    values = np.array([0, *(v[0] for v in targets.sets.values())]) if targets.exclusive else targets.memberships()[1]
    return values.astype(np.min_scalar_type(int(values.max())))


def _kinds(targets: Targets) -> int:
    return len(values_of(targets))


def _keep_larger(best: NDArray[np.float32], found: NDArray[np.int16], share: NDArray[np.float32], index: int) -> None:
    """Where `share` exceeds `best`, keep it and `index`, in place."""
    np.copyto(found, np.int16(index), where=share > best)
    np.maximum(best, share, out=best)
