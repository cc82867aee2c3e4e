"""Reasons not to trust the result, before the result is read."""

from __future__ import annotations

from typing import Any

from striate.reporting.folder import Folder
from striate.reporting.section import Section


def make(folder: Folder) -> Section:
    """Return the warnings of the record and of each case; a single sentence where there are none."""
    rows: list[tuple[str, str]] = []
    for case in folder.cases:
        rows.extend((str(case.get("case", "")), str(w)) for w in case.get("warnings") or [])
    told = {text for _, text in rows}
    rows = [("", str(w)) for w in folder.record.get("warnings") or [] if str(w) not in told] + rows
    data: dict[str, Any] = {"rows": list(dict.fromkeys(rows)), "errors": _errors(folder)}
    if not folder.record and not folder.findings:
        return Section(
            "warnings", "Warnings", absent="Warnings are not known: neither record.json nor findings.json can be read."
        )
    return Section("warnings", "Warnings", data)


def _errors(folder: Folder) -> int:
    if folder.kind != "run":
        return 0
    return sum(p.get("severity") == "error" for p in folder.check.get("problems") or [])
