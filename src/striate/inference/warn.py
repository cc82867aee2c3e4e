"""Reasons not to trust a prediction that its geometry alone gives; later ones (uncertainty, unlikeness) join them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from striate.core.body_scan import impossible, show_mm
from striate.core.caution import Caution
from striate.core.errors import expected
from striate.core.grouped import grouped
from striate.core.image import Grid, LabelMap
from striate.data.prepare import Prepared
from striate.planning.plan import Plan

COARSER = 2.5
"""How many times coarser than the plan's voxels the image may be before it is said."""
IMPOSSIBLE = "impossible-size"
"""Code of a volume with voxels that no body scan has."""


def reasons_for_doubt(plan: Plan, facts: Mapping[str, Any], prepared: Prepared, label: LabelMap) -> Iterator[Caution]:
    """Yield cautions; none where nothing was noticed."""
    where = f"case {prepared.case}"
    then = "what the mask shows means nothing" if label.array.any() else "the mask is empty"
    blind = nothing_to_see(plan, prepared, where, then)
    if blind is not None and blind.code == IMPOSSIBLE:
        yield blind
        return
    given = prepared.cropped.spacing_mm
    each = zip("xyz", given, plan.preparation.spacing_mm, strict=False)
    coarse = [(axis, found, planned) for axis, found, planned in each if found > COARSER * planned]
    if coarse:
        axes, found, planned = zip(*coarse, strict=True)
        yield Caution(
            "coarse-voxels",
            f"{where}: voxels of {show_mm(found)} mm along {'axis' if len(axes) == 1 else 'axes'} {', '.join(axes)}, the model"
            f" works at {show_mm(planned)} mm; what is finer than a voxel cannot be seen, so small objects may be missed.",
        )
    if blind is not None:
        yield blind
    elif not label.array.any():
        yield Caution("nothing-found", f"{where}: nothing was found; that is right only if nothing is there.")


def nothing_to_see(plan: Plan, prepared: Prepared, where: str, then: str) -> Caution | None:
    """Return why the images show nothing; None where they may show something.

    A volume whose voxels no body scan has is said to be one, and not to be constant, though resampling often leaves a single
    voxel of it; not by models whose own voxels are alike.

    Parameters
    ----------
    plan
        Of the model.
    prepared
        The images.
    where
        The case, for instance ``case P012``.
    then
        What follows from a constant image, for instance ``the mask is empty``.
    """
    wrong = impossible(prepared.source, plan.preparation.spacing_mm)
    if wrong is not None:
        return Caution(IMPOSSIBLE, expected(where, *wrong))
    if not prepared.array.any() or all(float(c.min()) == float(c.max()) for c in prepared.array):
        return Caution("constant-image", f"{where}: the image is constant, so there is nothing to see and {then}.")
    return None


def impossible_sizes(plan: Plan, grids: Mapping[str, Grid]) -> list[str]:
    """Tell before anything is computed which cases (name → grid) have voxels that no body scan has; few lines for many."""
    found = {name: impossible(grid, plan.preparation.spacing_mm) for name, grid in grids.items()}
    return grouped((name, IMPOSSIBLE, expected(f"case {name}", *wrong)) for name, wrong in found.items() if wrong)
