"""What an audit learns by training anew with the model's own plan: a learning curve, and predictions of cases that taught.

A refit gets a small part of the budget, so its Dice is below that of a model that learned for longer; what is compared is
refits with each other, all of the same length. Runs are removed when their numbers are kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from striate.comparing.curves import learning_curve
from striate.comparing.outcomes import read_outcomes
from striate.core.case import Case
from striate.core.counted import counted
from striate.core.errors import Interrupted, ResourceError, StriateError
from striate.core.machine import show_seconds
from striate.core.progress import Bar, Progress, Silent
from striate.data.cohort import Cohort
from striate.inference.predict import engine_of, predict_case
from striate.io.read import read_label
from striate.model.model import PLAN, Model
from striate.trust.belief import beliefs
from striate.trust.label_errors import LEAST_CASES, Doubt, doubt_mask, rank
from striate.trust.trust import Trust
from striate.workflows.audit_cases import Sides, as_cohort, shuffled
from striate.workflows.audit_measured import Row
from striate.workflows.train import train

LEAST_REFIT_S = 30.0
"""Time without which a refit learns nothing; measuring its cases comes on top (`PER_CASE_S`)."""
PER_CASE_S = 1.0
LEAST_STEPS = 100
"""Updates without which a refit learns nothing."""
USABLE = 0.3
"""Mean Dice that refits must reach with the masks of cases that they did not learn from, before they may judge them."""
FRACTIONS = ((0.25, 0.5, 1.0), (0.25, 1.0), (0.125, 0.25, 0.5), (0.125, 0.5), (0.125, 0.25))
"""Shares of the subjects that the points of a learning curve rest on; the first that the time allows is taken."""
LEAST_TEACHERS, LEAST_JUDGES, MOST_JUDGES = 4, 2, 12
FOLDS = 2
FIRST = 20
"""Places of the ranking that are shown."""


class _Bars(Silent):
    """Hands on bars; what a refit notes and warns of is not the audited model's."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def bar(self, title: str, total: float | None) -> Bar:
        """Hand it on."""
        return self._progress.bar(f"refit: {title.lower()}", total)


def refit_s(model: Model, cases: int, batch: int | None = None) -> float:
    """Return the least time of one refit with so many cases to prepare and measure, and so many patches per update."""
    training = model.plan.training
    steps_s = LEAST_STEPS * (model.plan.expected.step_s or 0.0) * (batch or training.batch) / training.batch
    return max(LEAST_REFIT_S, steps_s + LEAST_REFIT_S / 2) + PER_CASE_S * cases


def refit(
    model: Model, cohort: Cohort, train_on: Sequence[Case], judge: Sequence[Case], seconds: float, run: Path,
    progress: Progress, *, batch: int | None = None,
) -> Model:  # fmt: skip
    """Train the model's plan anew, within `seconds`, in the folder `run`; `batch` patches per update, else the plan's.

    Raises
    ------
    StriateError
        As `train`.
    """
    shutil.rmtree(run, ignore_errors=True)
    table = as_cohort(cohort, train_on, judge, run.with_name(f"{run.name}.csv"))
    plan = model.folder / PLAN
    if batch is not None and batch != model.plan.training.batch:
        plan = run.with_name(f"{run.name}.yaml")
        model.plan.changed(training=model.plan.training.changed(batch=batch).model_dump()).write(plan)
    try:
        train(table, out=run, plan=plan, budget=f"{seconds:.1f}s", progress=_Bars(progress))
    finally:
        for name in ("cache", "checkpoint.safetensors"):
            shutil.rmtree(run / name, ignore_errors=True)
            (run / name).unlink(missing_ok=True)
    return Model.open(run)


