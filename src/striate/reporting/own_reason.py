"""The reason of a case for its review, without what holds for all cases."""

from __future__ import annotations

import re
from collections.abc import Iterable


def own_reason(reason: str, limits: Iterable[str], case: str = "") -> str:
    """Return the part of a reason that is the case's own, without its name; what holds for all, `limits`, is told once."""
    reason = reason.removeprefix(f"Case {case}: ")
    for text in limits:  # a list of reasons has no full stop within
        reason = reason.replace(text, "").replace(text.rstrip("."), "").strip()
    return re.sub(r"\.? +;", ";", reason)
