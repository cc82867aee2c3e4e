"""`Problem`: one line about what is wrong: which case, what came, what was needed, what to do."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from striate.core.errors import expected

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
_OWN = re.compile(r"'[^']*'|\S*\w[./]\w\S*|\b(?:case|subjects) \S+|\b\d\w*|\b[0-9a-f]{2}\b")
"""What of a finding is one case's own: quotations, files, names of cases, numbers, bytes."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of a check.

    Attributes
    ----------
    code
        Stable machine name, as listed in docs/concepts/checks.md.
    case
        Name of the case, or None where the whole cohort is meant.
    severity
        ``error``: training would fail or learn nonsense; ``warning``: look before training; ``note``: good to know,
        does not change the exit code.
    found
        What came, with its value and unit.
    needed
        What was needed and why.
    advice
        What to do; a full sentence.
    """

    code: str
    case: str | None
    severity: Severity
    found: str
    needed: str
    advice: str

    @property
    def sentence(self) -> str:
        """The problem in one line."""
        where = "cohort" if self.case is None else f"case {self.case}"
        return " ".join(expected(where, self.found, self.needed, self.advice).split())

    @property
    def told(self) -> tuple[str, str, str]:
        """Case, kind and sentence, for `striate.core.grouped`: an error stays apart from those of its code with other reasons."""
        reason = " ".join(_OWN.sub("", self.found).split()) if self.severity == "error" else ""
        return self.case or "", f"{self.code} {reason}", self.sentence

    def to_dict(self) -> dict[str, Any]:
        """Return the problem as JSON knows it, its sentence included."""
        return {**asdict(self), "sentence": self.sentence}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Problem:
        """Read a problem back."""
        return cls(**{name: document[name] for name in ("code", "case", "severity", "found", "needed", "advice")})
