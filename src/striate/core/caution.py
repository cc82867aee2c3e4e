"""`Caution`: one reason not to trust a result, for people (a sentence) and for machines (a code)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Caution:
    """A reason for doubt; results carry them as ``warnings``.

    Attributes
    ----------
    code
        What kind it is, in kebab-case: ``nothing-found``, ``coarse-voxels``, ``wrong-channel`` …
    message
        One sentence on one line: which case, what came, what was needed, what to do.
    """

    code: str
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", " ".join(self.message.split()))

    def __str__(self) -> str:
        return self.message

    def to_dict(self) -> dict[str, str]:
        """Return the JSON form."""
        return {"code": self.code, "message": self.message}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Caution:
        """Read the JSON form."""
        return cls(str(document["code"]), str(document["message"]))
