"""`Layout`: what a folder or a CSV was understood to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from striate.core.case import Case


@dataclass(frozen=True, slots=True)
class Layout:
    """What a folder or a CSV was understood to be.

    Attributes
    ----------
    name
        Which layout, for instance ``nnunet``.
    cases
        In rising order of name.
    label_names
        Label value → name, without 0; empty where nothing tells.
    modality
        ``ct``, ``mr`` or None where nothing tells.
    notes
        What was assumed or left out, one sentence each.
    columns
        Columns of metadata, those without any value included.
    """

    name: str
    cases: list[Case]
    label_names: dict[int, str] = field(default_factory=dict)
    modality: str | None = None
    notes: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)


class LayoutReader(Protocol):
    """What the module of a layout offers."""

    def sniff(self, path: Path) -> str | None:
        """Return one short sentence about what was recognised at `path`, or None where it is another layout."""
        ...

    def read(self, path: Path) -> Layout:
        """Read the layout at `path`.

        Raises
        ------
        LayoutError
            When a part of it is missing or contradicts another.
        """
        ...
