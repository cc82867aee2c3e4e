"""`Audit`: the folder of `striate audit`, read for its page."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from striate.core.errors import DataError
from striate.core.files import read_json
from striate.reporting.document import Document


class Audit(Document):
    """What an audit left on disk."""

    FILE, KIND, VERSION = "audit.json", "striate-audit", 1

    @cached_property
    def record(self) -> dict[str, Any]:
        """``record.json``."""
        try:
            return read_json(self.path / "record.json")
        except DataError:
            return {}

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
