"""`explain`: a model and images → why it said so: maps on the images' own grid, each with checks that it can fail."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.errors import DataError, ModelError, TimeLimitError, UsageError, expected
from striate.core.files import filling, write_json
from striate.core.kinds import kinds
from striate.core.machine import show_seconds
from striate.core.progress import Progress, Silent, each
from striate.core.record import Stopwatch
from striate.explaining import METHODS, method_named
from striate.explaining.activating_patches import activating_patches, unit_of
from striate.explaining.effort import LADDER, STANDARD, Effort, Pace, affordable
from striate.explaining.explanation import explanations
from striate.explaining.feature_maps import feature_maps
from striate.inference.inputs import check_all_headers, gather
from striate.inference.memory import refuse_unheld
from striate.model.model import Model
from striate.planning.cost import seen_patch
from striate.planning.plan import Plan
from striate.workflows.explain_case import Ask, Look, Opened, look_at
from striate.workflows.explain_files import FILE, KIND, VERSION, record_of, write_features, write_patches, write_target
from striate.workflows.explain_time import UNLIMITED, Allowance
from striate.workflows.report import report

PATIENCE_S = 300.0
"""Time that is planned for where none is given, for all cases; never more than the standard effort."""


@kinds
def explain(
    model: Model | Path | str,
    inputs: Sequence[Path | str] | Path | str,
    out: Path | str | None,
    *,
    methods: Sequence[str] = (),
    label: str | None = None,
    lesion: int | None = None,
    whole: bool = False,
    plane: int | None = None,
    layer: str | None = None,
    unit: str | None = None,
    cohort: Path | str | None = None,
    budget_s: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Explain what a model says of all cases in `inputs`, and write it into the new folder `out`.

    Parameters
    ----------
    model
        One that draws masks or tells classes of images or slices, or the folder of one or of a run.
    inputs
        Image files, folders, cohorts; see `striate.inference.inputs`.
    out
        Gets ``CASE_TARGET_METHOD.nii.gz``, ``explanations.json``, ``record.json``, ``panels/``, ``features/`` where a layer
        is named, and ``report.html``. None: only the cost is told, and nothing is written.
    methods
        Names in `striate.explaining.METHODS`; all where none is given.
    label
        Label, region or class; each that was predicted where none is given.
    lesion, whole, plane
        Number of the lesion, 1 being the largest (the default); all lesions together; the slice, for models of slices.
    layer, unit, cohort
        Its maps are written, and Grad-CAM looks at it; ``LAYER:K``, whose most exciting patches in `cohort` (else in
        `inputs`) are shown.
    budget_s, seed, progress
        Time for all, which decides the effort; of random weights and orders; who listens.

    Returns
    -------
    dict
        What ``explanations.json`` holds, or ``{"cases": …, "seconds": …}`` without `out`.

    Raises
    ------
    UsageError, DataError, ModelError, TimeLimitError
        A name is unknown or captum missing; nothing can be explained; another kind of model; `budget_s` is too little.
    """
    progress, watch, start = progress or Silent(), Stopwatch(), time.monotonic()
    model = model if isinstance(model, Model) else Model.open(model)
    plan, names = model.plan, tuple(dict.fromkeys(methods)) or tuple(METHODS)
    ask = Ask(label, lesion, whole, plane, layer)
    _refuse(plan, ask)
    if cohort is not None and unit is None:
        raise UsageError(
            f"--cohort {cohort}: it is searched for what excites a unit, and no --unit was given. Give both."
        )
    for name in names:
        method_named(name)
    wanted = None if unit is None else unit_of(unit)
    given = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    cases, patched = _cases(plan, given, cohort)
    opened = Opened.of(model, progress.note)
    if model.previous is not None:
        progress.note("a cascade: its second stage is explained; the mask of the first is one of its inputs")
    allowance = Allowance.of(opened.network, _seen(plan), names, budget_s, start, len(cases))
    if out is None:
        return _cost(opened, cases, ask, allowance, progress)
    options = {"model": model.folder, "inputs": given, "out": out, "methods": names, **asdict(ask)}
    options |= {"unit": unit, "cohort": cohort, "budget_s": budget_s}
    with filling(Path(out)) as folder:
        patches = {} if wanted is None else _patches(opened, *wanted, patched, folder, progress)
        document = _explain_all(opened, cases, ask, allowance, seed, folder, progress)
        document |= patches
        write_json(folder / FILE, document)
        record_of("explain", model, cases, folder, options, seed, progress, watch).write(folder / "record.json")
    report(Path(out))
    return document


