"""`Verdict`: what one check of an explanation measured, and whether the explanation passed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one check.

    Attributes
    ----------
    check
        ``random_weights``, ``faithfulness`` or ``inside``.
    passed
        None where the check could not be made.
    sentence
        What was measured against which bound, or why it could not be.
    numbers
        The same for machines.
    """

    check: str
    passed: bool | None
    sentence: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"check": self.check, "passed": self.passed, "sentence": self.sentence, **self.numbers}
