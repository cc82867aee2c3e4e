"""How much a run or a prediction writes, known from headers: told, and refused where less is free."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.disk import refuse_full
from striate.core.errors import DataError, MemoryLimitError
from striate.core.image import Grid
from striate.core.machine import show_bytes
from striate.data.cohort import Cohort
from striate.data.split import Split
from striate.inference.written import dicom_seg_bytes, found_bytes, map_bytes, mask_bytes, panel_bytes
from striate.io.read import extension, read_header
from striate.model.model import Model
from striate.planning.plan import Plan

if TYPE_CHECKING:
    from striate.planning.fingerprint import Fingerprint

PANELS = 12
"""Panels are written for this many cases; a report of more would not be looked at."""
WRITTEN = {".jpg": ".png", ".jpeg": ".png", ".mhd": ".mha", ".nhdr": ".nrrd", ".dcm": ".nii.gz", ".ima": ".nii.gz"}
"""Ending of an image → that of its mask, where masks are not written in that format: it loses something, takes two files, or is
only read."""
PARAMETER_BYTES = 40
"""Of each number that a network learns: weight, average and two moments in a checkpoint, twice while it is replaced; a model."""


def ending_of(case: Case) -> str:
    """Return the ending of the mask of a case."""
    ending = extension(next(iter(case.channels.values()))) or ".nii.gz"
    return WRITTEN.get(ending, ending)


def refuse_prediction(
    model: Model,
    cases: Sequence[Case],
    headers: Mapping[str, tuple[Grid, int]],
    out: Path,
    options: Mapping[str, Any],
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, int | None]:
    """Refuse to predict where the disk has less room than the files of `cases` may take; return what is needed and free.

    Returns
    -------
    dict
        ``needed_bytes`` (with masks of anatomy), ``most_bytes`` (with masks of noise) and ``free_bytes``, None where that is not
        known. Where less than ``most_bytes`` is free, `tell` hears what happens if the disk fills up.

    Raises
    ------
    DiskFullError
        With what is needed, what is free, and where.
    """
    plan, masks = model.plan, model.plan.task.kind == "segmentation"
    labels = len(plan.targets.names) if options.get("save_probabilities") else 0
    maps = labels + bool(options.get("save_uncertainty")) + (plan.task.kind == "reconstruction")
    total = apart = most = 0
    for index, case in enumerate(cases):
        grid, channels = headers[case.name]
        total += found_bytes(plan, grid) + maps * map_bytes(grid)
        if masks:
            usual, noise = (mask_bytes(plan, grid, ending_of(case), noise=noise) for noise in (False, True))
            total, apart = total + usual, apart + noise - usual
        if masks and options.get("dicom_seg"):
            usual, noise = (dicom_seg_bytes(plan, grid, noise=noise) for noise in (False, True))
            total, apart = total + usual, apart + noise - usual
        if masks and index < PANELS:
            usual, noise = (panel_bytes(plan, grid, channels, noise=noise) for noise in (False, True))
            total, apart = total + usual, apart + noise - usual
        most = max(most, labels * map_bytes(grid))  # put together beside those that are written
    more = (
        " or leave --save-probabilities and --save-uncertainty away"
        if labels or options.get("save_uncertainty")
        else ""
    )
    hint = f"Free some space, choose another --out, give fewer cases at a time{more}."
    found = refuse_full(out, total + most, f"what is written of {counted(len(cases), 'case')}", hint)
    found["most_bytes"], free = total + most + apart, found["free_bytes"]
    if free is not None and free < total + most + apart:
        tell(
            f"{show_bytes(free)} are free where {out} will lie; masks full of noise would take up to"
            f" {show_bytes(total + most + apart)}. If the disk fills up, what is done is kept, and the same call goes on with it."
        )
    return found


def refuse_run(plan: Plan, cohort: Cohort, split: Split, facts: Fingerprint, folder: Path) -> None:
    """Refuse to train where the disk has less room than the run, with training images of these `facts`, may take.

    Raises
    ------
    DiskFullError
        With what is needed, what is free, and where.
    """
    count = counted(len(split.train) + len(split.validation), "prepared case")
    hint = "Free some space, choose another --out, or give fewer cases."
    refuse_full(folder, run_bytes(plan, cohort, split, facts), f"{count}, checkpoints and validation", hint)


def with_disk(plan: Plan, cohort: Cohort, split: Split, facts: Fingerprint) -> Plan:
    """Return the plan, which tells what its run writes."""
    return plan.changed(expected=plan.expected.changed(disk_bytes=run_bytes(plan, cohort, split, facts)).model_dump())


def run_bytes(plan: Plan, cohort: Cohort, split: Split, facts: Fingerprint) -> int:
    """Return what a run writes, an upper estimate: its prepared cases, checkpoints, the model, the validation cases.

    Of training cases it is known what is cut away; from the others no more is taken to be cut than from any of them.
    """
    from striate.planning.cost import network_cost

    training, masks = plan.training, plan.task.kind == "segmentation"
    learned = plan.expected.parameters
    if learned is None:
        learned = network_cost(plan.task, plan.network, training.patch, training.length).parameters
    total = learned * (PARAMETER_BYTES + 4 * training.snapshots)
    held_out, left = (
        set(split.validation),
        {case.name: math.prod(case.cropped) / math.prod(case.shape) for case in facts.cases},
    )
    most = max(left.values())
    for name in (*split.train, *split.validation):
        try:
            grid, channels = _header(cohort.case(name))
        except (DataError, MemoryLimitError):
            continue  # who reads it says what is wrong
        if len(grid.shape) != len(plan.preparation.spacing_mm):
            continue
        total += _prepared_bytes(plan, grid, channels, left.get(name, most))
        if name in held_out:
            total += found_bytes(plan, grid) + (
                mask_bytes(plan, grid) + panel_bytes(plan, grid, channels) if masks else 0
            )
    return total


def _header(case: Case) -> tuple[Grid, int]:
    files = dict.fromkeys(case.channels.values())
    header = read_header(next(iter(files)), stack=len(files) < len(case.channels))
    return header.grid, len(case.channels)


def _prepared_bytes(plan: Plan, grid: Grid, channels: int, left: float) -> int:
    if plan.task.kind == "segmentation":
        from striate.data.store import stored_bytes

        return stored_bytes(plan.preparation, plan.targets, grid, channels, left if plan.preparation.crop else 1.0)
    from striate.data.samples import sampled_bytes
    from striate.inference.whole import form_of

    return sampled_bytes(form_of(plan), grid, channels)
