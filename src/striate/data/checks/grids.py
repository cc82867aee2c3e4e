"""Channels and masks that do not lie on one grid: another shape, spacing, orientation, side or place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from striate.core.image import Grid
from striate.data.checks.facts import CaseFacts, CohortFacts
from striate.data.checks.problem import Problem

RESAMPLE = "Resample it to the grid of the first channel with nearest neighbour (mask) or linear interpolation (image)."
HEADER = "If the voxels fit when laid over each other, only the header is wrong: copy the image's affine to the mask."


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report channels, label maps and raters that lie on another grid than the first channel."""
    for case in cohort.cases:
        for what, grid, is_label in _parts(case):
            reference = case.grid
            if reference is None or grid.matches(reference):
                continue
            first = next(iter(case.channels))
            why = "Dice is counted per voxel" if is_label else "channels are stacked voxel by voxel"
            yield Problem(
                "grid", case.case, "error", f"{what} {difference(grid, reference, first)}",
                f"it must lie on the image's grid because {why}",
                HEADER if grid.shape == reference.shape and is_label else RESAMPLE,
            )  # fmt: skip


def difference(grid: Grid, reference: Grid, name: str) -> str:
    """Say the first thing in which `grid` differs from the `reference` grid of the image called `name`."""
    if len(grid.shape) != len(reference.shape) or grid.shape != reference.shape:
        return f"has shape {grid.shape}, {name} has {reference.shape} voxels"
    if not np.allclose(grid.spacing_mm, reference.spacing_mm, rtol=1e-3):
        return f"has voxels of {_mm(grid.spacing_mm)} mm, {name} of {_mm(reference.spacing_mm)} mm"
    if grid.axes != reference.axes:
        sides = {
            frozenset("LR"): "left and right",
            frozenset("PA"): "back and front",
            frozenset("IS"): "top and bottom",
        }
        turned = [sides.get(frozenset((a, b)), "") for a, b in zip(grid.axes, reference.axes, strict=True) if a != b]
        swapped = f" ({', '.join(t for t in turned if t)} exchanged)" if any(turned) else ""
        return f"is stored in {grid.axes} order, {name} in {reference.axes}{swapped}"
    shift = grid.affine[:3, 3] - reference.affine[:3, 3]
    if np.allclose(grid.affine[:3, :3], reference.affine[:3, :3], atol=1e-3):
        return f"is shifted by {_mm(tuple(shift))} mm against {name}"
    return f"is rotated by {_angle(grid, reference):.1f}° against {name}"


def _parts(case: CaseFacts) -> Iterator[tuple[str, Grid, bool]]:
    for name, channel in list(case.channels.items())[1:]:
        yield f"channel {name}", channel.grid, False
    if case.label is not None:
        yield "label map", case.label.grid, True
    for name, rater in case.raters.items():
        yield f"label map of rater {name}", rater.grid, True


def _mm(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{v:.3g}" for v in values) + ")"


def _angle(grid: Grid, reference: Grid) -> float:
    a = grid.affine[:3, :3] / np.asarray(np.linalg.norm(grid.affine[:3, :3], axis=0))
    b = reference.affine[:3, :3] / np.asarray(np.linalg.norm(reference.affine[:3, :3], axis=0))
    cosine = (float(np.trace(a.T @ b)) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
