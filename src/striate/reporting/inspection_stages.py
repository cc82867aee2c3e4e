"""The steps of a network as stages: what its own modules put together, in the order of execution.

A stage is a part of the network that one name stands for (``encoder.2``, ``mixed_5b``); stages of many steps hold further
ones, so that a page can fold and unfold them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from striate.reporting.figures.network import KINDS, QUIET, kind_of

MOST_OPEN = 16
"""Steps of a stage beyond which it is divided further, where names allow it."""
MANY_SIZES = 3
"""A part whose maps have so many sizes is no stage but several."""
JOINING = ("addition", "concatenation", "multiplication", "product of maps", "subtraction")


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a network, as far as its place in a drawing needs.

    Attributes
    ----------
    id
        Its number.
    layer
        Path of the module that asked for it.
    kind
        What it does: one of `KINDS`, or ``joining``.
    level
        How often the image was halved to get the size of its maps; None where there is no map.
    """

    id: int
    layer: str
    kind: str
    level: int | None


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps and stages under one name."""

    name: str
    items: tuple[Step | Stage, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, in the order of execution."""
        return tuple(s for item in self.items for s in ((item,) if isinstance(item, Step) else item.steps))

    def plain(self) -> dict[str, Any]:
        """Return the stage as plain JSON: numbers of steps, and stages."""
        return {"name": self.name, "items": [i.id if isinstance(i, Step) else i.plain() for i in self.items]}


def colour_of(kind: str) -> str:
    """Return the name of the colour of a kind of step, as in drawings of networks."""
    return KINDS.get(kind, KINDS["other"])[1]


def steps_of(nodes: Sequence[Mapping[str, Any]], tile: Sequence[int]) -> list[Step]:
    """Return the nodes of an inspection as steps; `tile` is the size of the image."""
    return [
        Step(int(n["id"]), str(n.get("layer") or ""), _kind(str(n.get("operation") or "")), _level(n["shape"], tile))
        for n in nodes
    ]


def _kind(operation: str) -> str:
    if operation.startswith(JOINING):
        return "joining"
    if operation.startswith(("matrix", "dense", "weighted sum")):
        return "dense"
    if operation == "mean":
        return "pooling"
    return operation if operation in KINDS else kind_of(operation)


def _level(shape: Sequence[int], tile: Sequence[int]) -> int | None:
    if len(shape) < 2 or not tile:
        return None
    return max(0, round(math.log2(max(max(tile) / max(1, *shape[1:]), 1))))


def stages_of(steps: Sequence[Step]) -> list[Stage]:
    """Return the stages of a network in the order of execution; every step is in one of them, once."""
    named = _named(steps)
    found: list[Stage] = []
    for run in _runs(named, 1):
        quiet = all(step.kind in QUIET for step, _ in run)
        if found and quiet and len(run) == 1:
            found[-1] = Stage(found[-1].name, (*found[-1].items, run[0][0]))
        else:
            found.extend(_split(run))
    return found


def _named(steps: Sequence[Step]) -> list[tuple[Step, tuple[str, ...]]]:
    """Return each step with the parts of its name; what the network itself does between two parts belongs to the next one."""
    found: list[tuple[Step, tuple[str, ...]]] = []
    after: tuple[str, ...] = ()
    for step in reversed(steps):
        parts = tuple(part for part in step.layer.split(".") if part)
        after = parts if parts and step.kind != "input" else after
        found.append((step, parts or after))
    last = next((parts for _, parts in found if parts), ())
    return [(step, parts or last) for step, parts in reversed(found)]


Named = tuple[Step, tuple[str, ...]]


def _runs(named: Sequence[Named], depth: int) -> list[list[Named]]:
    """Return steps in a row whose names share the first `depth` parts."""
    return [list(run) for _, run in groupby(named, key=lambda pair: (pair[1][:depth], pair[0].kind == "input"))]


def _split(run: list[Named]) -> list[Stage]:
    """Return a run as one stage, or as several where it has maps of many sizes."""
    shared = _shared(run)
    levels = {step.level for step, _ in run}
    if len(run) > MOST_OPEN and len(levels) >= MANY_SIZES:
        parts = _runs(run, len(shared) + 1)
        if 1 < len(parts) <= 12 and sum(len(part) > 1 for part in parts) > len(parts) / 2:
            return [stage for part in parts for stage in _split(part)]
    return [_stage(run)]


def _stage(run: list[Named]) -> Stage:
    shared = _shared(run)
    name = ".".join(shared)
    if len(run) <= MOST_OPEN:
        return Stage(name, tuple(step for step, _ in run))
    parts = _runs(run, len(shared) + 1)
    if len(parts) == 1:
        return Stage(name, tuple(step for step, _ in run))
    items = (_stage(part) if len(part) > 1 else part[0][0] for part in parts)
    return Stage(name, tuple(items))


def _shared(run: list[Named]) -> tuple[str, ...]:
    """Return the parts that all names of a run begin with; a lone step has its whole name."""
    first, *rest = [parts for _, parts in run]
    length = min(len(first), *(len(parts) for parts in rest)) if rest else len(first)
    while length and any(parts[:length] != first[:length] for parts in rest):
        length -= 1
    return first[:length]
