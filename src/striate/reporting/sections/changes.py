"""What changed between two visits: whom to look at first and why, then each pair with a picture, its volumes and lesions."""

from __future__ import annotations

from typing import Any

from striate.core.errors import DataError
from striate.measure.change import Change, LabelChange, LesionChange
from striate.reporting.change_panel import KINDS, ChangePanel
from striate.reporting.figures.detectable import ChangeRow, change_plot
from striate.reporting.folder import TRIAGE, Folder
from striate.reporting.numbers import NONE, fixed, interval, triple, volume
from striate.reporting.own_reason import own_reason
from striate.reporting.section import Section

TITLE = "Changes between visits"
PICTURED, OPEN = 24, 6
"""Pairs that are pictured, and that are open from the start."""


def make(folder: Folder) -> Section:
    """Return the triage, the changes of volume of all subjects, and each pair of visits, first things first."""
    changes = {(c.subject, c.before, c.after): c for c in map(Change.from_dict, folder.changes)}
    if not changes:
        why = folder.why.get("findings.json", "findings.json holds no changes. striate change writes them.")
        return Section("changes", TITLE, absent=f"What changed is not known: {why}")
    rows = [row for row in folder.triage.get("rows") or [] if isinstance(row, dict)]
    judged = {(str(r["subject"]), str(r["before"]), str(r["after"])): r for r in rows}
    order = [key for key in judged if key in changes] + [key for key in changes if key not in judged]
    pairs = [_pair(folder, changes[key], judged.get(key), n) for n, key in enumerate(order)]
    plots = [] if len(pairs) == 1 else _plots([changes[key] for key in order])
    why = "" if rows else folder.why.get(TRIAGE, f"{TRIAGE} holds no row.")
    return Section(
        "changes",
        TITLE,
        {
            "triage": [p for p in pairs if p["priority"]],
            "why": why,
            "unjudged": sum(not p["priority"] for p in pairs) if rows else 0,
            "pairs": pairs,
            "plots": plots,
            "kinds": ("stable", *KINDS),
            "pictured": PICTURED,
        },
    )


def _plots(changes: list[Change]) -> list[Any]:
    """Return one figure per label, subjects in the order of the triage."""
    names = list(dict.fromkeys(name for change in changes for name in change.labels))
    twice = {c.subject for c in changes if sum(o.subject == c.subject for o in changes) > 1}
    plots = []
    for name in names:
        some = [c for c in changes if name in c.labels]
        rows = [_plotted(f"{c.subject} {c.after}" if c.subject in twice else c.subject, c.labels[name]) for c in some]
        plots.append(change_plot(rows, f"Change of the volume of {name} (mL)"))
    return plots


def _plotted(name: str, change: LabelChange) -> ChangeRow:
    found = change.volume_change_ml
    return ChangeRow(name, found.value, found.low, found.high, change.smallest_detectable_ml)


def _pair(folder: Folder, change: Change, judged: dict[str, Any] | None, place: int) -> dict[str, Any]:
    lesions = [(name, lesion) for name, label in change.labels.items() for lesion in label.lesions]
    changed = sorted((p for p in lesions if p[1].kind in KINDS), key=lambda p: KINDS.index(p[1].kind))
    counts = {kind: sum(lesion.kind == kind for _, lesion in lesions) for kind in KINDS}
    judged = judged or {}
    return {
        "anchor": f"change-{place}",
        "rank": str(judged.get("rank") or place + 1),
        "subject": change.subject,
        "before": change.before,
        "after": change.after,
        "priority": str(judged.get("priority") or ""),
        "reason": own_reason(str(judged.get("reason") or NONE), folder.limits),
        "open": place < OPEN,
        "counts": ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        or ("no lesion changed" if change.labels else "not compared"),
        "told": [_told(name, label) for name, label in change.labels.items()],
        "plot": change_plot([_plotted(n, c) for n, c in change.labels.items()], "Change of volume (mL)"),
        "labels": len(change.labels),
        "lesions": [_lesion(name, lesion) for name, lesion in changed],
        "stable": len(lesions) - len(changed),
        "warnings": [(caution.code, caution.message) for caution in change.warnings],
        "shown": _shown(folder, change) if place < PICTURED else {"rows": [], "unseen": 0, "why": ""},
    }


def _told(name: str, change: LabelChange) -> dict[str, str]:
    found, smallest = change.volume_change_ml, change.smallest_detectable_ml
    share = "" if change.volume_change_percent is None else f" ({_signed(change.volume_change_percent, 0)} %)"
    within = "" if found.coverage is None else f"at least {fixed(100 * found.coverage, 0)} % "
    ends = interval(found.low, found.high)
    rests = f", {change.noise}" if change.noise else ""
    if smallest is None:
        verdict = "the smallest detectable change was not measured"
    elif change.detectable:
        verdict = f"beyond noise (smallest detectable change {volume(smallest)} mL{rests})"
    else:
        verdict = f"within noise (smallest detectable change {volume(smallest)} mL{rests})"
    return {
        "name": name,
        "value": f"{_signed(found.value, 2)} mL{share}",
        "interval": f"{within}interval {ends} mL" if ends else "",
        "verdict": verdict,
    }


def _lesion(name: str, lesion: LesionChange) -> dict[str, str]:
    share = 100 * (lesion.after_ml / lesion.before_ml - 1) if lesion.before_ml > 0 and lesion.after_ml > 0 else None
    return {
        "name": name,
        "kind": lesion.kind,
        "before": volume(lesion.before_ml) if lesion.before_ml > 0 else NONE,
        "after": volume(lesion.after_ml) if lesion.after_ml > 0 else NONE,
        "change": _signed(lesion.after_ml - lesion.before_ml, 2),
        "percent": NONE if share is None else _signed(share, 0),
        "centre": triple(lesion.centroid_mm, 0),
    }


def _shown(folder: Folder, change: Change) -> dict[str, Any]:
    """Return the pictures of a pair, one row per slice, or why there are none."""
    path = folder.path / "changes" / f"{change.subject}_{change.before}_{change.after}.npz"
    try:
        panel = ChangePanel.read(path)
    except DataError as error:
        return {"rows": [], "unseen": 0, "why": str(error).replace(f"{folder.path}/", "")}
    planes, unseen = panel.slices()
    rows = [{"pictures": panel.pictures(p), "place": f"axial slice {p} (0 to {len(panel.after) - 1})"} for p in planes]
    return {"rows": rows, "unseen": unseen, "why": ""}


def _signed(value: float, decimals: int) -> str:
    text = fixed(value, decimals)
    return f"+{text}" if value > 0 and any(c in "123456789" for c in text) else text
