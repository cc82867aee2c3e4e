"""What the check found in the data before they were learned from."""

from __future__ import annotations

from typing import Any

from striate.reporting.folder import Folder
from striate.reporting.numbers import NONE, number, plain_text, product, volume
from striate.reporting.section import Section

ORDER = ("error", "warning", "note")
MOST = 60


def make(folder: Folder) -> Section:
    """Return the problems, worst first, and one row per case."""
    document = folder.check
    if not document:
        return Section(
            "check",
            "Data check",
            absent=f"The data were not checked, or the result was not kept: {folder.why.get('check.json', '')}",
        )
    problems = [p for p in document.get("problems") or [] if isinstance(p, dict)]
    problems.sort(
        key=lambda p: (
            ORDER.index(p["severity"]) if p.get("severity") in ORDER else len(ORDER),
            str(p.get("case") or ""),
        )
    )
    counts = {kind: sum(p.get("severity") == kind for p in problems) for kind in ORDER}
    facts = [f for f in document.get("facts") or [] if isinstance(f, dict)]
    data = {
        "problems": problems[:MOST],
        "hidden": max(0, len(problems) - MOST),
        "summary": _summary(counts, _count(document, facts)),
        "facts": [_fact(f) for f in facts],
        "labels": list(dict.fromkeys(str(k) for f in facts for k in (f.get("label") or {}))),
        "quality": _quality(facts),
    }
    return Section("check", "Data check", data)


def _count(document: dict[str, Any], facts: list[dict[str, Any]]) -> int:
    cases = document.get("cases")
    return int(cases) if isinstance(cases, (int, float)) else len(cases) if isinstance(cases, list) else len(facts)


def _summary(counts: dict[str, int], cases: int) -> str:
    told = [f"{n} {kind}{'s' if n != 1 else ''}" for kind, n in counts.items() if n]
    what = f"{cases} case{'s were' if cases != 1 else ' was'} checked before training"
    return f"{what}: {', '.join(told)}." if told else f"{what}; no problem was found."


def _fact(fact: dict[str, Any]) -> dict[str, Any]:
    labels = {str(k): volume((v or {}).get("volume_ml")) for k, v in (fact.get("label") or {}).items()}
    return {
        "case": str(fact.get("case")),
        "subject": str(fact.get("subject", "")),
        "shape": product(fact.get("shape")),
        "spacing": product([round(float(v), 2) for v in fact.get("spacing_mm") or []]) or NONE,
        "axes": str(fact.get("axes", "")),
        "labels": labels,
    }


def _quality(facts: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the image quality of each case and channel as a table."""
    rows = [
        (str(f.get("case")), channel, values.get("quality") or {})
        for f in facts
        for channel, values in (f.get("channels") or {}).items()
        if isinstance(values, dict)
    ]
    names = list(dict.fromkeys(n for _, _, q in rows for n in q))
    if not names:
        return None
    shown = [(case, channel, [_cell(q.get(n)) for n in names]) for case, channel, q in rows]
    return {"names": [n.replace("_", " ") for n in names], "rows": shown}


def _cell(value: Any) -> str:
    found = number(value)
    return plain_text(value) if found is None else f"{found:.3g}".replace("-", "−")
