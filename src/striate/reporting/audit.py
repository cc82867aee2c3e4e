"""`Audit`: the folder of `striate audit`, read for its page."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from striate.core.errors import DataError
from striate.core.files import read_json

FILE, KIND, VERSION = "audit.json", "striate-audit", 1


class Audit:
    """What an audit left on disk; the document is empty where its file is missing or broken, and `why` says why."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.why = ""

    @cached_property
    def document(self) -> dict[str, Any]:
        """``audit.json``."""
        try:
            return read_json(self.path / FILE, KIND, VERSION)
        except DataError as error:
            self.why = str(error)
            return {}

    @cached_property
    def record(self) -> dict[str, Any]:
        """``record.json``."""
        try:
            return read_json(self.path / "record.json")
        except DataError:
            return {}

    def part(self, name: str) -> dict[str, Any]:
        """Return one part of the document; empty where it is missing."""
        found = self.document.get(name)
        return found if isinstance(found, dict) else {}

    def absent(self, name: str) -> str:
        """Return why a part has nothing to show; empty where it has."""
        part = self.part(name)
        return str(part.get("absent") or "") if part else (self.why or "The audit has no such part.")

    def answer(self, part: str) -> str:
        """Return the sentence that answers the con of a part."""
        for row in self.document.get("answers") or []:
            if row.get("part") == part:
                return str(row.get("sentence") or "")
        return ""