def curve(
    model: Model, cohort: Cohort, sides: Sides, seconds: float, place: Path, progress: Progress
) -> dict[str, Any]:
    """Return the learning curve of the model's plan over the subjects that taught it, or over those of the cohort.

    Parameters
    ----------
    model
        Whose plan is trained.
    cohort, sides
        Whose subjects teach and judge.
    seconds
        For all refits together.
    place
        Folder for the runs; nothing is left in it.
    progress
        Who listens.
    """
    teachers, judges, told = _roles(sides)
    subjects = list(dict.fromkeys(c.subject for c in shuffled(teachers)))
    if len(subjects) < LEAST_TEACHERS or len({c.subject for c in judges}) < LEAST_JUDGES:
        why = (
            f"{counted(len(subjects), 'subject')} to learn from and {len({c.subject for c in judges})} to measure with;"
            f" {LEAST_TEACHERS} and {LEAST_JUDGES} are needed to refit on parts of them."
        )
        return {"n_subjects": 0, "absent": why}
    made = points_within(model, teachers, subjects, len(judges), seconds)
    if isinstance(made, str):
        return {"n_subjects": 0, "status": "not done", "absent": f"{made[:1].upper()}{made[1:]}"}
    counts, batch, learn_s = made
    parts, kept, failed = [], [], []
    notes = (
        [] if batch == model.plan.training.batch else [f"The time allowed refits with {batch} patch per update only."]
    )
    if counts[-1] < len(subjects):
        notes.append(f"The time allowed refits on up to {counts[-1]} of {len(subjects)} subjects only.")
    for n in counts:
        chosen = set(subjects[:n])
        own = [c for c in teachers if c.subject in chosen]
        run = place / f"subjects{n}"
        each_s = learn_s + PER_CASE_S * (len(own) + len(judges))
        try:
            refit(model, cohort, own, judges, each_s, run, progress, batch=batch)
            parts.append({0: read_outcomes(run, "segmentation", 0)})
            kept.append(n)
        except Interrupted:
            raise
        except StriateError as error:
            failed.append(f"{counted(n, 'subject')}: {error}")
        finally:
            shutil.rmtree(run, ignore_errors=True)
    if not kept:
        return {"n_subjects": 0, "absent": f"No refit ended well. {' '.join(failed)}"}
    found = learning_curve("The plan of this model, refitted", "dice", [float(n) for n in kept], parts)
    reached = 1 - min(p["error"] for p in found["points"])
    if reached < USABLE:
        notes.append(f"The best refit reached a Dice of {reached:.2f} only: the curve says little. Give more time.")
    return {
        **found, "n_subjects": len({c.subject for c in judges}), "refit_s": learn_s, "told": told, "batch": batch,
        "notes": [*notes, *failed], "status": "done" if len(kept) == len(FRACTIONS[0]) and not notes else "partial",
    }  # fmt: skip


def points_within(
    model: Model, teachers: Sequence[Case], subjects: Sequence[str], judges: int, seconds: float
) -> tuple[list[int], int, float] | str:
    """Return numbers of subjects, patches per update and learning time of each refit; why there is none where none fits."""
    least, whole = seconds, model.plan.training.batch
    for fractions in FRACTIONS:
        counts = sorted({max(1, round(f * len(subjects))) for f in fractions})
        if len(counts) < 2:
            continue
        cases = sum(sum(c.subject in set(subjects[:n]) for c in teachers) + judges for n in counts)
        for batch in dict.fromkeys((whole, 1)):
            needed = len(counts) * refit_s(model, 0, batch) + PER_CASE_S * cases
            if needed <= seconds:
                return counts, batch, (seconds - PER_CASE_S * cases) / len(counts)
            least = needed if least <= seconds else min(least, needed)
    return _too_short(seconds, least, "two refits")


