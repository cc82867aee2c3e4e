"""Where each number of a pass through a network comes from: memory that operations wrote, and who wrote it.

Slices, permutations and reshaped views share memory with what an operation put out, so that a number in them is found by
its place in that memory; nothing is copied and no number is looked at. An operation that writes into memory of another
(``relu_``) becomes the writer of what it wrote.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

Ints = NDArray[np.int64]
CONSTANT = -1
"""Stands for the number of an operation where a number does not depend on the image."""


@dataclass(frozen=True)
class Layout:
    """How an array lies in memory: its shape, and strides and offset in numbers (not bytes)."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, tensor: Tensor) -> Layout:
        """Return that of `tensor`."""
        return cls(tuple(tensor.shape), tuple(tensor.stride()), int(tensor.storage_offset()))

    def places(self, index: Ints) -> Ints:
        """Return the places in memory (N,) of the numbers at `index` (N, axes)."""
        return self.offset + index @ np.asarray(self.strides, np.int64).reshape(-1)

    def indices(self, places: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """Return the indices (N, axes) of the numbers at `places` (N,), and which of them are in this array."""
        rest = places - self.offset
        found = np.zeros((len(places), len(self.shape)), np.int64)
        inside = rest >= 0
        for axis in sorted(range(len(self.shape)), key=lambda a: -self.strides[a]):
            if self.shape[axis] > 1 and self.strides[axis] > 0:
                found[:, axis] = rest // self.strides[axis]
                inside &= found[:, axis] < self.shape[axis]
                rest = rest - found[:, axis] * self.strides[axis]
        return found, inside & (rest == 0)

    @property
    def span(self) -> tuple[int, int]:
        """First and last place in memory."""
        last = sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        return self.offset, self.offset + last

    @property
    def dense(self) -> bool:
        """Whether it fills all places between its first and its last."""
        first, last = self.span
        return math.prod(self.shape) == last - first + 1


class Owner(Protocol):
    """Who wrote into memory, and where."""

    @property
    def layout(self) -> Layout:
        """Which part of the memory."""
        ...

    def addresses(self, index: Ints, dims: int) -> Ints:
        """Return operation, unit and place (N, 2 + dims) of the numbers at `index` (N, axes)."""
        ...

    def nodes(self, span: tuple[int, int]) -> set[int]:
        """Return the operations whose numbers may lie between two places of the memory."""
        ...


@dataclass(frozen=True)
class Written:
    """What operation `node` put out; `node` is `CONSTANT` for numbers that do not depend on the image."""

    layout: Layout
    node: int

    def addresses(self, index: Ints, dims: int) -> Ints:
        """See `Owner`."""
        lead, _ = split_shape(self.layout.shape, dims)
        found = np.zeros((len(index), 2 + dims), np.int64)
        found[:, 0] = self.node
        for axis, n in enumerate(lead):
            found[:, 1] = found[:, 1] * n + index[:, axis]
        if len(lead) < index.shape[1]:
            found[:, 2:] = index[:, len(lead) :]
        else:
            found[:, 2:] = -1
        return found

    def nodes(self, span: tuple[int, int]) -> set[int]:
        """See `Owner`."""
        return set() if self.node == CONSTANT else {self.node}


@dataclass(frozen=True)
class Copied:
    """A copy of other numbers."""

    layout: Layout
    origin: Origin

    def addresses(self, index: Ints, dims: int) -> Ints:
        """See `Owner`."""
        return self.origin.addresses(index, dims)

    def nodes(self, span: tuple[int, int]) -> set[int]:
        """See `Owner`."""
        return self.origin.nodes()


@dataclass(frozen=True)
class Origin:
    """Where the numbers of an array come from: its layout, and the writers of its memory, the last one last."""

    layout: Layout
    owners: tuple[Owner, ...]

    def addresses(self, index: Ints, dims: int) -> Ints:
        """Return operation, unit and place (N, 2 + dims) of the numbers at `index` (N, axes), broadcast from axes of length 1."""
        index = np.minimum(
            index[:, index.shape[1] - len(self.layout.shape) :], np.asarray(self.layout.shape, np.int64) - 1
        )
        places = self.layout.places(index)
        found = np.full((len(places), 2 + dims), CONSTANT, np.int64)
        left = np.ones(len(places), bool)
        for owner in reversed(self.owners):
            if not left.any():
                break
            inner, inside = owner.layout.indices(places)
            inside &= left
            if inside.any():
                found[inside] = owner.addresses(inner[inside], dims)
                left &= ~inside
        return found

    def nodes(self) -> set[int]:
        """Return the operations that its numbers may come from."""
        first, last = self.layout.span
        found: set[int] = set()
        for owner in reversed(self.owners):
            low, high = owner.layout.span
            if low <= last and high >= first:
                found |= owner.nodes((first, last))
                if owner.layout.dense and low <= first and high >= last:
                    break
        return found


@dataclass
class Memory:
    """Writers of all memory that holds numbers which depend on the image."""

    _known: dict[int, tuple[StorageWeakRef, list[Owner]]] = field(default_factory=dict)

    def write(self, tensor: Tensor, owner: Owner) -> None:
        """Note that `owner` wrote `tensor`."""
        owners = self._of(tensor)
        if owners is None:
            storage = tensor.untyped_storage()
            self._known[storage._cdata] = (StorageWeakRef(storage), [owner])  # type: ignore[no-untyped-call]
            return
        low, high = owner.layout.span
        if owner.layout.dense:
            owners[:] = [o for o in owners if not (low <= o.layout.span[0] and o.layout.span[1] <= high)]
        owners.append(owner)

    def origin(self, tensor: Tensor) -> Origin | None:
        """Return where `tensor` comes from; None where it does not depend on the image."""
        owners = self._of(tensor)
        return None if owners is None else Origin(Layout.of(tensor), tuple(owners))

    def _of(self, tensor: Tensor) -> list[Owner] | None:
        try:
            key = tensor.untyped_storage()._cdata
        except (NotImplementedError, RuntimeError):  # sparse arrays have no memory of this kind
            return None
        known = self._known.get(key)
        if known is not None and known[0].expired():  # type: ignore[no-untyped-call]
            del self._known[key]
            return None
        return None if known is None else known[1]


def split_shape(shape: Sequence[int], dims: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the axes of a tensor that number its units (batch, images, maps), and those of its map.

    Parameters
    ----------
    shape
        With the batch axis.
    dims
        Spatial axes of the network. A tensor has a map where these, a batch axis and one for the maps are there.
    """
    cut = len(shape) - dims if len(shape) >= dims + 2 else len(shape)
    return tuple(shape[:cut]), tuple(shape[cut:])


def tensor_index(shape: Sequence[int], dims: int, unit: int, at: Sequence[int]) -> tuple[int, ...]:
    """Return the index into a tensor of `shape` of the number of `unit` at `at`."""
    lead, _ = split_shape(shape, dims)
    return (*(int(i) for i in np.unravel_index(unit, lead or (1,))[: len(lead)]), *at)


def grid(*axes: Any) -> Ints:
    """Return all combinations of the numbers given per axis, (N, axes), the last axis fastest."""
    made = np.meshgrid(*(np.asarray(a, np.int64).reshape(-1) for a in axes), indexing="ij")
    return np.stack([m.reshape(-1) for m in made], axis=1) if axes else np.zeros((1, 0), np.int64)


def numbers(tensor: torch.Tensor, index: Ints) -> NDArray[np.float64]:
    """Return the numbers of `tensor` at `index` (N, axes), in float64, broadcast from axes of length 1."""
    index = np.minimum(index[:, index.shape[1] - tensor.ndim :], np.asarray(tensor.shape, np.int64) - 1)
    if tensor.ndim == 0:
        return np.full(len(index), float(tensor.detach()))
    found = tensor.detach()[tuple(torch.from_numpy(np.ascontiguousarray(index.T)).to(tensor.device))]
    return np.asarray(found.double().cpu().numpy())
