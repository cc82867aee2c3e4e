"""Affines that contradict themselves or that nobody set: qform against sform, side, shear."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from striate.core.image import Grid
from striate.data.checks.facts import CohortFacts, Forms
from striate.data.checks.problem import Problem

FORMS_APART_MM = 1.0
SHEAR = 0.01
UNSET = "no orientation"


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report headers whose two forms disagree, that have no orientation, or that are sheared."""
    unset: list[str] = []
    for case in cohort.cases:
        parts = [(f"channel {name}", c.grid, c.forms, c.notes) for name, c in case.channels.items()]
        if case.label is not None:
            parts.append(("label map", case.label.grid, case.label.forms, case.label.notes))
        for what, grid, forms, notes in parts:
            if any(UNSET in note for note in notes) and case.case not in unset:
                unset.append(case.case)
            if forms is not None and forms.apart_mm > max(FORMS_APART_MM, 0.5 * min(grid.spacing_mm)):
                yield _forms(case.case, what, forms)
            if len(grid.shape) == 3 and shear_of(grid) > SHEAR:
                yield Problem(
                    "shear", case.case, "warning", f"{what} has axes {np.degrees(np.arcsin(min(shear_of(grid), 1))):.1f}° off"
                    " the right angle", "axes at right angles are needed, distances in mm are wrong otherwise",
                    "Resample it to a straight grid (CT with a tilted gantry is the usual cause).",
                )  # fmt: skip
    if unset:
        shown = ", ".join(unset[:5]) + (" …" if len(unset) > 5 else "")
        yield Problem(
            "orientation_unknown", None, "warning", f"{len(unset)} cases without an orientation in the header ({shown})",
            "a qform or sform is needed, left and right are only assumed",
            "Convert them again from DICOM, or set the affine after looking at a side marker.",
        )  # fmt: skip


def shear_of(grid: Grid) -> float:
    """Return the largest cosine between two axes: 0 at right angles."""
    unit = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    return float(np.abs(unit.T @ unit - np.eye(3)).max())


def _forms(case: str, what: str, forms: Forms) -> Problem:
    if forms.qform_axes != forms.sform_axes:
        mirrored = _side(forms.qform_axes) != _side(forms.sform_axes)
        found = f"{what} is {forms.sform_axes} by its sform and {forms.qform_axes} by its qform"
        tail = ": left and right are exchanged in one of them" if mirrored else ""
        return Problem(
            "left_right" if mirrored else "orientation", case, "error" if mirrored else "warning", found + tail,
            "both must say the same, programs differ in which one they believe",
            "Find out which one is true (a side marker, the scanner's protocol) and copy it to the other.",
        )  # fmt: skip
    return Problem(
        "orientation", case, "warning", f"{what} lies {forms.apart_mm:.1f} mm apart by its sform and by its qform",
        "both must say the same; Striate believes the sform", "Copy the true one to the other.",
    )  # fmt: skip


def _side(axes: str) -> str:
    return "L" if "L" in axes else "R"
