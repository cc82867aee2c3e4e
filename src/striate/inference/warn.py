"""Reasons not to trust a prediction that its geometry alone gives; later ones (uncertainty, unlikeness) join them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from striate.core.caution import Caution
from striate.core.image import LabelMap
from striate.data.prepare import Prepared
from striate.planning.plan import Plan

COARSER = 2.5
"""How many times coarser than the plan's voxels the image may be before it is said."""


def reasons_for_doubt(plan: Plan, facts: Mapping[str, Any], prepared: Prepared, label: LabelMap) -> Iterator[Caution]:
    """Yield cautions; none where nothing was noticed."""
    where = f"case {prepared.case}"
    given = prepared.cropped.spacing_mm
    for axis, (found, planned) in enumerate(zip(given, plan.preparation.spacing_mm, strict=True)):
        if found > COARSER * planned:
            yield Caution(
                "coarse-voxels",
                f"{where}: voxels of {found:.3g} mm along axis {'xyz'[axis]}, the model works at {planned:.3g} mm;"
                " what is finer than a voxel cannot be seen, so small objects may be missed.",
            )
    if is_constant(prepared):
        then = "what the mask shows means nothing" if label.array.any() else "the mask is empty"
        yield Caution("constant-image", f"{where}: the image is constant, so there is nothing to see and {then}.")
    elif not label.array.any():
        yield Caution("nothing-found", f"{where}: nothing was found; that is right only if nothing is there.")


def is_constant(prepared: Prepared) -> bool:
    """Tell whether every channel has one value throughout."""
    return not prepared.array.any() or all(float(c.min()) == float(c.max()) for c in prepared.array)
