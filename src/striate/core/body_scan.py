"""What voxels a scan of a body can have."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from striate.core.image import Grid, to_ras

SMALLEST_MM, LARGEST_MM = 0.01, 25.0
LARGEST_EXTENT_MM = 2500.0


def impossible(grid: Grid) -> tuple[str, str, str] | None:
    """Tell that the voxels of a volume cannot be those of a body scan: what came, what is needed, what to do.

    None where they can, and of pictures, whose files rarely know mm.
    """
    if len(grid.shape) == 2:
        return None
    spacing = np.array(to_ras(grid)[1].spacing_mm)
    extent = float(np.max(np.array(grid.shape) * np.array(grid.spacing_mm)))
    if spacing.min() >= SMALLEST_MM and spacing.max() <= LARGEST_MM and extent <= LARGEST_EXTENT_MM:
        return None
    over = f"{extent:.0f}" if extent >= 10 else f"{extent:.2g}"
    return (
        f"voxels of {show_mm(spacing)} mm over {over} mm",
        f"{SMALLEST_MM} to {LARGEST_MM:g} mm and at most {LARGEST_EXTENT_MM:.0f} mm are possible in a body scan",
        "The header's unit is probably not mm: set the affine in mm.",
    )


def show_mm(values: Iterable[float]) -> str:
    """Return sizes in mm for a message."""
    return " × ".join(f"{v:.3g}" if v < 999.5 else f"{v:.0f}" for v in values)
