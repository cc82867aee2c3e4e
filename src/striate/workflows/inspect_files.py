"""The files of `inspect`: ``inspection.json``, and beside it the maps of every operation as small grey pictures.

Pictures are upright as in reports: rows are axis ``plane_axes[0]`` of the tile and columns ``plane_axes[1]``, each ``flipped``
or not (scans: the patient's right on the left, the front on top). A voxel's grey is 255 · (value - low) / (high - low).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.explaining.passing import Call
from striate.explaining.sums import Sum
from striate.explaining.trace import Node, Trace
from striate.networks.receptive_field import Axis
from striate.reporting.shrink import average, window
from striate.workflows.inspect_view import View

Floats = NDArray[np.float32]

SIDE = 64
"""Pixels along a side of a map at most."""
MOST_MAPS, MOST_FILTERS, MOST_INPUTS = 32, 64, 4
"""Maps of an operation that are shown, those that vary most; kernels; maps that a convolution takes whose kernels are shown."""
TERMS, SOURCES = 64, 16
"""Terms of a sum that are kept beside those of the map that adds most, and maps that it is divided among."""
AROUND = 125
"""Terms of the map that adds most that are kept."""


def sum_document(one: Sum) -> dict[str, Any]:
    """Return a sum as JSON: its largest terms, and what the others add."""
    terms = one.terms
    kept = np.zeros(len(terms), dtype=bool)
    kept[:TERMS] = True
    if one.by_source_unit:
        source, unit, _ = one.by_source_unit[0]
        same = np.flatnonzero((terms.source == source) & (terms.unit == unit))
        kept[same[:AROUND]] = True
    rows = [
        {"source": t.source, "unit": t.unit, "at": list(t.at), "weight": t.weight, "input": t.input, "product": t.product}
        for t in (terms[int(i)] for i in np.flatnonzero(kept))
    ]  # fmt: skip
    return {
        "node": one.node, "operation": one.operation, "unit": one.unit, "at": list(one.at), "value": one.value,
        "formula": one.formula, "constants": one.constants, "terms": rows, "total": one.total, "error": one.error,
        "additive": one.additive, "offset": one.offset,
        "by_source_unit": [list(row) for row in one.by_source_unit[:SOURCES]],
        "left_out": {"count": int((~kept).sum()), "sum": float(terms.product[~kept].sum())},
    }  # fmt: skip


def key_of(node: int, unit: int, at: Sequence[int]) -> str:
    """Return the key of a sum in the document."""
    return f"{node}:{unit}:{','.join(str(i) for i in at)}"


class Sheets:
    """Writes pictures of maps into `folder`, all turned alike."""

    def __init__(self, folder: Path, view: View, plane_axis: int | None) -> None:
        self.folder, self.view, self.plane_axis = folder, view, plane_axis
        dims = len(view.inside)
        rest = [axis for axis in range(dims) if axis != plane_axis]
        self.plane_axes = [rest[1], rest[0]] if len(rest) == 2 else rest
        self.flipped = [view.oriented] * len(rest)
        for name in ("maps", "filters", "image"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def upright(self, planes: NDArray[Any]) -> NDArray[Any]:
        """Return (N, h, w) pictures of planes (N, a, b)."""
        turned = planes[:, ::-1, ::-1] if self.view.oriented else planes
        return turned.transpose(0, 2, 1)

    def maps(self, node: int, planes: Floats, units: Sequence[int]) -> dict[str, Any]:
        """Write some maps of a node."""
        return sheet(self.folder, f"maps/{node}.png", self.upright(planes[list(units)]), list(units))

    def filters(self, node: int, call: Call | None) -> dict[str, Any] | None:
        """Write the kernels of a convolution of few maps, the middle plane of each; None for all else."""
        weight = None if call is None or call.name != "convolution" else _weight(call)
        if call is None or weight is None or call.args[6] or weight.shape[1] > MOST_INPUTS or max(weight.shape[2:]) < 3:
            return None
        if self.plane_axis is not None and weight.ndim == 5:
            weight = np.take(weight, weight.shape[2 + self.plane_axis] // 2, axis=2 + self.plane_axis)
        if weight.ndim != 4:
            return None
        units = [[u, c] for u in range(weight.shape[0]) for c in range(weight.shape[1])][:MOST_FILTERS]
        kernels = np.stack([weight[u, c] for u, c in units])
        return sheet(self.folder, f"filters/{node}.png", self.upright(kernels), units)

    def image(self, mask: NDArray[np.bool_] | None) -> dict[str, Any]:
        """Write the tile's plane of each channel, windowed over the whole tile, and what was predicted in it."""
        tile, step = self.view.tile[0].numpy(), self.view.step
        channels, names = (tile if step is None else tile[step]), self.view.channels
        found = []
        for n, (name, values) in enumerate(zip(names, channels, strict=True)):
            shown = window(values) if np.ptp(values) > 0 else np.zeros(values.shape, np.uint8)
            file = f"image/{n}.png"
            save(self.folder / file, self.upright(self.plane(shown)[None])[0])
            found.append({"name": name, "file": file})
        if mask is None:
            return {"channels": found, "prediction": None}
        save(self.folder / "image/prediction.png", 255 * self.upright(mask[None])[0].astype(np.uint8))
        return {"channels": found, "prediction": "image/prediction.png"}

    def plane(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the plane of an array (*tile) through the point."""
        return (
            values
            if self.plane_axis is None
            else np.take(values, self.view.inside[self.plane_axis], axis=self.plane_axis)
        )


def sheet(folder: Path, name: str, pictures: NDArray[Any], units: Sequence[Any]) -> dict[str, Any]:
    """Write pictures (N, h, w) side by side, each with its own range of greys; return what the document says of them."""
    made = greys(pictures)
    save(folder / name, made["sheet"])
    return {"file": name, "units": list(units), **{k: v for k, v in made.items() if k != "sheet"}}


def greys(pictures: NDArray[Any]) -> dict[str, Any]:
    """Return pictures (N, h, w) as one of 8 bits, none of its parts longer than `SIDE`, and how to read it."""
    pictures = np.nan_to_num(pictures, nan=0.0)  # of a network whose numbers grow without end
    low, high = pictures.min(axis=(1, 2)).astype(float), pictures.max(axis=(1, 2)).astype(float)
    span = np.where(high > low, high - low, 1.0)
    scaled = (pictures - low[:, None, None]) * (255 / span[:, None, None])
    count, height, width = pictures.shape
    small = average(scaled, [count, min(height, SIDE), min(width, SIDE)]) if count else scaled.astype(np.uint8)
    _, height, width = small.shape
    columns = max(1, min(count, math.ceil(math.sqrt(count * height / width))))
    rows = -(-count // columns)
    whole = np.zeros((rows * columns, height, width), np.uint8)
    whole[:count] = small
    picture = whole.reshape(rows, columns, height, width).transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
    return {
        "sheet": picture, "tile": [height, width], "columns": columns,
        "low": [float(f"{v:.6g}") for v in low], "high": [float(f"{v:.6g}") for v in high],
    }  # fmt: skip


def save(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a grey picture."""
    from PIL import Image as Picture

    Picture.fromarray(np.ascontiguousarray(picture)).save(path, format="PNG")


def varied(trace: Trace, node: Node, must: Sequence[int] = ()) -> list[int]:
    """Return the units of a node whose maps vary most, those of `must` among them, rising."""
    order = np.argsort(-trace.statistics[node.id].std, kind="stable")
    return sorted([*dict.fromkeys([*must, *map(int, order)])][: max(MOST_MAPS, len(must))])


def node_document(
    view: View, trace: Trace, node: Node, at: Sequence[int], must: Sequence[int], sheets: Sheets
) -> dict[str, Any]:
    """Return what the document says of a node, whose maps are written; `must` are units that are shown."""
    known = trace.statistics[node.id]
    numbers = {name: _rounded(getattr(known, name)) for name in ("mean", "std", "least", "most", "zeros")}
    planes, call, network = trace.planes[node.id], trace.calls[node.id], len(trace.size)
    spacing = [s for axis, s in enumerate(view.prepared.grid.spacing_mm) if axis != view.flat][:network]
    return {
        "id": node.id, "layer": node.layer, "operation": "input" if node.id == 0 else node.operation,
        "shape": list(node.shape), "sources": list(node.sources), "parameters": node.parameters, "macs": _macs(node, call),
        "receptive_field": list(node.receptive_field),
        "receptive_field_mm": [round(n * s, 3) for n, s in zip(node.receptive_field, spacing, strict=True)],
        "axes": [_axis(axis) for axis in node.seen], "at": list(at), "images": node.images, "closed": node.closed,
        "statistics": numbers, "dead": int((known.least == known.most).sum()) if node.map else 0,
        "maps": sheets.maps(node.id, planes, varied(trace, node, must)) if planes.ndim == 3 else None,
        "values": None if node.map else _rounded(planes), "filters": sheets.filters(node.id, call),
    }  # fmt: skip


def _rounded(values: Floats) -> list[float]:
    return [float(f"{v:.6g}") for v in values]


def _axis(axis: Axis | None) -> dict[str, float] | None:
    """Return the step between the fields of neighbours, and where the middle of the first lies."""
    if axis is None:
        return None
    period = len(axis.spans)
    stride = axis.step / period
    middles = [(first + last) / 2 - stride * i for i, (first, last) in enumerate(axis.spans) if first <= last]
    return {"stride": stride, "offset": float(np.mean(middles)) if middles else 0.0}


def _weight(call: Call) -> Floats | None:
    operand = call.args[1]
    return None if operand.origin is not None or operand.tensor is None else operand.tensor.detach().float().numpy()


def _macs(node: Node, call: Call | None) -> int:
    """Return the multiplications with additions of a convolution or matrix product; 0 of all else."""
    if call is None:
        return 0
    shapes = [operand.shape for operand in call.operands]
    if call.name == "convolution":
        given, weight = shapes[0], shapes[1]
        ends = math.prod(given) if call.args[6] else math.prod(node.shape)
        return int(ends * math.prod(weight[1:]))
    if call.name in ("mm", "addmm", "bmm", "baddbmm", "linear"):
        first = shapes[0] if call.name in ("mm", "bmm", "linear") else shapes[1]
        return int(math.prod(node.shape) * first[-1])
    return 0
