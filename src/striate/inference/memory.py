"""How much memory a prediction takes, known from headers before a voxel is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from striate.core.errors import MemoryLimitError, expected
from striate.core.image import Grid, to_ras
from striate.core.machine import memory_available_bytes, show_bytes
from striate.data.resample import new_shape
from striate.inference.tiling import Tiling
from striate.planning.plan import Plan

ACTIVATIONS_PER_VOXEL = 200.0
"""Numbers that a network keeps per voxel of a patch, where the model does not say (the 3D U-Net with 32 features)."""
ALIVE = 1.3
"""Memory of a window in shares of all activations: skips, the layer at work and its copies in other layouts (measured:
1.26 for the 3D U-Net at 96³ in single precision, 0.65 in bf16)."""
CRF_BYTES = 100
"""Of the CRF, per voxel of the prepared image; all voxels may be in doubt (`striate.inference.crf`)."""
EXACT_BYTES = 32
"""Of nnU-Net's way, per voxel of the files: one class at a time is resampled in double precision and compared."""
LIBRARIES_BYTES = 150_000_000
"""What the libraries take once they compute (measured: 120 MB)."""


def needed_bytes(
    plan: Plan, grid: Grid, channels: int, facts: Mapping[str, Any], *, crf: bool = False, exact: bool = False
) -> dict[str, int]:
    """Return the memory of each stage of a prediction, an upper estimate.

    Parameters
    ----------
    plan
        The model's.
    grid
        Of the files.
    channels
        Input channels.
    facts
        Of the model; ``activations_per_voxel`` is used where it is there.
    crf
        Whether the fully connected CRF follows.
    exact
        Whether nnU-Net's way is followed, which keeps whole logits (`striate.inference.exact`).

    Returns
    -------
    dict
        ``images`` (as read and as prepared), ``rows`` (unfinished rows of probabilities; with `exact` ``logits`` instead:
        all of them twice, as folds are averaged), ``network`` (one window), ``mask``, and with `crf` ``crf`` (all
        probabilities before and after it, and its own). They are held together while the network, or the CRF, runs.
    """
    _, turned = to_ras(grid)
    voxels = math.prod(grid.shape)
    shape = new_shape(turned.shape, turned.spacing_mm, plan.preparation.spacing_mm)
    tiling = Tiling.of(shape, plan.inference.patch, plan.inference.overlap)
    axis, classes = tiling.rolling_axis, plan.targets.out_channels
    height = min(tiling.patch[axis], shape[axis])
    rows = classes * height * math.prod(n for a, n in enumerate(shape) if a != axis)
    per_voxel = float(facts.get("activations_per_voxel") or ACTIVATIONS_PER_VOXEL)
    held = {"logits": 4 * classes * math.prod(shape) + EXACT_BYTES * voxels} if exact else {"rows": 4 * rows}
    return {
        "images": 4 * channels * (2 * voxels + 3 * math.prod(shape)),
        **held,
        "network": LIBRARIES_BYTES + int(4 * math.prod(plan.inference.patch) * (ALIVE * per_voxel + 3 * classes)),
        "mask": 4 * voxels,
        **({"crf": (8 * classes + CRF_BYTES) * math.prod(shape)} if crf else {}),
    }


def check_memory(
    plan: Plan,
    grid: Grid,
    channels: int,
    facts: Mapping[str, Any],
    where: str,
    plan_file: object,
    *,
    crf: bool = False,
    exact: bool = False,
) -> int:
    """Refuse what would not fit into the memory that is free; return the bytes that are needed.

    Raises
    ------
    MemoryLimitError
        With what is needed, what there is, and the line of the plan to change.
    """
    parts = needed_bytes(plan, grid, channels, facts, crf=crf, exact=exact)
    needed, free = sum(parts.values()), memory_available_bytes()
    if needed > free:
        worst = max(parts, key=lambda name: parts[name])
        advice = {
            "network": f"Make inference.patch {list(plan.inference.patch)} in {plan_file} smaller.",
            "rows": f"Make inference.patch {list(plan.inference.patch)} in {plan_file} smaller along its longest axis.",
            "crf": "Leave --crf away.",
        }.get(worst, "Cut the image to the part that matters, or close other programs.")
        raise MemoryLimitError(
            expected(where, f"shape {grid.shape} with {channels} channels needs about {show_bytes(needed)}"
                     f" ({', '.join(f'{k} {show_bytes(v)}' for k, v in parts.items())})",
                     f"{show_bytes(free)} of memory are free", advice)
        )  # fmt: skip
    return needed
