"""`Inside`: one pass of a window through a network, of which any number can be opened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import UsageError
from striate.core.progress import Progress
from striate.explaining.chain import chain
from striate.explaining.sums import Sum, sum_of, sums_of
from striate.explaining.trace import Trace, planes_of, trace
from striate.inference.whole import probabilities_of
from striate.planning.cost import window_cost
from striate.planning.plan import Plan
from striate.workflows.inspect_files import Sheets, greys, key_of, node_document, sum_document
from striate.workflows.inspect_opening import Number, at_point, number_named, output_of, strongest
from striate.workflows.inspect_place import world_mm
from striate.workflows.inspect_view import View

KIND, VERSION = "striate-inspection", 1
SENT_MAPS = 256
"""Maps of an operation that are sent at most to a page that is served."""


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """What passed, and what opens numbers of it.

    Attributes
    ----------
    plan, view, trace
        Of the model; what is looked at; all operations of the pass.
    """

    plan: Plan
    view: View
    trace: Trace

    @classmethod
    def of(cls, plan: Plan, view: View, progress: Progress) -> Inside:
        """Send the window through the network."""
        with progress.bar(f"watch {view.case.name}", None):
            return cls(plan, view, trace(view.network, view.tile, view.inside))

    def named(self, layer: str, unit: int) -> Number:
        """Return a number by its layer; see `striate.workflows.inspect_opening.number_named`."""
        return number_named(self.view, self.trace, layer, unit)

    def open(self, number: Number) -> Sum:
        """Return the sum that made a number."""
        return sum_of(self.view.network, self.view.tile, number.node, number.unit, number.at)

    def sum(self, node: int, unit: int, at: Sequence[int]) -> dict[str, Any]:
        """Return the sum of any number as JSON.

        Raises
        ------
        UsageError
            When there is no such number, or it cannot be opened.
        """
        return sum_document(self.open(Number(node, unit, tuple(at))))

    def maps(self, node: int, plane: int | None = None) -> dict[str, Any]:
        """Return all maps of a node as one picture, as a data URI; of 3D maps their plane `plane`, else that of the point.

        Raises
        ------
        UsageError
            When there is no such node or plane, or it has no maps.
        """
        from striate.reporting.inspection_pictures import source_of

        if not 0 <= node < len(self.trace.nodes):
            raise UsageError(f"node {node}: one of 0 to {len(self.trace.nodes) - 1} is needed.")
        known, axis = self.trace.nodes[node], self.trace.plane_axis
        planes = self.trace.planes[node]
        if planes.ndim != 3:
            raise UsageError(f"node {node}: it puts out {known.units} numbers and no maps.")
        own = None if axis is None else known.place_of(self.view.inside, self.trace.size)[axis]
        if plane is not None and axis is not None and plane != own:
            most = known.map[axis] - 1
            if not 0 <= plane <= most:
                raise UsageError(f"plane {plane}: the maps of node {node} have planes 0 to {most}.")
            planes, own = planes_of(self.view.network, self.view.tile, known, plane), plane
        units = list(range(min(len(planes), SENT_MAPS)))
        turned = planes[: len(units), ::-1, ::-1] if self.view.oriented else planes[: len(units)]
        made = greys(turned.transpose(0, 2, 1))
        return {"src": source_of(made.pop("sheet")), "units": units, "plane": own, **made}

    def write(self, folder: Path, asked: Number | None, progress: Progress) -> dict[str, Any]:
        """Write the pictures into `folder` and return the document; `asked` is a number that is opened beside the others."""
        view, passed = self.view, self.trace
        found = self._opened(asked, progress)
        keys = [key_of(s.node, s.unit, s.at) for s in found[1]]
        sums = {key_of(s.node, s.unit, s.at): s for s in found[0]} | dict(zip(keys, found[1], strict=True))
        sheets, shown = Sheets(folder, view, passed.plane_axis), dict[int, list[int]]()
        for one in sums.values():
            shown.setdefault(one.node, []).append(one.unit)
            for term in one.terms[:1]:
                shown.setdefault(term.source, []).append(term.unit)
        nodes = [
            node_document(view, passed, node, node.place_of(view.inside, passed.size), shown.get(node.id, ()), sheets)
            for node in passed.nodes
        ]
        value, probability, mask = self._said()
        cost = window_cost(self.plan)
        spacing = [s for axis, s in enumerate(view.prepared.grid.spacing_mm) if axis != view.flat][: len(passed.size)]
        axis = passed.plane_axis
        return {
            "kind": KIND, "schema_version": VERSION, "case": view.case.name,
            "model": {"network": self.plan.network.name, "parameters": cost.parameters_run,
                      "macs": sum(node["macs"] for node in nodes), "task": self.plan.task.kind},
            "tile": {
                "corner": list(view.corner), "shape": list(passed.size), "spatial_dims": len(passed.size), "plane_axis": axis,
                "plane": None if axis is None else view.inside[axis], "plane_axes": sheets.plane_axes,
                "flipped": sheets.flipped, "spacing_mm": [round(s, 4) for s in spacing], "channels": self._channels(),
                "step": view.step,
            },
            "told": _told(view, value, probability),
            "at": list(view.at), "at_world_mm": world_mm(view.at, view.prepared), "at_tile": list(view.inside),
            "output": {"what": view.output.what, "name": view.output.name, "value": value, "probability": probability,
                       "blended": view.output.blended, "node": passed.output},
            "image": sheets.image(mask), "nodes": nodes,
            "sums": {key: sum_document(one) for key, one in sums.items()}, "chain": keys, "notes": view.notes, "live": None,
        }  # fmt: skip

    def _channels(self) -> list[str]:
        """Return what the maps of node 0 are."""
        names, step = self.view.channels, self.view.step
        if step is None:
            return list(names)
        return [f"{name}, image {t}" for t in range(self.view.tile.shape[1]) for name in names]

    def _opened(self, asked: Number | None, progress: Progress) -> tuple[list[Sum], list[Sum]]:
        """Return the sums of the strongest numbers and of `asked`, and the chain from the output back to the image."""
        wanted = [*strongest(self.view, self.trace), *([] if asked is None else [asked])]
        places = [(number.node, number.unit, number.at) for number in dict.fromkeys(wanted)]
        with progress.bar(f"open {self.view.case.name}", None):
            found = sums_of(self.view.network, self.view.tile, places)
        number = output_of(self.view, self.trace)
        if self.trace.nodes[number.node].closed is not None:
            return found, []
        with progress.bar(f"way back {self.view.case.name}", None):
            back = chain(self.view.network, self.view.tile, number.node, number.unit, number.at)
        return found, [one for one in back if one.node]

    def _said(self) -> tuple[float, float | None, NDArray[np.bool_] | None]:
        """Return the number of the output, the probability that it means, and where in the plane the output says the same."""
        number, task = output_of(self.view, self.trace), self.plan.task
        node = self.trace.nodes[number.node]
        units = at_point(self.trace, node, number.at) if self.trace.said is None or not node.map else self.trace.said
        value = float(units[number.unit])
        if task.kind == "reconstruction":
            return value, None, None
        exclusive = self.plan.targets.exclusive if task.kind == "segmentation" else not task.multi_label
        count = len(self.plan.targets.names) + exclusive if task.kind == "segmentation" else len(task.classes)
        first = number.unit - self.view.output.unit
        said = units[first : first + count]
        chance = float(probabilities_of(said[None], exclusive=exclusive)[0, self.view.output.unit])
        if task.kind != "segmentation" or not node.map:
            return value, chance, None
        planes = self.trace.planes[node.id]
        won = planes.argmax(axis=0) == number.unit if exclusive else planes[number.unit] > 0
        return value, chance, self._in_tile(np.asarray(won))

    def _in_tile(self, plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a plane of the output as one of the tile, which is larger where a network answers for its inner part."""
        axes = [n for axis, n in enumerate(self.trace.size) if axis != self.trace.plane_axis]
        whole = np.zeros(axes, dtype=bool)
        rest = [i for axis, i in enumerate(self.view.inside) if axis != self.trace.plane_axis]
        own = [i for axis, i in enumerate(self.view.output.at) if axis != self.trace.plane_axis]
        start = [i - o for i, o in zip(rest, own, strict=True)]
        ends = tuple(slice(s, s + n) for s, n in zip(start, plane.shape, strict=True))
        part = tuple(slice(0, min(n, w - s)) for s, n, w in zip(start, plane.shape, axes, strict=True))
        whole[ends] = plane[part]
        return whole


def _told(view: View, value: float, probability: float | None) -> str:
    """Return in sentences what is looked at and what is said there."""
    output, place = view.output, ", ".join(str(i) for i in view.at)
    there = "for it" if output.what == "class" else "there"
    said = f"This is voxel ({place}) of {view.case.name}; followed is the {output.what} {output.name}. The network puts out"
    said += f" {value:.4g} {there}" if math.isfinite(value) else f" no finite number {there}"
    if probability is not None and math.isfinite(probability):
        said += f", a probability of {100 * probability:.1f} %"
    if output.blended is not None and math.isfinite(output.blended) and view.step is None and output.what == "label":
        said += f"; of all windows together predict says {100 * output.blended:.1f} %, before calibration"
    return " ".join([f"{said}.", *view.notes])
