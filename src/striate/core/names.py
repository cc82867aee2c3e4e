"""Tables of named things (networks, losses, formats, checks …), the nearest name to a misspelt one, and their order."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from striate.core.errors import UsageError

T = TypeVar("T")

MOST_NAMES = 40
"""Known names that a message lists; a cohort may have thousands."""


def natural_order(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that puts ``P2`` before ``P10``."""
    parts = [p for p in re.split(r"([0-9]+)", name) if p]
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p.casefold()) for p in parts], name


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the known name that looks most like `name`, or None when none is close."""
    known = list(names)
    folded = {k.casefold().replace("-", "_"): k for k in known}
    found = difflib.get_close_matches(name.casefold().replace("-", "_"), list(folded), n=1, cutoff=0.5)
    return folded[found[0]] if found else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the hint ``Did you mean 'x'? Known: …`` for an unknown `name`."""
    known = sorted(names)
    best = nearest(name, known)
    start = f"Did you mean '{best}'? " if best else ""
    more = f" … ({len(known)} in all)" if len(known) > MOST_NAMES else ""
    return f"{start}Known: {', '.join(known[:MOST_NAMES]) or 'none'}{more}."


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return ``table[name]``.

    Raises
    ------
    UsageError
        When `name` is unknown; the message holds the nearest name and all known ones.
    """
    if not isinstance(name, str):
        raise UsageError(f"{kind} {name!r}: the name of one is needed. Known: {', '.join(sorted(table))}.")
    if name not in table:
        raise UsageError(f"unknown {kind} '{name}'. {did_you_mean(name, table)}")
    return table[name]
