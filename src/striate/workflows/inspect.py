"""`inspect`: a model and one scan → what every part of the network computes there, down to the sum that made a number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.errors import UsageError
from striate.core.files import filling, refuse_filled, refuse_unwritable, write_json
from striate.core.kinds import kinds
from striate.core.progress import Progress, Silent
from striate.core.record import Stopwatch
from striate.data.time_points import histories
from striate.explaining.activating_patches import unit_of
from striate.inference.inputs import check_all_headers, gather
from striate.inference.memory import refuse_unheld
from striate.model.model import Model
from striate.workflows.explain_case import Opened
from striate.workflows.explain_files import record_of
from striate.workflows.inspect_cost import Cost
from striate.workflows.inspect_files import key_of, sum_document
from striate.workflows.inspect_inside import Inside
from striate.workflows.inspect_mask import view_of_mask
from striate.workflows.inspect_view import Ask, View
from striate.workflows.inspect_whole import view_of_whole
from striate.workflows.report import report

FILE = "inspection.json"


@kinds
def inspect(
    model: Model | Path | str,
    inputs: Sequence[Path | str] | Path | str,
    out: Path | str | None = None,
    *,
    at: Sequence[int] | None = None,
    label: str | None = None,
    plane: int | None = None,
    unit: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Show what every part of a network computes on one scan, and open numbers of it down to the sums that made them.

    Looked at is one window, as `predict` gives it to the network, and one point in it.

    Parameters
    ----------
    model
        Any that has its weights, or the folder of one or of a run.
    inputs
        Of one case: image files, folders, cohorts; see `striate.inference.inputs`.
    out
        Gets ``inspection.json``, ``maps/``, ``filters/``, ``image/``, ``record.json`` and ``report.html``. None: only `unit` is
        opened or, without one, the cost told.
    at
        A voxel of the scan, from 0, on the file's own grid. None: the middle of the largest lesion that was predicted, or of the
        image; of slices the one where the class is likeliest.
    label, plane
        Label, class or channel that is followed; the slice, for models of slices.
    unit
        ``LAYER:K``, whose sum at the point is opened.
    progress
        Who listens.

    Returns
    -------
    dict
        What ``inspection.json`` holds; without `out` the sum of `unit` or ``{"case": …, "passes": …, "seconds": …}``.

    Raises
    ------
    UsageError, DataError, ModelError
        Several cases, or no such voxel, label, slice or unit; a scan that cannot be read; a model without weights.
    """
    progress = progress or Silent()
    if out is None and unit is None:
        opened, case, _ = _opened(model, inputs, progress)
        _refuse(opened, at, plane)
        return Cost.of(opened, case, found=at is None).told(progress)
    return inspected(model, inputs, out, at=at, label=label, plane=plane, unit=unit, progress=progress)[0]


def inspected(
    model: Model | Path | str,
    inputs: Sequence[Path | str] | Path | str,
    out: Path | str | None,
    *,
    at: Sequence[int] | None = None,
    label: str | None = None,
    plane: int | None = None,
    unit: str | None = None,
    progress: Progress,
) -> tuple[dict[str, Any], Inside]:
    """Return what `inspect` does, and what opens further numbers of the same pass."""
    watch = Stopwatch()
    named = None if unit is None else unit_of(unit)
    if out is not None:
        refuse_filled(Path(out))
        refuse_unwritable(Path(out))
    opened, case, history = _opened(model, inputs, progress)
    _refuse(opened, at, plane)
    if opened.model.previous is not None:
        progress.note("a cascade: its second stage is inspected; the mask of the first is one of its inputs")
    Cost.of(opened, case, found=at is None, opens=out is not None).told(progress)
    ask = Ask(None if at is None else tuple(int(i) for i in at), label, plane)
    view = look_into(opened, case, ask, history, progress)
    for text in view.notes:
        progress.note(text)
    inside = Inside.of(opened.plan, view, progress)
    number = None if named is None else inside.named(*named)
    if out is None:
        told = {"case": case.name, "voxel": list(view.at), "layer": None if named is None else named[0]}
        return told | sum_document(inside.open(number)) if number else told, inside
    options = {
        "model": opened.model.folder,
        "inputs": inputs,
        "out": out,
        "at": at,
        "label": label,
        "plane": plane,
        "unit": unit,
    }
    with filling(Path(out)) as folder:
        document = inside.write(folder, number, progress)
        if number is not None:
            document["asked"] = key_of(number.node, number.unit, number.at)
        write_json(folder / FILE, document)
        record = record_of("inspect", opened.model, [case], folder, options, None, progress, watch)
        record.write(folder / "record.json")
    report(Path(out))
    return document, inside


def _opened(
    model: Model | Path | str, inputs: Sequence[Path | str] | Path | str, progress: Progress
) -> tuple[Opened, Case, tuple[Case, ...]]:
    """Return model, case and the examinations up to it, of which headers are known to fit."""
    model = model if isinstance(model, Model) else Model.open(model)
    plan = model.plan
    given = [Path(p) for p in ([inputs] if isinstance(inputs, (str, Path)) else inputs)]
    cases = gather(given, plan.task.channels)
    before: dict[str, tuple[Case, ...]] = {}
    if plan.task.kind == "sequence" and plan.task.unit == "case":
        before = histories(cases)
    if len({case.subject if before else case.name for case in cases}) > 1:
        names = ", ".join(case.name for case in cases[:4]) + (" …" if len(cases) > 4 else "")
        raise UsageError(
            f"inspect: {counted(len(cases), 'case')} were given ({names}); one is looked at. Give its files alone."
        )
    case = max(cases, key=lambda one: len(before.get(one.name, ())))
    refuse_unheld(check_all_headers(cases, len(plan.preparation.spacing_mm), given, done="inspected"))
    return Opened.of(model, progress.note), case, before.get(case.name, ())


def look_into(opened: Opened, case: Case, ask: Ask, history: Sequence[Case], progress: Progress) -> View:
    """Prepare a case and choose window, point and output; see `view_of_mask` and `view_of_whole`."""
    if opened.plan.task.kind == "segmentation":
        return view_of_mask(opened, case, ask, progress)
    return view_of_whole(opened, case, ask, history)


def _refuse(opened: Opened, at: Sequence[int] | None, plane: int | None) -> None:
    """Refuse options that do not belong to the model or exclude each other.

    Raises
    ------
    UsageError
        With the reason.
    """
    plan = opened.plan
    if plane is not None and plan.task.unit != "slice":
        raise UsageError(
            f"--slice {plane}: the model does not look at single slices; leave it away, or give --at I,J,K."
        )
    if plane is not None and at is not None:
        told = ",".join(str(i) for i in at)
        raise UsageError(
            f"--slice {plane} was given with --at {told}, which says the slice too; leave one of them away."
        )
