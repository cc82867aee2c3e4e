"""How much each network's output changes when the image is moved, enlarged, or gets a neighbour."""

from __future__ import annotations

from typing import Any

from striate.reporting.comparison import Comparison
from striate.reporting.numbers import NONE, fixed
from striate.reporting.section import Section

KINDS = {"shift": "shift", "scale": "scale", "clutter": "neighbour at"}


def make(folder: Comparison) -> Section:
    """Return the table, or why there is none."""
    found = folder.document.get("invariance") or {}
    if not found:
        why = (
            "It was not asked for: --probe invariance." if not folder.asked.get("probe") else "No run has measured it."
        )
        return Section("invariance", "Invariance", absent=why)
    first = next(iter(found.values()))
    columns = [_title(kind, one["amount"], first["edge"]) for kind in KINDS for one in first[kind]]
    rows = [(name, [_cell(one) for kind in KINDS for one in values[kind]]) for name, values in found.items()]
    return Section("invariance", "Invariance", {"columns": columns, "rows": rows, "images": first["images"]})


def _title(kind: str, amount: list[float], edge: float) -> str:
    if kind == "scale":
        return f"scale {amount[0]:g}"
    return f"{KINDS[kind]} {100 * amount[0] / edge:.0f} %"


def _cell(one: dict[str, Any]) -> tuple[str, str]:
    change = one.get("of_difference")
    return (NONE if change is None else fixed(change, 2)), f"{100 * one['recognised']:.0f} % known"
