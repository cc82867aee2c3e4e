"""Performance by group, with intervals and a correction for the number of looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from striate.core.counted import counted
from striate.reporting.audit import Audit
from striate.reporting.figures.forest import Bunch, Stem, forest_plot
from striate.reporting.numbers import fixed
from striate.reporting.section import Section

TITLE = "One problem, one group"
MOST = 12
"""Under-represented groups that are named."""


def make(folder: Audit) -> Section:
    """Return a forest plot per measure, and who is under-represented."""
    absent, part = folder.absent("subgroups"), folder.part("subgroups")
    if absent:
        return Section("audit_groups", TITLE, absent=absent)
    columns = part["columns"]
    measures = sorted({c["measure"] for c in columns})  # "Dice" before "lesions found"
    whole = _whole(folder)
    plots = []
    for measure in measures:
        own = [c for c in columns if c["measure"] == measure]
        plots.append(
            {
                "name": measure,
                "plot": forest_plot([_bunch(c) for c in own], measure, whole if measure == "Dice" else None),
            }
        )
    few = [
        f"{f['column']} {f['group']}: {f['n_subjects']} of {counted(f['of'], 'subject')}"
        for f in part["under_represented"]
    ]
    data: dict[str, Any] = {
        "lead": folder.answer("subgroups"), "plots": plots, "looks": len(columns), "n": part["n_subjects"],
        "few": few[:MOST] + ([f"and {len(few) - MOST} more"] if len(few) > MOST else []),
        "untaught": [f"{f['column']} {f['group']}" for f in part["not_taught"]],
        "skipped": [f"{name}: {why}" for name, why in part["skipped"].items()],
    }  # fmt: skip
    return Section("audit_groups", TITLE, data)


def _whole(folder: Audit) -> float | None:
    labels: Sequence[Any] = list((folder.part("performance").get("labels") or {}).values())
    known = [v["dice"]["mean"] for v in labels if v["dice"]["mean"] is not None]
    return sum(known) / len(known) if len(known) == 1 else None


def _bunch(column: dict[str, Any]) -> Bunch:
    p = column["p_corrected"]
    note = f"p = {fixed(p, 3)}" if p >= 0.0005 else "p < 0.001"
    stems = [Stem(g["name"], g["mean"], g["low"], g["high"], g["n_subjects"], g["few"]) for g in column["groups"]]
    return Bunch(column["name"], note, stems, column["differs"])
