"""The record: versions, machine, options, hashes, durations; what is needed to do it again."""

from __future__ import annotations

from typing import Any

from striate.core.machine import show_bytes, show_seconds
from striate.reporting.folder import Folder
from striate.reporting.numbers import NONE, number, plain_text
from striate.reporting.section import Section

NAMES = {"memory_gb": "Memory (GB)", "tta": "Mirrored copies averaged"}


def make(folder: Folder) -> Section:
    """Return ``record.json`` as small tables."""
    record = folder.record
    if not record:
        return Section(
            "record", "Record", absent=f"There is no record of what was run: {folder.why.get('record.json', '')}"
        )
    duration = number(record.get("duration_s"))
    run = [
        ("Command", f"striate {record.get('verb', '')}"),
        ("Started", str(record.get("started") or "–")),
        ("Duration", show_seconds(duration) if duration is not None else "–"),
        ("Seed", plain_text(record.get("seed"))),
        *((_words(k), _fact(k, v)) for k, v in (record.get("facts") or {}).items() if not isinstance(v, (dict, list))),
    ]
    tables = [
        ("Run", run),
        ("Options", [row for row in _rows(record.get("options")) if row[1] != NONE]),
        ("Machine", _rows(record.get("machine"))),
        ("Versions", [(str(k), str(v)) for k, v in (record.get("versions") or {}).items()]),
    ]
    hashes = [
        (title, [(str(k), str(v)) for k, v in (record.get(key) or {}).items()])
        for title, key in (("Files read (SHA-256)", "inputs"), ("Files written (SHA-256)", "outputs"))
    ]
    nested = [
        (_words(k), _nested(v, "_s" if k == "seconds" else ""))
        for k, v in (record.get("facts") or {}).items()
        if isinstance(v, (dict, list)) and v
    ]
    return Section(
        "record",
        "Record",
        {"tables": [t for t in tables if t[1]], "hashes": [h for h in hashes if h[1]], "nested": nested},
    )


def _rows(document: Any) -> list[tuple[str, str]]:
    return [(_words(k), plain_text(v)) for k, v in (document or {}).items()]


def _words(key: Any) -> str:
    if str(key) in NAMES:
        return NAMES[str(key)]
    text = str(key).removesuffix("_bytes").removesuffix("_s").replace("_", " ").replace("rss", "memory")
    return text[:1].upper() + text[1:]


def _fact(key: str, value: Any) -> str:
    found = number(value)
    if found is not None and key.endswith("_bytes"):
        return show_bytes(found)
    if found is not None and key.endswith("_s"):
        return show_seconds(found)
    if isinstance(value, dict):
        return "; ".join(f"{_words(k).lower()} {_fact(str(k), v)}" for k, v in value.items())
    return plain_text(value)


def _nested(value: Any, unit: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [(str(k), _fact(f"{k}{unit}", v)) for k, v in value.items()]
    return [(str(n + 1), plain_text(v)) for n, v in enumerate(value)]
