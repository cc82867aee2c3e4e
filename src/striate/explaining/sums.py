"""One number of one map as the sum that made it, computed again in float64 from what that operation alone took."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from striate.core.errors import UsageError, expected
from striate.explaining.opening import closed_because, opener_of, operation_of
from striate.explaining.opening.opened import Opened
from striate.explaining.passing import Call, Stop, run
from striate.explaining.places import CONSTANT, Ints, split_shape, tensor_index
from striate.explaining.trace import as_units, spatial_dims
from striate.networks.following import Seen


@dataclass(frozen=True)
class Term:
    """One number that a sum was made of.

    Attributes
    ----------
    source
        Node that put it out; 0 is the image.
    unit, at
        Which number of that node: its map, and the voxel of the map (() where there is none).
    weight
        What it is multiplied by; where the operation is no sum, the derivative.
    input
        The number, as the operation took it.
    product
        weight · input.
    """

    source: int
    unit: int
    at: tuple[int, ...]
    weight: float
    input: float
    product: float


@dataclass(frozen=True, eq=False)
class Terms(Sequence[Term]):
    """Terms in columns: a dense layer has a hundred thousand of them.

    Attributes
    ----------
    source, unit
        (N,) int64.
    at
        (N, axes) int64; -1 where the source has no map.
    weight, input, product
        (N,) float64.
    """

    source: Ints
    unit: Ints
    at: Ints
    weight: NDArray[np.float64]
    input: NDArray[np.float64]
    product: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.source)

    @overload
    def __getitem__(self, index: int) -> Term: ...
    @overload
    def __getitem__(self, index: slice) -> Terms: ...
    def __getitem__(self, index: int | slice) -> Term | Terms:
        if isinstance(index, slice):
            return Terms(*(column[index] for column in self._columns()))
        at = tuple(int(i) for i in self.at[index] if i >= 0)
        numbers = (float(self.weight[index]), float(self.input[index]), float(self.product[index]))
        return Term(int(self.source[index]), int(self.unit[index]), at, *numbers)

    def __iter__(self) -> Iterator[Term]:
        return (self[i] for i in range(len(self)))

    def _columns(self) -> tuple[Any, ...]:
        return self.source, self.unit, self.at, self.weight, self.input, self.product


@dataclass(frozen=True, eq=False)
class Sum:
    """How one number was made.

    Attributes
    ----------
    node, operation, unit, at
        Which number: of the node, its unit, and the voxel of its map (() where there is none).
    value
        What the network computed, in float32.
    formula
        In signs: ``Σ w·x + b``, ``max of 8``, ``γ·(x − μ)/σ + β``.
    constants
        Numbers of the formula by name.
    terms
        All numbers that it was made of, largest |product| first.
    total
        The same number computed again in float64.
    additive
        Whether the products and `offset` add up to `total`. Where not (sigmoid, a product of two maps), the weights are
        derivatives and the products say how much each number matters.
    offset
        What is added to the products: the bias; of a normalisation β − γ·μ/σ. 0 where not `additive`.
    by_source_unit
        (node, unit, sum of products) per map that it was made of, largest first.
    """

    node: int
    operation: str
    unit: int
    at: tuple[int, ...]
    value: float
    formula: str
    constants: dict[str, float]
    terms: Terms
    total: float
    additive: bool
    offset: float
    by_source_unit: tuple[tuple[int, int, float], ...]

    @property
    def error(self) -> float:
        """Return how far apart `total` and `value` are: the rounding of float32."""
        return abs(self.total - self.value)

    @property
    def scale(self) -> float:
        """Return Σ |product| and the size of the constants: what float32 rounding is measured against."""
        return float(np.abs(self.terms.product).sum()) + sum(abs(c) for c in self.constants.values()) + abs(self.total)


def sum_of(network: nn.Module, tile: Tensor, node: int, unit: int, at: Sequence[int] = ()) -> Sum:
    """Send `tile` through `network` up to `node`, and take one number that it puts out apart.

    Parameters
    ----------
    network, tile
        As for `striate.explaining.trace.trace`.
    node
        Number of the operation in the trace; 0 is the image, which has no sum: its term is itself.
    unit
        Which of its maps.
    at
        Voxel of the map; () where there is none.

    Raises
    ------
    UsageError
        When there is no such node, unit or voxel, or the operation cannot be opened.
    """
    return sums_of(network, tile, [(node, unit, at)])[0]


def sums_of(network: nn.Module, tile: Tensor, places: Sequence[tuple[int, int, Sequence[int]]]) -> list[Sum]:
    """Take several numbers apart in one pass, which ends with the last of them.

    Parameters
    ----------
    network, tile
        As for `striate.explaining.trace.trace`.
    places
        Node, unit and voxel of each, as for `sum_of`.

    Returns
    -------
    list
        In the order of `places`.

    Raises
    ------
    UsageError
        As `sum_of`.
    """
    dims = spatial_dims(network, tile)
    asked: list[Place] = [(node, unit, tuple(int(i) for i in at)) for node, unit, at in places]
    opening = _Opening([p for p in dict.fromkeys(asked) if p[0] != 0], dims)
    if opening.places:
        _, passing = run(network, tile, opening)
        if opening.places:
            missing = min(opening.places)
            raise UsageError(expected("inspection", f"node {missing}", f"one of 0 to {passing.count - 1} is needed"))
    return [image_voxel(tile, dims, p) if p[0] == 0 else opening.found[p].sum() for p in asked]


Place = tuple[int, int, tuple[int, ...]]
"""Node, unit, voxel of its map."""


@dataclass
class Found:
    """One number whose operation was opened: what is left needs no more of the pass."""

    call: Call
    place: Place
    opened: Opened
    value: float = math.nan

    def sum(self) -> Sum:
        """Say where its terms come from."""
        self.opened.finish()
        call, opened = self.call, self.opened
        parts = [p for p in opened.parts if p.operand.origin is not None]
        where = [p.operand.origin.addresses(p.index, call.dims) for p in parts if p.operand.origin is not None]
        terms = _terms(
            np.concatenate([np.zeros((0, 2 + call.dims), np.int64), *where]),
            np.concatenate([np.zeros(0), *(p.weight for p in parts)]),
            np.concatenate([np.zeros(0), *(p.value for p in parts)]),
        )
        offset = opened.total - float(terms.product.sum()) if opened.additive else 0.0
        node, unit, at = self.place
        return Sum(
            node, operation_of(call), unit, at, self.value, opened.formula, opened.constants, terms, opened.total,
            opened.additive, offset, _by_unit(terms),
        )  # fmt: skip


def opened_at(call: Call, place: Place, shape: tuple[int, ...]) -> Found:
    """Open one number of an operation whose output is of `shape`.

    Raises
    ------
    UsageError
        When the output has no such number, or the operation cannot be opened.
    """
    node, unit, at = place
    refuse_outside(node, shape, call.dims, unit, at)
    closed = closed_because(call)
    opener = opener_of(call)
    if closed is not None or opener is None:
        raise UsageError(f"node {node}: {closed}")
    return Found(call, place, opener(call, tensor_index(shape, call.dims, unit, at)))


class _Opening:
    """Opens the numbers that were asked for as they pass."""

    def __init__(self, places: Sequence[Place], dims: int) -> None:
        self.dims = dims
        self.places: dict[int, list[Place]] = {}
        for place in places:
            self.places.setdefault(place[0], []).append(place)
        self.found: dict[Place, Found] = {}

    def before(self, node: int, call: Call) -> None:
        """See `Watcher`: an operation that writes in place is opened before it does."""
        if call.func._schema.is_mutable:
            for place in self.places.get(node, ()):
                self.found[place] = opened_at(call, place, call.operands[0].shape)

    def after(self, node: int, call: Call, out: Tensor, layer: str, seen: Seen) -> None:
        """See `Watcher`."""
        for place in self.places.pop(node, ()):
            if place not in self.found:
                self.found[place] = opened_at(call, place, tuple(out.shape))
            self.found[place].value = float(out[tensor_index(out.shape, self.dims, place[1], place[2])])
        call.release()
        if not self.places:
            raise Stop


def refuse_outside(node: int, shape: tuple[int, ...], dims: int, unit: int, at: tuple[int, ...]) -> None:
    """Refuse a unit or a voxel that a node does not have.

    Raises
    ------
    UsageError
        With those that it has.
    """
    lead, size = split_shape(shape, dims)
    units = int(np.prod(lead, dtype=np.int64))
    if not 0 <= unit < units:
        raise UsageError(expected(f"node {node}", f"unit {unit}", f"one of 0 to {units - 1} is needed"))
    if len(at) != len(size) or not all(0 <= i < n for i, n in zip(at, size, strict=True)):
        need = f"a voxel of its maps of size {size} is needed" if size else "it has no maps, and () is needed"
        raise UsageError(expected(f"node {node}", f"voxel {at}", need))


def image_voxel(tile: Tensor, dims: int, place: Place) -> Sum:
    """Return a voxel of the image as a sum without terms."""
    _, unit, at = place
    refuse_outside(0, tuple(tile.shape), dims, unit, at)
    value = float(as_units(tile, dims)[(unit, *at)])
    none = np.zeros(0)
    empty = Terms(*(np.zeros(0, np.int64),) * 2, np.zeros((0, dims), np.int64), none, none, none)
    return Sum(0, "image", unit, at, value, "a voxel of the image", {}, empty, value, True, value, ())


def _terms(where: Ints, weight: NDArray[np.float64], given: NDArray[np.float64]) -> Terms:
    """Return the terms that depend on the image, largest product first."""
    fed = where[:, 0] != CONSTANT
    where, weight, given = where[fed], weight[fed], given[fed]
    product = weight * given
    order = np.argsort(-np.abs(product), kind="stable")
    return Terms(where[order, 0], where[order, 1], where[order, 2:], weight[order], given[order], product[order])


def _by_unit(terms: Terms) -> tuple[tuple[int, int, float], ...]:
    keys, inverse = np.unique(np.stack([terms.source, terms.unit], axis=1), axis=0, return_inverse=True)
    sums = np.bincount(inverse.reshape(-1), weights=terms.product, minlength=len(keys))
    order = np.argsort(-np.abs(sums), kind="stable")
    return tuple((int(keys[i, 0]), int(keys[i, 1]), float(sums[i])) for i in order)
