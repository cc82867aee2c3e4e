"""Which numbers of a pass are opened: the strongest of each operation at the point, and the way back from the output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from striate.core.errors import UsageError
from striate.core.names import did_you_mean
from striate.explaining.trace import Node, Trace
from striate.workflows.inspect_view import View


@dataclass(frozen=True, slots=True)
class Number:
    """One number that an operation put out: its node, unit, and place in the map."""

    node: int
    unit: int
    at: tuple[int, ...]


def output_of(view: View, trace: Trace) -> Number:
    """Return the number of the output that is followed."""
    node = trace.nodes[trace.output]
    output = view.output
    if node.map:
        return Number(node.id, output.unit, output.at)
    index = (output.at[0], output.unit) if view.step is not None else (output.unit, *output.at)
    return Number(node.id, int(np.ravel_multi_index(index, trace.output_shape)), ())


def strongest(view: View, trace: Trace) -> Iterator[Number]:
    """Yield of each node that can be opened the number that is greatest at the point."""
    for node in trace.nodes[1:]:
        if node.closed is None:
            at = node.place_of(view.inside, trace.size)
            yield Number(node.id, int(at_point(trace, node, at).argmax()), at)


def at_point(trace: Trace, node: Node, at: Sequence[int]) -> np.ndarray:
    """Return what each unit of a node says (F,) at voxel `at`, which lies in the plane that was kept."""
    if not node.map:
        return trace.planes[node.id]
    within: tuple[Any, ...] = (slice(None), *(i for axis, i in enumerate(at) if axis != trace.plane_axis))
    return np.asarray(trace.planes[node.id][within])


def node_named(trace: Trace, layer: str) -> Node:
    """Return the last node of a layer, or the node of that number.

    Raises
    ------
    UsageError
        When there is none.
    """
    own = [node for node in trace.nodes if node.layer == layer or node.layer.startswith(f"{layer}.")]
    if own:
        return own[-1]
    if layer.isdecimal() and len(layer) < 10 and int(layer) < len(trace.nodes):
        return trace.nodes[int(layer)]
    known = dict.fromkeys(node.layer for node in trace.nodes if node.layer)
    raise UsageError(f"unknown layer '{layer}'. {did_you_mean(layer, known)}")


def number_named(view: View, trace: Trace, layer: str, unit: int) -> Number:
    """Return unit `unit` of a layer at the point.

    Raises
    ------
    UsageError
        When there is no such layer or unit, or it cannot be opened.
    """
    node = node_named(trace, layer)
    if unit >= node.units:
        raise UsageError(f"unit {layer}:{unit}: the layer has {node.units} units, 0 to {node.units - 1} are needed.")
    if node.closed is not None:
        raise UsageError(f"unit {layer}:{unit}: {node.closed}")
    return Number(node.id, unit, node.place_of(view.inside, trace.size))
