"""The first thing an audit shows: broken limits, then each con of the lecture with its answer and where it is shown."""

from __future__ import annotations

from typing import Any

from striate.core.counted import counted
from striate.core.machine import show_seconds
from striate.reporting.audit import Audit
from striate.reporting.numbers import fixed, interval
from striate.reporting.section import Section

ANCHORS = {
    "quality": "audit_quality", "annotation": "audit_annotation", "learning_curve": "audit_learning", "cost": "audit_cost",
    "black_box": "audit_limits", "subgroups": "audit_groups", "adversarial": "audit_attacks", "card": "audit_card",
}  # fmt: skip
"""Part → section that shows it."""


def _dice(folder: Audit) -> str:
    """Return the Dice that everything else is about."""
    labels = folder.part("performance").get("labels") or {}
    told = []
    for name, found in labels.items():
        dice = found["dice"]
        ends = interval(dice["low"], dice["high"])
        told.append(f"{name} {fixed(dice['mean'])}" + (f" ({ends})" if ends else ""))
    return f"Dice: {'; '.join(told)}." if told else ""


def make(folder: Audit) -> Section:
    """Return the table of cons, the requirements, and what the numbers rest on."""
    document = folder.document
    if not document:
        return Section("audited", "Answers", absent=folder.why or "audit.json is empty.")
    cohort = document["cohort"]
    rows = [
        {
            "con": row["con"], "anchor": ANCHORS.get(row["part"], ""), "value": row["value"], "sentence": row["sentence"],
            "n": row["n_subjects"] or "–",
        }
        for row in document["answers"]
    ]  # fmt: skip
    parts = document["parts"]
    undone = [
        {"name": name.replace("_", " "), "status": p["status"], "reason": p["reason"]}
        for name, p in parts.items()
        if p["status"] != "done"
    ]
    over = [f"{name.replace('_', ' ')} by {show_seconds(p['over_s'])}" for name, p in parts.items() if p.get("over_s")]
    data: dict[str, Any] = {
        "dice": _dice(folder),
        "lead": f"{counted(cohort['measured_cases'], 'case')} of {counted(cohort['measured_subjects'], 'subject')} that did not"
        f" teach the model; budget {show_seconds(document['budget_s'])}, spent {show_seconds(document['spent_s'])}.",
        "requirements": document["requirements"],
        "broken": [r["sentence"] for r in document["requirements"] if not r["met"]],
        "rows": rows,
        "undone": undone,
        "notes": [
            *([f"Longer than their share of the budget: {', '.join(over)}."] if over else []),
            *cohort["notes"],
            *document["notes"],
        ],
    }
    return Section("audited", "Answers", data)
