"""Networks made narrower or wider than their paper's."""

from __future__ import annotations


def scaled(features: int, width: float, multiple: int = 1) -> int:
    """Return `width` × `features`, rounded to a multiple of `multiple`, at least one of it."""
    return max(multiple, round(features * width / multiple) * multiple)
