"""`foresee`: what `striate.workflows.predict` would do with these cases, known from headers; nothing is computed or written."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from striate.core.case import Case
from striate.core.errors import MemoryLimitError, UsageError
from striate.core.files import refuse_filled
from striate.core.image import Grid
from striate.core.machine import memory_available_bytes
from striate.core.progress import Progress
from striate.core.unfinished import Unfinished
from striate.data.prepare import uncut_shape
from striate.inference.engines import foresee as engines
from striate.inference.engines.choose import AUTO, macs_of
from striate.inference.engines.foresee import Foreseen as Engine
from striate.inference.engines.openvino import runtime
from striate.inference.engines.race import BASE
from striate.inference.engines.uncertainty import check_way
from striate.inference.inputs import check_all_headers
from striate.inference.memory import Parts
from striate.inference.tiling import Tiling
from striate.inference.warn import impossible_sizes
from striate.model.model import Model
from striate.planning.plan import Plan
from striate.workflows.dicom_segs import refuse_other_formats
from striate.workflows.disk import refuse_prediction
from striate.workflows.kept import refuse_failed
from striate.workflows.kept_classes import names_in
from striate.workflows.predict_masks import able_of, announce, fitting, needs_of

PACKAGES = {"torch": "torch", "openvino": "openvino", "int8": "openvino", "onnx": "onnxruntime"}
"""Engine → the package that computes it; it is loaded, because its memory counts."""


@dataclass(frozen=True)
class Foreseen:
    """What a dry run of `striate.predict` ends with.

    Attributes
    ----------
    out
        Where everything would be written.
    document
        ``cases`` (of each ``case``, ``channels``, ``shape``, ``spacing_mm`` and ``windows``, at most so many; of models of whole
        images none), ``left_out`` (``case`` and ``reason`` of those too large for the memory), ``windows`` of the others,
        ``engine`` (``name``, ``precision``, ``reason``), ``memory`` (``announced_bytes``,
        ``free_bytes``, ``neighbours_together``; None for models of whole images), ``disk`` (``needed_bytes``, ``most_bytes`` and
        ``free_bytes``; see `striate.workflows.disk.refuse_prediction`), ``network_s`` (of all windows, as measured on
        this machine; None where none was) and ``kept`` (cases that are there from a call that was stopped).
    """

    out: Path
    document: dict[str, Any]


def foresee(model: Model, cases: list[Case], out: Path, options: Mapping[str, Any], progress: Progress) -> Foreseen:
    """Return what `predict` would do, refused as it would be; parameters as of `striate.workflows.predict_masks.predict_masks`.

    Raises
    ------
    DataError, ModelError, UsageError, MemoryLimitError
        As `striate.predict`, of what is known from headers.
    """
    grids = check_all_headers(cases, len(model.plan.preparation.spacing_mm), options["inputs"])
    refuse_filled(out)
    for line in impossible_sizes(model.plan, {name: grid for name, (grid, _) in grids.items()}):
        progress.note(line)
    masks = model.plan.task.kind == "segmentation"
    if masks:
        refuse_other_formats(model, cases, options)
    rows = [_row(model.plan, case, grids[case.name][0], masks=masks) for case in cases]
    place, names = Unfinished(out), {case.name for case in cases}
    engine, memory, large = Engine("torch", "models of whole images are computed by it"), None, list[MemoryLimitError]()
    if masks:
        able, large = able_of(model, cases, grids, place, options)
        engine = _engine(model, {case.name: grids[case.name] for case in able}, options)
        memory, more = _memory(model, able, grids, options, engine, progress)
        large += [error for error in more if error.case not in place.names]
        if len(large) == len(cases):
            refuse_failed(large, place, cases)
    else:
        from striate.workflows.predict_whole import held_of  # it loads torch, which exported models do without

        _, large = held_of(model.plan, cases, grids, place)
    left_out = [{"case": str(error.case), "reason": str(error)} for error in large]
    left, kept = {one["case"] for one in left_out}, names & set(place.names if masks else names_in(place))
    todo = [case for case in cases if case.name not in left | kept]
    disk = refuse_prediction(model, todo, grids, out, options, progress.note)
    windows = sum(row["windows"] for row in rows if row["case"] not in left) if masks else None
    mirrored = options["uncertainty"] == "tta" if masks else False
    copies = 2 ** len(model.plan.inference.mirror_axes) if mirrored else 1
    known = windows is not None and engine.window_s is not None and model.previous is None
    return Foreseen(
        out,
        {
            "out": out, "cases": rows, "left_out": left_out, "windows": windows, "engine": engine.to_dict(), "memory": memory,
            "disk": disk,
            "network_s": round((windows or 0) * copies * (engine.window_s or 0.0), 1) if known else None,
            "kept": sorted(kept),
        },
    )  # fmt: skip


def _row(plan: Plan, case: Case, grid: Grid, *, masks: bool) -> dict[str, Any]:
    """Return what is known of a case; windows as if nothing were cut away."""
    row = {
        "case": case.name, "channels": dict(case.channels), "shape": list(grid.shape),
        "spacing_mm": [round(float(mm), 4) for mm in grid.spacing_mm],
    }  # fmt: skip
    if not masks:
        return row
    shape = uncut_shape(plan.preparation, grid)
    return {**row, "windows": Tiling.of(shape, plan.inference.patch, plan.inference.overlap).count}


def _engine(model: Model, grids: Mapping[str, tuple[Grid, int]], options: Mapping[str, Any]) -> Engine:
    """Return what would compute the network, or networks."""
    way, name, others = str(options["uncertainty"]), str(options["engine"]), list(options["ensemble"])
    if options["exact"]:
        return Engine("torch", "--exact is computed by it, on the processor")
    check_way(model, way, [Model.open(path) for path in others])
    if way not in ("none", "tta"):
        if name not in (AUTO, "torch"):
            raise UsageError(f"--engine {name}: --uncertainty {way} is computed by torch; leave one of them away.")
        return engines.by_torch(f"--uncertainty {way} is computed by it")
    copies = 2 ** len(model.plan.inference.mirror_axes) if way == "tta" else 1
    return engines.foresee(model, name, lambda: copies * macs_of(model, [grid for grid, _ in grids.values()]))


def _memory(
    model: Model,
    cases: list[Case],
    grids: Mapping[str, tuple[Grid, int]],
    options: Mapping[str, Any],
    engine: Engine,
    progress: Progress,
) -> tuple[dict[str, Any], list[MemoryLimitError]]:
    """Say and return what would be announced, and why cases would be left out; weights and libraries, loaded by then, count.

    Where a comparison would decide, that is the larger of what its engines would take.
    """
    packages = [PACKAGES[name] for name in ([engine.name] if engine.name else [engines.compared(), BASE])]
    exact, way, both = bool(options["exact"]), str(options["uncertainty"]), list[list[list[Parts]]]()
    crf, large = bool(options["crf"]), list[MemoryLimitError]()
    for package in packages:
        runtime() if package == "openvino" else importlib.import_module(package)
        computes = replace(engine, name=package if package in ("torch", "openvino") else engine.name)
        if not both:
            cases, needed, large = fitting(model, cases, grids, computes, crf=crf, exact=exact)
            both.append(needed)
            continue
        try:
            both.append(needs_of(model, cases, grids, computes, crf=crf, exact=exact))
        except MemoryLimitError as error:
            progress.note(f"if PyTorch were found faster: {error}")
    needs = max(both, key=lambda stages: max((parts["network"] for stage in stages for parts in stage), default=0))
    members = 1 + len(options["ensemble"])
    weights = members * sum(4 * int(m.facts.get("parameters") or 0) for m in (model, model.previous) if m is not None)
    together, announced = announce(model, needs, progress, tta=way == "tta" or exact, held=-weights)
    return {
        "announced_bytes": announced,
        "neighbours_together": together,
        "free_bytes": memory_available_bytes(),
    }, large
