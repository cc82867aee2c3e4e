"""The model card after the audit, forgetting, and the record."""

from __future__ import annotations

from typing import Any

from striate.core.machine import show_seconds
from striate.reporting.audit import Audit
from striate.reporting.section import Section

TITLE = "Model card and record"


def make(folder: Audit) -> Section:
    """Return the sections of the card, and what was run."""
    part = folder.part("card")
    if not part.get("sections"):
        return Section("audit_card", TITLE, absent=folder.absent("card") or "The audit has no card.")
    record, model = folder.record, folder.part("model")
    machine = record.get("machine") or {}
    rows = [
        ("Weights SHA-256", str(model.get("weights_sha256") or "–")),
        ("Started", str(record.get("started") or "–")),
        ("Took", show_seconds(float(record.get("duration_s") or 0.0))),
        ("Machine", ", ".join(str(machine[k]) for k in ("processor", "system") if machine.get(k)) or "–"),
        ("Versions", ", ".join(f"{k} {v}" for k, v in (record.get("versions") or {}).items()) or "–"),
    ]
    times = [
        [
            n.replace("_", " "),
            p["status"],
            show_seconds(p["seconds"]),
            show_seconds(over) if (over := p.get("over_s")) else "",
        ]
        for n, p in folder.part("parts").items()
    ]
    data: dict[str, Any] = {
        "sections": part["sections"],
        "rows": rows,
        "times": times,
        "forgetting": folder.answer("forgetting"),
    }
    return Section("audit_card", TITLE, data)
