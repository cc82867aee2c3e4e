"""`Case`: one examination of one subject, as paths; voxels are read when they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType

from striate.core.errors import DataError, expected
from striate.core.names import natural_order

NO_CLASS = "none"
SEPARATOR = ";"
LONGEST_CLASS = 100
"""How classes are written in one cell of a CSV: `NO_CLASS` for none of them, several joined by `SEPARATOR`."""


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
    classes
        Names of the classes of the whole image, in natural order; ``()`` is none of them, None unknown.
    """

    name: str
    subject: str
    channels: Mapping[str, Path]
    label: Path | None = None
    raters: Mapping[str, Path] = field(default_factory=dict)
    split: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None

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
        if self.classes is not None:
            object.__setattr__(self, "classes", valid_classes(self.classes, f"case {self.name}"))

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
                self.classes,
            ),
        )


def valid_classes(classes: Iterable[str], where: str) -> tuple[str, ...]:
    """Return the names of the classes of a case in natural order.

    Parameters
    ----------
    classes
        Names, in any order.
    where
        Whose they are, for the error, for instance ``case P012``.

    Raises
    ------
    DataError
        When a name is empty, too long, twice, or could not be told from another in a cell of a CSV.
    """
    given = () if isinstance(classes, str) else tuple(classes)
    if isinstance(classes, str) or not all(isinstance(n, str) for n in given):
        raise DataError(expected(where, f"classes {classes!r}", "a tuple of names is needed"))
    names = tuple(sorted(given, key=natural_order))
    for name, after in zip_longest(names, names[1:]):
        if not 0 < len(name) <= LONGEST_CLASS or not name.isprintable() or name != name.strip() or SEPARATOR in name:
            got = f"class name {name[:LONGEST_CLASS]!r}"
            want = f"1 to {LONGEST_CLASS} printable characters without '{SEPARATOR}' and outer blanks are needed"
        elif name == after:
            got, want = f"class '{name}' twice", "each class is named once"
        elif name.casefold() == NO_CLASS:
            got, want = f"a class named '{name}'", "another name is needed, this word says that no class is present"
        else:
            continue
        raise DataError(expected(where, got, want))
    return names
