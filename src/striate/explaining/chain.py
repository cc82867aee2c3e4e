"""Back from an output to the image: the sum that made it, the sum that made its largest term, and so on.

The network runs forward only, so that what an operation took is gone when it is asked for. A pass therefore keeps what the
last operations took, as many of them as a budget allows, and runs again, only as far as needed, where that was too few.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from striate.core.errors import UsageError, expected
from striate.explaining.opening import closed_because
from striate.explaining.passing import Call, Stop, run
from striate.explaining.places import tensor_index
from striate.explaining.sums import Place, Sum, image_voxel, opened_at
from striate.explaining.trace import spatial_dims
from striate.networks.following import Seen

BUDGET = 256 * 2**20
"""Bytes of activations that are kept at most, beside those of the pass itself and of the one operation that is opened."""


def chain(
    network: nn.Module, tile: Tensor, node: int, unit: int, at: Sequence[int] = (), budget: int = BUDGET
) -> list[Sum]:
    """Follow the largest term of a sum back to the image.

    Parameters
    ----------
    network, tile
        As for `striate.explaining.trace.trace`.
    node, unit, at
        Where it starts, as for `striate.explaining.sums.sum_of`.
    budget
        Bytes; see `BUDGET`. With less, the network runs more often and the answer is the same.

    Returns
    -------
    list
        From the output back, each sum that of the largest term (by absolute value) of the one before it; the last one is
        the voxel of the image, without terms. It ends earlier at an operation that cannot be opened or that took nothing
        that depends on the image. Where no number of a sum counts (a rectifier that is shut), its first one is followed.

    Raises
    ------
    UsageError
        As `striate.explaining.sums.sum_of`.
    """
    dims = spatial_dims(network, tile)
    place: Place = (node, unit, tuple(int(i) for i in at))
    held: dict[int, tuple[Call, tuple[int, ...]]] = {}
    sums: list[Sum] = []
    value: float | None = None
    while place[0] != 0:
        if place[0] not in held:
            recent = _Recent(place, dims, budget)
            _, passing = run(network, tile, recent)
            held = recent.held
            if place[0] not in held:
                raise UsageError(expected("inspection", f"node {node}", f"one of 0 to {passing.count - 1} is needed"))
            value = recent.value if value is None else value
        call, shape = held[place[0]]
        if sums and closed_because(call) is not None:
            return sums
        found = opened_at(call, place, shape)
        found.value = found.value if value is None else value
        sums.append(found.sum())
        if not sums[-1].terms:
            return sums
        largest = sums[-1].terms[0]
        place, value = (largest.source, largest.unit, largest.at), largest.input
    return [*sums, image_voxel(tile, dims, place)]


class _Recent:
    """Keeps what the last operations took, up to one node."""

    def __init__(self, place: Place, dims: int, budget: int) -> None:
        self.place, self.dims, self.budget = place, dims, budget
        self.held: dict[int, tuple[Call, tuple[int, ...]]] = {}
        self.value: float | None = None
        self._bytes: dict[int, int] = {}

    def before(self, node: int, call: Call) -> None:
        """See `Watcher`: what is about to be overwritten is copied for those that took it."""
        if not call.func._schema.is_mutable:
            return
        written = call.operands[0].tensor
        if written is None:
            return
        storage = written.untyped_storage()
        self._fit(0, storage.nbytes())
        kept = storage.clone()  # type: ignore[no-untyped-call]
        for other, _ in [*self.held.values(), (call, ())]:
            for operand in other.operands:  # one that does not depend on the image may lie there too
                tensor = operand.tensor
                if tensor is not None and tensor.untyped_storage()._cdata == storage._cdata:
                    place = (tensor.storage_offset(), tensor.shape, tensor.stride())
                    operand.tensor = torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(kept, *place)

    def after(self, node: int, call: Call, out: Tensor, layer: str, seen: Seen) -> None:
        """See `Watcher`."""
        self.held[node] = (call, tuple(out.shape))
        self._count()
        self._fit(1)
        if node == self.place[0]:
            _, unit, at = self.place
            self.value = _number(out, self.dims, unit, at)
            raise Stop

    def _fit(self, least: int, more: int = 0) -> None:
        """Let go of the oldest operations, but `least`, until `more` bytes fit."""
        while len(self.held) > least and sum(self._bytes.values()) + more > self.budget:
            self.held.pop(next(iter(self.held)))[0].release()
            self._count()

    def _count(self) -> None:
        self._bytes = {}
        for call, _ in self.held.values():
            for operand in call.tracked:
                if operand.tensor is not None:
                    storage = operand.tensor.untyped_storage()
                    self._bytes[storage._cdata] = storage.nbytes()


def _number(out: Tensor, dims: int, unit: int, at: tuple[int, ...]) -> float | None:
    """Return one number; None where there is none, which is said when it is opened."""
    try:
        return float(out[tensor_index(out.shape, dims, unit, at)])
    except (IndexError, ValueError, RuntimeError):  # of a complex number too
        return None
