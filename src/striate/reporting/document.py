"""`Document`: a folder whose page is made from one JSON document."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from striate.core.errors import DataError
from striate.core.files import read_json


class Document:
    """What a verb left on disk; the document is empty where its file is missing or broken, and `why` says why."""

    FILE: ClassVar[str]
    KIND: ClassVar[str]
    VERSION: ClassVar[int]

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.why = ""

    @cached_property
    def document(self) -> dict[str, Any]:
        """The document in `FILE`."""
        try:
            return read_json(self.path / self.FILE, self.KIND, self.VERSION)
        except DataError as error:
            self.why = str(error)
            return {}

    def part(self, name: str) -> dict[str, Any]:
        """Return one part of the document; empty where it is missing."""
        found = self.document.get(name)
        return found if isinstance(found, dict) else {}
