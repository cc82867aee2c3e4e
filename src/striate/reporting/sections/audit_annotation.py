"""What the masks themselves are worth: raters among each other, masks a little wrong, and masks that look wrong."""

from __future__ import annotations

from typing import Any

from striate.reporting.audit import Audit
from striate.reporting.numbers import fixed, interval
from striate.reporting.section import Section

TITLE = "Annotation"


def make(folder: Audit) -> Section:
    """Return the ranking, the sensitivity, and the raters."""
    absent, part = folder.absent("annotation"), folder.part("annotation")
    if absent:
        return Section("audit_annotation", TITLE, absent=absent)
    wrong = part.get("label_errors") or {}
    labels = [
        {
            "name": name,
            "clean": _cell(found["clean"]),
            "n": found["clean"]["n"],
            "rows": [[w["words"], _cell(w["predicted"]), _cell(w["own"])] for w in found["ways"]],
        }
        for name, found in part["sensitivity"].items()
    ]
    raters = [
        {"sentence": r["sentence"], "rows": [[pair, _cell(s), str(s["n"])] for pair, s in r["pairs"].items()]}
        for r in part["raters"]
    ]
    data: dict[str, Any] = {
        "lead": folder.answer("annotation"),
        "suspects": [_suspect(s) for s in wrong.get("first") or [] if s["suspicious"]],
        "ranked": [_suspect(s) for s in wrong.get("first") or [] if not s["suspicious"]][:5],
        "judged": wrong.get("n_cases") or 0,
        "crossed": wrong.get("cross_fitted_cases") or 0,
        "notes": [*(wrong.get("notes") or []), *([wrong["absent"]] if wrong.get("absent") else [])],
        "labels": labels,
        "raters": raters,
        "no_raters": part.get("no_raters") or "",
    }
    return Section("audit_annotation", TITLE, data)


def _suspect(s: dict[str, Any]) -> list[str]:
    which = "taught the model" if s["set"] == "taught" else "unseen"
    return [s["case"], s["label"], fixed(s["score"], 1), s["reason"], which]


def _cell(summary: dict[str, Any]) -> str:
    ends = interval(summary["low"], summary["high"])
    return fixed(summary["mean"]) + (f" ({ends})" if ends else "")
