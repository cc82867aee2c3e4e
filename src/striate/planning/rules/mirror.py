"""Along which axes training images may be mirrored: never along left-right when labels name a side."""

from __future__ import annotations

import re

from striate.planning.fingerprint import Fingerprint
from striate.planning.rules import Decision

SIDE = re.compile(
    r"(?<![a-z])(left|right|links|rechts|gauche|droite?)(?![a-z])|(?<![a-z0-9])(lh|rh|l|r|sin|dx)(?![a-z0-9])"
)
"""Words for a side; short ones only where no digit touches them, so that the vertebra L1 is none."""

CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
ALWAYS, ENOUGH_CASES = 0.95, 5


def names_side(name: str) -> bool:
    """Tell whether the name of a label, region or class holds a word for left or right."""
    return SIDE.search(CAMEL.sub(" ", name).casefold()) is not None


def mirror_axes(facts: Fingerprint) -> Decision[tuple[int, ...]]:
    """Return the axes (0 left-right, 1 back-front, 2 down-up of RAS) along which mirroring keeps labels true."""
    axes = tuple(range(facts.spatial_dims))
    by_name = [name for name in facts.objects if names_side(name)]
    if by_name:
        return Decision(axes[1:], f"not left-right: the labels name a side ({', '.join(by_name[:4])})")
    pair = _sided(facts)
    if pair:
        return Decision(axes[1:], f"not left-right: {pair[0]} lies left and {pair[1]} right in all cases")
    return Decision(axes, "all axes: no label is tied to a side, by name or by where it lies")


def _sided(facts: Fingerprint) -> tuple[str, str] | None:
    """Find two labels of like volume that always lie on opposite sides."""
    left = [n for n, o in facts.objects.items() if o.cases >= ENOUGH_CASES and min(o.left_share) > ALWAYS]
    right = [n for n, o in facts.objects.items() if o.cases >= ENOUGH_CASES and max(o.left_share) < 1 - ALWAYS]
    for one in left:
        for other in right:
            ratio = facts.objects[one].volume_ml / max(facts.objects[other].volume_ml, 1e-9)
            if 0.5 < ratio < 2:
                return one, other
    return None
