"""Parts of an audit that look at the network itself: artefacts of rising strength, attacks, explanations with their checks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from striate.core.case import Case
from striate.core.errors import DataError, StriateError, TimeLimitError
from striate.core.files import plain
from striate.core.machine import show_seconds
from striate.core.progress import Progress
from striate.data.prepare import prepare
from striate.inference.predict import engine_of, predict_case
from striate.measure.components import components
from striate.model.model import Model
from striate.reporting.numbers import joined
from striate.reporting.sections.explanations import title_of
from striate.trust.attack_curve import EPSILONS, attack_curve
from striate.trust.corruption_curve import corruption_curve
from striate.trust.trust import Trust
from striate.workflows.audit_answers import too_little
from striate.workflows.audit_measured import Row

EXPLAINED = 3
"""Cases that are explained at most."""
LEAST_EFFORT = {"steps": 8, "boxes": 64, "networks": 1, "orders": 19, "levels": 4}
"""Where the time is short: as many random orders as p = 0.05 needs, in curves of few points."""
SMALLEST_VOXELS = 8
"""Lesions of fewer voxels are explained only where there is no larger one."""
FEW_EPSILONS, FEW_S = (0.02, 0.05, 0.1), 120.0
"""Changes that are tried where an attack has less than this time."""
PLANNED = 0.7
"""Share of its time that a curve is told of: it plans by a first pass, and the last case is ended in any event."""
LEAST_S = 5.0
"""A part that has less than this is not begun."""


def quality(
    model: Model, cases: Sequence[Case], trust: Trust | None, seconds: float, progress: Progress
) -> dict[str, Any]:
    """Return Dice and calibration against the strength of each artefact, and whether the gate warned before the break."""
    if seconds < LEAST_S:
        return _too_short(seconds)
    return corruption_curve(model, cases, trust, budget_s=PLANNED * seconds, progress=progress).to_dict()


def adversarial(
    model: Model, cases: Sequence[Case], hardened: Model | None, seconds: float, progress: Progress
) -> dict[str, Any]:
    """Return the Dice under attack, of the model and, where one is given, of a hardened one on the same cases."""
    if seconds < LEAST_S:
        return _too_short(seconds)
    share = PLANNED * (seconds if hardened is None else seconds / 2)
    epsilons = EPSILONS if share >= FEW_S else FEW_EPSILONS
    found = attack_curve(model, cases, epsilons=epsilons, budget_s=share, progress=progress).to_dict()
    hard = None
    if hardened is not None:
        hard = attack_curve(hardened, cases, epsilons=epsilons, budget_s=share, progress=progress).to_dict()
        found["notes"] += [f"The hardened model: {note}" for note in hard["notes"]]
    return {
        **found,
        "status": "partial" if any(one and too_little(one) for one in (found, hard)) else "done",
        "hardened": hard,
        "trained_adversarially": bool(getattr(model.plan.training, "adversarial", None)),
    }


def explanations_of(
    model: Model, cases: Sequence[Case], rows: Sequence[Row], seconds: float, progress: Progress
) -> dict[str, Any]:
    """Return the methods' verdicts on a middling predicted lesion of some cases, chosen over the range of the Dice.

    Where the time does not allow all methods, those that take most are left out, and named.
    """
    if seconds < LEAST_S:
        return _too_short(seconds)
    try:
        from striate.core.optional import require

        require("captum", "trust", "striate audit")
    except StriateError as error:
        return {"n_subjects": 0, "absent": str(error)}
    from striate.explaining import METHODS
    from striate.explaining.effort import Pace
    from striate.explaining.explanation import explanations
    from striate.explaining.scene import Scene, on_working_grid

    plan, network, began = model.plan, model.network(), time.monotonic()
    engine, chosen = engine_of(model, network), _chosen(cases, rows)
    found, notes, short = list[dict[str, Any]](), list[str](), False
    with progress.bar("Explain", len(chosen)) as bar:
        for done, case in enumerate(chosen):
            try:
                ready = prepare(case, plan.preparation)
                label = predict_case(model, case, network=engine, prepared=ready).label
            except DataError as error:
                notes.append(f"Case {case.name} was not explained: {error}")
                continue
            target = _middling(label.array, plan.targets)
            if target is None:
                notes.append(f"Case {case.name}: nothing was predicted, so there is nothing to explain.")
                continue
            name, mask = target
            scene = Scene.of_mask(plan, network, ready, on_working_grid(mask, ready), name)
            pace = Pace.of(scene)
            left = seconds - (time.monotonic() - began)
            fitting = _fitting(pace, left / (len(chosen) - done))
            if isinstance(fitting, str) and not found:  # one case rather than none
                fitting = _fitting(pace, left)
            if isinstance(fitting, str):
                notes.append(f"Case {case.name} was not explained: {fitting}")
                short = True
                break
            effort, methods = fitting
            if len(methods) < len(METHODS):
                short = True
                notes.append(f"Case {case.name}: the time allowed only {_named(methods)}.")
            start = done
            for one in explanations(
                scene, plan, methods, effort, pace=pace,
                tell=lambda share, what, at=start: bar.update(at + share, method=what),  # type: ignore[misc]
            ):  # fmt: skip
                found.append({"case": case.name, "subject": case.subject, "label": name, **plain(one.to_dict())})
            bar.update(done + 1)
    if not found:
        return {"n_subjects": 0, "absent": notes[0] if notes else "No case could be explained.", "status": "not done"}
    return {
        "n_subjects": len({f["subject"] for f in found}), **_tally(found), "explained": found, "notes": notes,
        "status": "partial" if short else "done",
    }  # fmt: skip


def _tally(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return method → check → how many passed of how many could be made, and the share of all."""
    methods: dict[str, dict[str, list[int]]] = {}
    for one in found:
        for check in one["checks"]:
            if check["passed"] is not None:
                tally = methods.setdefault(one["method"], {}).setdefault(check["check"], [0, 0])
                tally[0] += bool(check["passed"])
                tally[1] += 1
    sums = [t for checks in methods.values() for t in checks.values()]
    made = sum(t[1] for t in sums)
    return {
        "methods": methods,
        "passed": sum(t[0] for t in sums) / made if made else None,
        "sound": sorted(m for m, checks in methods.items() if all(t[0] == t[1] for t in checks.values())),
    }