def _refuse(plan: Plan, ask: Ask) -> None:
    """Refuse models that cannot be explained, and options that do not belong to the model.

    Raises
    ------
    ModelError, UsageError
        With the reason.
    """
    kind = plan.task.kind
    if kind not in ("segmentation", "classification"):
        want = "explain works for masks and for classes of images or slices, which give one number to explain"
        raise ModelError(expected("model", f"it does {kind}", want))
    if ask.whole and ask.lesion is not None:
        raise UsageError(f"--whole was given with --lesion {ask.lesion}; leave one of them away.")
    if kind == "classification" and (ask.whole or ask.lesion is not None):
        option = "--whole" if ask.whole else f"--lesion {ask.lesion}"
        raise UsageError(f"{option}: the model tells classes and draws no lesions; leave it away.")
    if ask.plane is not None and (kind == "segmentation" or plan.task.unit != "slice"):
        raise UsageError(f"--slice {ask.plane}: the model does not look at single slices; leave it away.")


def _cases(plan: Plan, given: Sequence[Path | str], cohort: Path | str | None) -> tuple[list[Case], list[Case]]:
    """Return the cases to explain and those in which patches are searched; all fit the model."""
    cases = gather([Path(p) for p in given], plan.task.channels)
    searched = cases if cohort is None else gather([Path(cohort)], plan.task.channels)
    every = [*cases, *(case for case in searched if case not in cases)]
    places = given if cohort is None else ()  # of two places it is not known which is to be checked
    refuse_unheld(check_all_headers(every, len(plan.preparation.spacing_mm), places, done="explained"))
    return cases, searched


def _patches(
    opened: Opened, layer: str, unit: int, cases: Sequence[Case], folder: Path, progress: Progress
) -> dict[str, Any]:
    """Find what excites a unit most, and write it."""
    plan, ready = opened.plan, each(progress, "patches", map(opened.prepared, cases), len(cases))
    found = activating_patches(opened.network, layer, unit, ready, _patch(plan), plan.network.spatial_dims)
    return {"patches": write_patches(folder, layer, unit, found, [case.name for case in cases])}


def _patch(plan: Plan) -> tuple[int, ...]:
    """Return the window that is laid over prepared images; one voxel thick for networks on slices."""
    if plan.task.kind == "segmentation":
        return plan.inference.patch
    seen = seen_patch(plan.training.patch, plan.network.spatial_dims)
    return (*seen, 1) if len(plan.preparation.spacing_mm) > len(seen) else seen


def _seen(plan: Plan) -> tuple[int, ...]:
    """Return the size (C, *patch) of one window as the network sees it."""
    return (plan.in_channels, *seen_patch(_patch(plan), plan.network.spatial_dims))


def _effort(
    look: Look, allowance: Allowance, number: int, progress: Progress, *, first: bool
) -> tuple[Effort, list[Pace]]:
    """Choose how much is computed for case `number`, and say what it will take.

    Without a budget each case gets the same share of `PATIENCE_S`, with one an equal share of what is left of it; only the
    `first` may find it too little.
    """
    names, budget_s, left = allowance.methods, allowance.budget_s, allowance.cases - number
    paces = [Pace.of(scene) for scene in look.scenes]
    try:
        if budget_s is None:
            effort = affordable(paces, names, PATIENCE_S / allowance.cases, most=STANDARD)
        else:
            share_s = (budget_s - (time.monotonic() - allowance.start)) / left
            effort = affordable(paces, names, share_s, budget_s=budget_s, cases=left)
    except TimeLimitError:
        if budget_s is not None and first:
            raise
        if budget_s is not None:
            progress.warn(f"{look.case.name}: the time is used up; the least effort is taken.")
        effort = LADDER[0]
    for text in look.notes:
        progress.note(text)
    passes = sum(effort.passes(names, pace.gradient) for pace in paces)
    progress.note(
        f"{look.case.name}: {'; '.join(t.told for t in look.targets)}."
        f" {counted(len(look.targets), 'target')}, {counted(len(names), 'method')} with checks:"
        f" {counted(round(passes), 'pass', 'passes')} through the network, about {show_seconds(_seconds(paces, effort, names))}"
        + (f" (and {counted(left - 1, 'more case')})" if left > 1 else "")
    )
    return effort, paces


