"""Time, memory and electricity of one case, and the engine."""

from __future__ import annotations

from typing import Any

from striate.core.counted import counted
from striate.core.machine import show_bytes, show_seconds
from striate.reporting.audit import Audit
from striate.reporting.numbers import NONE, compact
from striate.reporting.section import Section

TITLE = "Cost"
WAYS = {
    "none": "in one pass", "tta": "from mirrored copies", "dropout": "with dropout left on", "ensemble": "by several models",
}  # fmt: skip


def make(folder: Audit) -> Section:
    """Return the table."""
    absent, part = folder.absent("cost"), folder.part("cost")
    if absent:
        return Section("audit_cost", TITLE, absent=absent)
    stages = ", ".join(f"{name} {show_seconds(s)}" for name, s in part["stages"].items())
    trained = part.get("training_s")
    rows = [
        ("Time per case (median)", f"{show_seconds(part['seconds'])} for {compact(part['voxels'])} voxels: {stages}"),
        ("Slowest case", show_seconds(part["seconds_slowest"])),
        ("Peak memory of the process", show_bytes(part["peak_memory_bytes"])),
        ("Electricity per case (mean)", f"{part['wh']:.2g} Wh ({part['energy_source']})"),
        ("Engine", f"{part['engine']}, {part['precision']}; masks made {WAYS[part['uncertainty']]}"),
        ("Network", f"{part['network']}, {compact(part['parameters'])} parameters"),
        ("Learning took", NONE if trained is None else show_seconds(trained)),
        ("Machine", f"{part['processor']}, {counted(part['cores'], 'core')} used"),
    ]
    data: dict[str, Any] = {
        "rows": rows,
        "n": counted(part["n_subjects"], "subject"),
        "cases": counted(part["n_cases"], "case"),
    }
    return Section("audit_cost", TITLE, data)
