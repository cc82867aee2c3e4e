"""What voxels a scan of a body can have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from striate.core.counted import three_digits
from striate.core.image import Grid, to_ras

SMALLEST_MM, LARGEST_MM = 0.01, 25.0
LARGEST_EXTENT_MM = 2500.0
NEAR = 8.0
"""A model's voxels that are fewer times larger or smaller speak for a header: a unit that is not mm is 10 or 1000 times off."""


def impossible(grid: Grid, own_mm: Sequence[float] = ()) -> tuple[str, str, str] | None:
    """Tell that the voxels of a volume cannot be those of a body scan: what came, what is needed, what to do.

    None where they can, or are `NEAR` the voxels of the model, `own_mm`, and of pictures, whose files rarely know mm. For the
    same reason the thickness of a single slice counts for nothing.
    """
    turned = to_ras(grid)[1]
    spacing, sizes = np.array(turned.spacing_mm), np.array(turned.shape)
    known, extent = spacing[sizes > 1], float(np.max(sizes * spacing, where=sizes > 1, initial=0.0))
    if len(grid.shape) == 2 or not known.size:
        return None
    possible = known.min() >= SMALLEST_MM and known.max() <= LARGEST_MM
    alike = bool(own_mm) and known.min() * NEAR > min(own_mm) and known.max() < NEAR * max(own_mm)
    if (possible or alike) and extent <= LARGEST_EXTENT_MM:
        return None
    over = f"{extent:.0f}" if extent >= 10 else f"{extent:.2g}"
    return (
        f"voxels of {show_mm(spacing)} mm over {over} mm",
        f"{SMALLEST_MM} to {LARGEST_MM:g} mm and at most {LARGEST_EXTENT_MM:.0f} mm are possible in a body scan",
        "The header's unit is probably not mm: set the affine in mm.",
    )


def show_mm(values: Iterable[float]) -> str:
    """Return sizes in mm for a message."""
    return " × ".join(three_digits(v) for v in values)