def _roles(sides: Sides) -> tuple[list[Case], list[Case], str]:
    """Return who teaches, who judges, and in words who they are."""
    unseen = list(sides.unseen)
    trained = {c.subject for c in sides.trained}
    if len(trained) >= LEAST_TEACHERS and len({c.subject for c in unseen}) >= LEAST_JUDGES:
        teachers, judges, told = list(sides.trained), unseen, "subjects that taught the model"
    else:
        subjects = list(dict.fromkeys(c.subject for c in unseen))
        apart = set(subjects[: max(LEAST_JUDGES, len(subjects) // 5)])
        teachers = [c for c in unseen if c.subject not in apart]
        judges, told = (
            [c for c in unseen if c.subject in apart],
            "subjects of this cohort, which did not teach the model",
        )
    few = list(dict.fromkeys(c.subject for c in judges))[:MOST_JUDGES]
    return teachers, [c for c in judges if c.subject in few], told


def suspects(
    model: Model, cohort: Cohort, sides: Sides, rows: Sequence[Row], seconds: float, place: Path, progress: Progress
) -> dict[str, Any]:
    """Return the masks that look wrong: those of unseen cases by the model itself, those that taught it by cross-fitting.

    Parameters
    ----------
    model, cohort, sides, seconds, place, progress
        As for `curve`.
    rows
        Of the measuring pass.
    """
    notes = []
    held = [Doubt(**d) for row in rows for v in row["labels"].values() if (d := v["doubt"]) is not None]
    reached = fmean(d.dice for d in held) if held else 0.0
    if held and reached < USABLE:
        notes.append(
            f"Masks of unseen cases are not judged: the model reaches a Dice of {reached:.2f} with them; {USABLE:g} is needed."
        )
        held = []
    if held and len(held) < LEAST_CASES:
        notes.append(
            f"{counted(len(held), 'mask')} of unseen cases: too few to tell which stands out; {LEAST_CASES} are needed."
        )
        held = []
    ranked = [(s, "unseen") for s in rank(held)]
    status, crossed = "done", list[Doubt]()
    subjects = {c.subject for c in sides.trained}
    needed = FOLDS * refit_s(model, len(sides.trained))
    if len(subjects) < 2 * LEAST_TEACHERS:
        if subjects:
            notes.append(
                f"{counted(len(subjects), 'subject')} taught the model: too few to predict one half from the other"
                f" ({2 * LEAST_TEACHERS} are needed), so their masks are not judged."
            )
    elif seconds < needed:
        status = "partial" if held else "not done"
        notes.append(f"The masks that taught the model are not judged: {_too_short(seconds, needed, 'two refits')}")
    else:
        crossed, failed = _crossed(model, cohort, sides.trained, seconds, place, progress)
        notes += failed
        reached = fmean(d.dice for d in crossed) if crossed else 0.0
        if crossed and reached < USABLE:
            status = "partial" if held else "not done"
            notes.append(
                f"The masks that taught the model are not judged: in {show_seconds(seconds / FOLDS)} each, refits reached a Dice"
                f" of {reached:.2f} only; {USABLE:g} is needed. Give more time."
            )
            crossed = []
        ranked += [(s, "taught") for s in rank(crossed)]
    ranked.sort(key=lambda pair: (-pair[0].score, pair[0].case))
    first = [{**s.to_dict(), "set": which} for s, which in ranked[:FIRST]]
    found = sum(s.suspicious for s, _ in ranked)
    gap = fmean(d.expected_dice - d.dice for d in (*held, *crossed)) if held or crossed else None
    return {
        "n_subjects": len({s.subject for s, _ in ranked}), "n_cases": len(ranked), "n_suspicious": found, "first": first,
        "cross_fitted_cases": len({d.case for d in crossed}), "mean_gap": gap, "notes": notes, "status": status,
    }  # fmt: skip


def _crossed(
    model: Model, cohort: Cohort, cases: Sequence[Case], seconds: float, place: Path, progress: Progress
) -> tuple[list[Doubt], list[str]]:
    """Return the doubts about cases of which each was predicted by a network that did not learn from its subject."""
    subjects = sorted({c.subject for c in cases})
    order = np.random.default_rng(0).permutation(len(subjects))
    fold_of = {subjects[s]: n % FOLDS for n, s in enumerate(order)}
    doubts, failed = list[Doubt](), list[str]()
    for fold in range(FOLDS):
        judged = [c for c in cases if fold_of[c.subject] == fold]
        run = place / f"fold{fold + 1}"
        try:
            other = refit(
                model, cohort, [c for c in cases if fold_of[c.subject] != fold], judged, seconds / FOLDS, run, progress
            )
            doubts += _doubts(other, judged)
        except (Interrupted, ResourceError):
            raise
        except StriateError as error:
            failed.append(f"Fold {fold + 1} of {FOLDS} failed: {error}")
        finally:
            shutil.rmtree(run, ignore_errors=True)
    return doubts, failed


def _doubts(model: Model, cases: Sequence[Case]) -> list[Doubt]:
    engine, trust, targets = engine_of(model), Trust.read(model.folder), model.plan.targets
    found = []
    for case in cases:
        said, truth = predict_case(model, case, network=engine, observe=True), read_label(Path(str(case.label)))
        held = beliefs(said, trust)
        for name in targets.names:
            doubt = doubt_mask(held[name], targets.mask(truth.array, name), truth.grid.spacing_mm)
            if doubt is not None:
                found.append(replace(doubt, case=case.name, subject=case.subject, label=name))
    return found


def _too_short(have_s: float, needed_s: float, what: str) -> str:
    return f"{what} need about {show_seconds(needed_s)}, the share of the budget is {show_seconds(have_s)}."