def _chosen(cases: Sequence[Case], rows: Sequence[Row]) -> list[Case]:
    """Return cases of the worst, the middle and the best Dice."""
    from striate.workflows.audit_cheap import mean_dice

    by_name = {c.name: c for c in cases}
    known = sorted(((d, r["case"]) for r in rows if (d := mean_dice(r)) is not None), key=lambda p: p[0])
    if not known:
        return list(cases[:EXPLAINED])
    places = np.unique(np.linspace(0, len(known) - 1, EXPLAINED).round().astype(int))
    return [by_name[known[p][1]] for p in places[::-1]]


def _fitting(pace: Any, seconds: float) -> tuple[Any, list[str]] | str:
    """Return the effort and the methods that fit into the time, or why none does."""
    from striate.explaining import METHODS
    from striate.explaining.effort import SHARE, STANDARD, Effort, affordable

    why, least = "", Effort(**LEAST_EFFORT)
    for methods in (
        list(METHODS),
        ["gradient_input", "integrated_gradients", "grad_cam"],
        ["gradient_input", "grad_cam"],
    ):
        try:
            return affordable([pace], methods, max(seconds, 0.1), STANDARD), methods
        except TimeLimitError:
            needed = pace.seconds(least, methods)
            if needed <= SHARE * seconds:
                return least, methods
            why = (
                f"about {show_seconds(needed / SHARE)} are needed for {_named(methods)} with their checks,"
                f" {show_seconds(max(seconds, 0.0))} are left."
            )
    return why


def _named(methods: Sequence[str]) -> str:
    return joined([title_of(name) for name in methods])


def _middling(labels: np.ndarray, targets: Any) -> tuple[str, np.ndarray] | None:
    """Return a predicted lesion of middling size and its label: the largest ones fill many windows, which takes long."""
    found: list[tuple[int, str, np.ndarray]] = []
    for name in targets.names:
        numbers, count = components(targets.mask(labels, name))
        sizes = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
        order = sorted(np.flatnonzero(sizes >= min(SMALLEST_VOXELS, int(sizes.max(initial=0)))), key=lambda n: sizes[n])
        if count:
            at = int(order[len(order) // 2])
            found.append((int(sizes[at]), name, numbers == at + 1))
    best = max(found, key=lambda f: f[0], default=None)
    return None if best is None else (best[1], best[2])


def _too_short(seconds: float) -> dict[str, Any]:
    why = f"The budget left {show_seconds(max(seconds, 0.0))} for this part; give more with --budget and --resume."
    return {"n_subjects": 0, "absent": why, "status": "not done"}


def runs_folder(out: Path) -> Path:
    """Return where refits lie while they run."""
    return out / "refits"
