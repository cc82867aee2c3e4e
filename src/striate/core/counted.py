"""`counted`: a number with its noun, in the singular or the plural."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return ``1 case``, ``2 cases``, ``0 cases``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
