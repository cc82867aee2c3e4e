"""Every operation of a network on one tile of a scan: what it does, its statistics, and the plane of its maps through one point.

The network runs once, as for a prediction, and its activations are summed up as they pass: no more of them is held than
prediction holds, but for one plane of each map. `striate.explaining.sums` opens any number that was computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate.core.errors import UsageError, expected
from striate.explaining.opening import closed_because, operation_of
from striate.explaining.passing import Call, Passing, Stop, run
from striate.explaining.places import split_shape
from striate.networks.following import Seen
from striate.networks.receptive_field import Axis

Floats = NDArray[np.float32]
AT_ONCE = 2**20
"""Numbers that are summed up at once, so that statistics need little memory."""


@dataclass(frozen=True)
class Node:
    """One operation of the pass, in the order of execution.

    Attributes
    ----------
    id
        0 is the image itself.
    layer
        Path of the module that asked for it, "" for the network itself; ``input`` for node 0.
    operation
        In words, for instance ``convolution``.
    shape
        (F, *map), or (F,) where there is no map: F units. Images that pass together (a sequence, slices as a batch) have
        their units one after another: F = images · units of one image.
    sources
        Nodes whose outputs it takes. Slices, permutations and copies are followed through and are no nodes.
    parameters
        Learned numbers that it uses.
    images
        See `shape`.
    seen
        Per spatial axis, which voxels of the tile a voxel of the map sees; None where it sees the whole axis.
    receptive_field
        Voxels of the tile that one voxel of the map sees, per axis, the tile taken as endless.
    closed
        Why its sums cannot be opened, one sentence; None where they can.
    """

    id: int
    layer: str
    operation: str
    shape: tuple[int, ...]
    sources: tuple[int, ...]
    parameters: int
    images: int
    seen: Seen
    receptive_field: tuple[int, ...]
    closed: str | None = None

    @property
    def units(self) -> int:
        """How many maps (or single numbers) it has."""
        return self.shape[0]

    @property
    def map(self) -> tuple[int, ...]:
        """Size of its maps, () where it has none."""
        return self.shape[1:]

    def place_of(self, point: Sequence[int], tile: Sequence[int]) -> tuple[int, ...]:
        """Return the voxel of the map that lies over voxel `point` of a tile of size `tile`; () without map."""
        axes = zip(self.map, self.seen, point, tile, strict=True) if self.map else ()
        return tuple(_nearest(n, axis, p, whole) for n, axis, p, whole in axes)

    def field_of(self, at: Sequence[int], tile: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Return the first and last voxel of the tile (of size `tile`) per axis that voxel `at` of the map sees."""
        found = []
        for i, (axis, n) in enumerate(zip(self.seen, tile, strict=True)):
            first, last = (0, n - 1) if axis is None or not self.map else axis.at(int(at[i]))
            found.append((min(max(first, 0), n - 1), max(min(last, n - 1), 0)))
        return tuple(found)


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of each unit over its whole map, (F,) float32 each; the standard deviation divides by the number of voxels."""

    mean: Floats
    std: Floats
    least: Floats
    most: Floats
    zeros: Floats


@dataclass(frozen=True, eq=False)
class Trace:
    """What passed.

    Attributes
    ----------
    nodes
        All operations; ``nodes[i].id`` is ``i``.
    statistics
        Of each node.
    planes
        Of each node the plane through `point`, (F, h, w) float32; (F,) where there is no map; 2D networks: the maps.
    point
        Voxel of the tile.
    plane_axis
        Axis of the tile along which the planes have one voxel; None for 2D networks.
    size
        Of the tile, per spatial axis.
    output
        Node that made the network's output.
    output_shape
        Of the output, without the batch axis.
    said
        What the network put out at the point, (K,); None where its output has no map. The last operation's map may be larger.
    calls
        The operations themselves, without the numbers that passed.
    """

    nodes: tuple[Node, ...]
    statistics: tuple[Statistics, ...]
    planes: tuple[Floats, ...]
    point: tuple[int, ...]
    plane_axis: int | None
    size: tuple[int, ...]
    output: int
    output_shape: tuple[int, ...]
    said: Floats | None
    calls: tuple[Call | None, ...] = field(repr=False)


def trace(network: nn.Module, tile: Tensor, point: Sequence[int] | None = None, plane_axis: int = -1) -> Trace:
    """Send `tile` through `network` and sum up what passes.

    Parameters
    ----------
    network
        It runs in evaluation mode and is left as it came in.
    tile
        (1, C, *S) float32, as the network takes it; (1, T, C, *S) for a sequence.
    point
        Voxel of the tile that the planes go through; the middle where not given.
    plane_axis
        Spatial axis of the tile that is cut; ignored by 2D networks.

    Raises
    ------
    UsageError
        When `tile` holds several images that are no sequence, or `point` is not in it, or the network refuses the tile.
    """
    dims = spatial_dims(network, tile)
    size = tuple(tile.shape[tile.ndim - dims :])
    middle = tuple(n // 2 for n in size) if point is None else tuple(int(p) for p in point)
    if len(middle) != dims or not all(0 <= p < n for p, n in zip(middle, size, strict=False)):
        raise UsageError(expected("trace", f"point {middle}", f"a voxel of a tile of size {size} is needed"))
    axis = plane_axis % dims if dims > 2 else None
    watcher = _Summing(size, middle, axis)
    watcher.first(tile)
    out, passing = run(network, tile, watcher)
    if out is None:
        raise UsageError(expected("trace", "a network that gave nothing", "one that gives a tensor is needed"))
    return Trace(
        tuple(watcher.nodes), tuple(watcher.statistics), tuple(watcher.planes), middle, axis, size,
        _made_by(out, passing), tuple(out.shape[1:]), _said_at(out, middle, size), tuple(watcher.calls),
    )  # fmt: skip


def planes_of(network: nn.Module, tile: Tensor, node: Node, plane: int, plane_axis: int = -1) -> Floats:
    """Return plane `plane` (F, h, w) of each map of `node`; the network runs up to it.

    Parameters
    ----------
    network, tile
        As for `trace`.
    node
        One of the trace.
    plane
        Voxel of the map along the axis that is cut, not of the tile.
    plane_axis
        As for `trace`.
    """
    dims = spatial_dims(network, tile)
    axis = plane_axis % dims if dims > 2 else None
    place = (plane,) * len(node.map)
    if node.id == 0:
        return _plane(as_units(tile, dims), place, axis)
    watcher = _Cutting(node.id, place, axis, dims)
    run(network, tile, watcher)
    return watcher.found[0]


def spatial_dims(network: nn.Module, tile: Tensor) -> int:
    """Return the spatial axes of `tile`.

    Raises
    ------
    UsageError
        When it holds several images that are no sequence.
    """
    if len(tile) != 1:
        raise UsageError(
            expected("inspection", f"{len(tile)} images at once", "one is needed: (1, C, *S), or a sequence (1, T, C, *S)")
        )  # fmt: skip
    return int(getattr(network, "spatial_dims", tile.ndim - 2))


def as_units(out: Tensor, dims: int) -> Tensor:
    """Return `out` with its batch, images and maps as one axis: (F, *map), or (F,) without map."""
    lead, size = split_shape(out.shape, dims)
    return out.reshape(int(np.prod(lead, dtype=np.int64)), *size)


class _Summing:
    """Makes a node of each operation, its statistics and its plane."""

    def __init__(self, size: tuple[int, ...], point: tuple[int, ...], axis: int | None) -> None:
        self.size, self.point, self.axis = size, point, axis
        self.nodes: list[Node] = []
        self.statistics: list[Statistics] = []
        self.planes: list[Floats] = []
        self.calls: list[Call | None] = []

    def first(self, tile: Tensor) -> None:
        """Make node 0."""
        seen: Seen = (Axis(),) * len(self.size)
        self._add(tile, None, "input", "image", seen, (), 0)

    def before(self, node: int, call: Call) -> None:
        """See `Watcher`."""

    def after(self, node: int, call: Call, out: Tensor, layer: str, seen: Seen) -> None:
        """See `Watcher`."""
        self._add(out, call, layer, operation_of(call), seen, call.sources, call.parameters)
        call.release()

    def _add(
        self,
        out: Tensor,
        call: Call | None,
        layer: str,
        operation: str,
        seen: Seen,
        sources: tuple[int, ...],
        parameters: int,
    ) -> None:
        dims = len(self.size)
        lead, _ = split_shape(out.shape, dims)
        units = as_units(out, dims)
        whole = tuple(n if axis is None else axis.size for axis, n in zip(seen, self.size, strict=True))
        closed = None if call is None else closed_because(call)
        node = Node(
            len(self.nodes), layer, operation, tuple(units.shape), sources, parameters, int(np.prod(lead[:-1], dtype=int)),
            seen, whole, closed,
        )  # fmt: skip
        self.nodes.append(node)
        self.calls.append(call)
        self.statistics.append(_statistics(units))
        self.planes.append(_plane(units, node.place_of(self.point, self.size), self.axis))


class _Cutting:
    """Keeps the plane of one node."""

    def __init__(self, node: int, place: tuple[int, ...], axis: int | None, dims: int) -> None:
        self.node, self.place, self.axis, self.dims = node, place, axis, dims
        self.found: list[Floats] = []

    def before(self, node: int, call: Call) -> None:
        """See `Watcher`."""

    def after(self, node: int, call: Call, out: Tensor, layer: str, seen: Seen) -> None:
        """See `Watcher`."""
        if node == self.node:
            self.found.append(_plane(as_units(out, self.dims), self.place, self.axis))
            raise Stop


def _statistics(units: Tensor) -> Statistics:
    flat = units.reshape(len(units), -1)
    flat = flat if flat.is_floating_point() else flat.real.float()
    rows = max(1, AT_ONCE // flat.shape[1])
    parts = [_of_rows(flat[first : first + rows]) for first in range(0, len(flat), rows)]
    return Statistics(*(torch.cat(column).float().cpu().numpy() for column in zip(*parts, strict=True)))


def _of_rows(rows: Tensor) -> tuple[Tensor, ...]:
    mean = rows.mean(1)
    std = (rows - mean[:, None]).square_().mean(1).sqrt()
    zeros = 1 - torch.count_nonzero(rows, dim=1) / rows.shape[1]
    return mean, std, rows.amin(1), rows.amax(1), zeros


def _plane(units: Tensor, place: tuple[int, ...], axis: int | None) -> Floats:
    cut = (units if axis is None or not place else units.select(1 + axis, place[axis])).real
    return np.array(cut.float().cpu().numpy(), dtype=np.float32)


def _said_at(out: Tensor, point: tuple[int, ...], size: tuple[int, ...]) -> Floats | None:
    """Return the output (1, K, *map) at a point of the tile, in whose middle its map lies; None where it has no map there."""
    at = [p - (n - m) // 2 for p, n, m in zip(point, size, out.shape[2:], strict=False)]
    if out.ndim != len(size) + 2 or not all(0 <= i < m for i, m in zip(at, out.shape[2:], strict=True)):
        return None
    place: Any = (0, slice(None), *at)
    return np.array(out[place].float().cpu().numpy(), dtype=np.float32)


def _made_by(out: Tensor, passing: Passing) -> int:
    origin = passing.memory.origin(out)
    return max(origin.nodes(), default=0) if origin is not None else 0


def _nearest(n: int, axis: Axis | None, point: int, whole: int) -> int:
    """Return the voxel of a map of `n` that lies where voxel `point` of the tile's `whole` does.

    The map is laid over the middle of the tile: padded maps fill it, others lack as much on either side. Fields are not asked:
    where maps are halved and doubled again their centres drift away from the place that is meant.
    """
    stride = whole / n if axis is None or not axis.step else axis.step / len(axis.spans)
    return min(n - 1, max(0, math.floor((point + 0.5 - (whole - n * stride) / 2) / stride)))