def _seconds(paces: Sequence[Pace], effort: Effort, names: Sequence[str]) -> float:
    return sum(pace.seconds(effort, names) for pace in paces)


def _cost(opened: Opened, cases: Sequence[Case], ask: Ask, allowance: Allowance, progress: Progress) -> dict[str, Any]:
    """Tell what the explanations would cost."""
    rows, names, given_s = list[dict[str, Any]](), allowance.methods, allowance.budget_s
    for number, case in enumerate(cases):
        look = look_at(opened, case, ask, allowance if number == 0 else UNLIMITED)
        share_s = None if given_s is None else given_s * (len(cases) - number) / len(cases)
        left = replace(allowance, budget_s=share_s, start=time.monotonic())  # as if those before had been explained
        effort, paces = _effort(look, left, number, progress, first=True)
        rows.append(
            {"case": case.name, "targets": [t.to_dict() for t in look.targets], "effort": effort.to_dict(),
             "passes": sum(effort.passes(names, p.gradient) for p in paces), "seconds": _seconds(paces, effort, names)}
        )  # fmt: skip
    return {"cases": rows, "seconds": sum(row["seconds"] for row in rows)}


def _explain_all(
    opened: Opened,
    cases: Sequence[Case],
    ask: Ask,
    allowance: Allowance,
    seed: int,
    folder: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Explain all cases, each within its share of what is left of the time, and return the document."""
    rows, features = list[dict[str, Any]](), list[dict[str, Any]]()
    for number, case in enumerate(cases):
        try:
            left = replace(allowance, cases=len(cases) - number)
            look = look_at(opened, case, ask, UNLIMITED if rows else left)
        except DataError as error:
            if len(cases) == 1:
                raise
            progress.warn(f"{error} The case is left out.")
            continue
        effort, paces = _effort(look, allowance, number, progress, first=not rows)
        rows += _explain_case(opened.plan, look, allowance.methods, effort, paces, seed, folder, progress)
        if ask.layer is not None:
            features.append(write_features(folder, look, *feature_maps(look.scenes[0], opened.plan, ask.layer)))
    if not rows:
        want = "at least one case in which the model finds something is needed"
        raise DataError(expected("explain", f"none of {counted(len(cases), 'case')} can be explained", want))
    passed = all(row["passed"] for row in rows)
    return {"kind": KIND, "schema_version": VERSION, "passed": passed, "explanations": rows, "features": features}


def _explain_case(
    plan: Plan, look: Look, names: Sequence[str], effort: Effort, paces: Sequence[Pace], seed: int, folder: Path,
    progress: Progress,
) -> list[dict[str, Any]]:  # fmt: skip
    """Explain all targets of a case, and write them; one row per map."""
    rows = list[dict[str, Any]]()
    costs = [pace.seconds(effort, names) for pace in paces]
    with progress.bar(f"explain {look.case.name}", sum(costs)) as bar:
        for number, (target, scene) in enumerate(zip(look.targets, look.scenes, strict=True)):
            before = sum(costs[:number])

            def tell(share: float, what: str, before: float = before, cost: float = costs[number]) -> None:
                bar.update(before + share * cost, now=what)

            found = list(explanations(scene, plan, names, effort, seed=seed, pace=paces[number], tell=tell))
            for one in found:
                for verdict in one.verdicts:
                    if verdict.passed is False:
                        progress.note(f"failed: {one.method} of {target.label}: {verdict.sentence}")
            rows += write_target(folder, look, target, scene, found, effort)
    return rows
