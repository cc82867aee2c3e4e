"""`Case`: one examination of one subject, as paths; voxels are read when they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from striate.core.errors import DataError, expected


@dataclass(frozen=True, slots=True)
class Case:
    """One examination of one subject.

    Attributes
    ----------
    name
        Unique in its cohort, usable as a file name.
    subject
        Whose examination it is; splits are made by subject.
    channels
        Channel name → image file, in a fixed order (for instance ``flair``, ``t1c``).
    label
        Label map, or None where there is no ground truth.
    raters
        Further label maps of the same case by other raters (name → file).
    split
        ``train``, ``validation``, ``test`` or None where the user left it to us.
    metadata
        Anything else that is known: ``site``, ``time``, ``age`` … as text.
    """

    name: str
    subject: str
    channels: Mapping[str, Path]
    label: Path | None = None
    raters: Mapping[str, Path] = field(default_factory=dict)
    split: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name or any(c in self.name for c in "/\\\0"):
            raise DataError(
                expected("case", f"name {self.name!r}", "a name without slashes is needed, it becomes a file name")
            )
        if not self.channels:
            raise DataError(expected(f"case {self.name}", "no image", "at least one channel is needed"), case=self.name)
        if self.split not in (None, "train", "validation", "test"):
            raise DataError(
                expected(f"case {self.name}", f"split {self.split!r}", "train, validation, test or nothing is needed"),
                case=self.name,
            )
        for name in ("channels", "raters", "metadata"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[object, ...]:
        """Make the case picklable (worker processes); the read-only mappings are not."""
        return (
            Case,
            (
                self.name,
                self.subject,
                dict(self.channels),
                self.label,
                dict(self.raters),
                self.split,
                dict(self.metadata),
            ),
        )
