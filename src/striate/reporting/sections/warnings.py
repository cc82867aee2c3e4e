"""Reasons not to trust the result, before the result is read: gathered by their code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from striate.reporting.folder import Folder
from striate.reporting.section import Section

OPEN = 6
"""Warnings of one code that are shown from the start."""


def make(folder: Folder) -> Section:
    """Return the warnings of the record, then those of the cases by code; a single sentence where there are none."""
    groups: dict[str, list[tuple[str, str]]] = {"": []}
    for case in folder.cases:
        name = str(case.get("case", ""))
        for code, text in map(_coded, case.get("warnings") or []):
            groups.setdefault(code, []).append(("" if name in text else name, text))
    told = {text for rows in groups.values() for _, text in rows}
    of_all = [text for _, text in map(_coded, folder.record.get("warnings") or []) if text not in told]
    groups[""] = [("", text) for text in of_all] + groups[""]
    data: dict[str, Any] = {
        "groups": [_group(code, list(dict.fromkeys(rows))) for code, rows in groups.items() if rows],
        "errors": _errors(folder),
    }
    if not folder.record and not folder.findings:
        return Section(
            "warnings", "Warnings", absent="Warnings are not known: neither record.json nor findings.json can be read."
        )
    return Section("warnings", "Warnings", data)


def _coded(warning: Any) -> tuple[str, str]:
    """Return code and sentence; a sentence alone (of a record) has no code."""
    if not isinstance(warning, Mapping):
        return "", str(warning)
    return str(warning.get("code") or ""), str(warning.get("message") or "")


def _group(code: str, rows: list[tuple[str, str]]) -> dict[str, Any]:
    return {"code": code, "n": len(rows), "rows": rows[:OPEN], "more": rows[OPEN:]}


def _errors(folder: Folder) -> int:
    if folder.kind != "run":
        return 0
    return sum(p.get("severity") == "error" for p in folder.check.get("problems") or [])
