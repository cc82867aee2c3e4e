"""Numbers and names in sentences: a number with its noun, its verb, three digits of it, the first of many names."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 case``, ``2 cases``, ``0 cases``; `plural` where an s is not enough (``axes``)."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def has_or_have(number: int) -> str:
    """Return ``has`` for one, ``have`` for any other number: 1 of 13 cases has no mask, 2 of 13 have none."""
    return "has" if number == 1 else "have"


def is_or_are(number: int) -> str:
    """Return ``is`` for one, ``are`` for any other number."""
    return "is" if number == 1 else "are"


def three_digits(value: float) -> str:
    """Return a number with three digits, and all of its whole ones: ``0.123``, ``1234``."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def some(names: Sequence[str], most: int = 3) -> str:
    """Return ``a, b, c and 9 more``; all where there are at most `most`, or one more."""
    if len(names) <= most + 1:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"
