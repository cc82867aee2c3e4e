"""One pass over the cases that a model has not seen: what every cheap part of an audit is made of, as rows for JSON."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.energy import EnergyMeter
from striate.core.errors import DataError
from striate.core.grouped import grouped
from striate.core.image import LabelMap
from striate.core.machine import peak_rss_bytes, restart_peak_rss
from striate.core.progress import Progress
from striate.inference.engines import Engine
from striate.inference.engines.uncertainty import open_uncertain
from striate.inference.prediction import Prediction
from striate.io.read import read_label
from striate.measure.components import components
from striate.measure.evaluation import evaluate_pair
from striate.measure.findings import Findings
from striate.model.model import Model
from striate.trust.annotation import rate, sensitivity
from striate.trust.assess import assess
from striate.trust.belief import beliefs
from striate.trust.evidence import CaseEvidence
from striate.trust.examine import examine
from striate.trust.label_errors import doubt_mask
from striate.trust.trust import Trust
from striate.workflows.unseen import check_mask

Row = dict[str, Any]
KEPT = ("dice", "lesion_f1", "volume_error_ml")


def measure_cases(
    model: Model, trust: Trust | None, cases: Sequence[Case], fresh: set[str], seconds: float, progress: Progress
) -> dict[str, Any]:
    """Predict cases until the time is over (one at least) and return ``rows``, ``engine``, ``notes`` and what it took.

    Parameters
    ----------
    model, trust
        What is audited, and what it knows of its limits.
    cases
        In the order in which they are taken.
    fresh
        Names of the cases that the limits were not fitted to.
    seconds
        Of the pass.
    progress
        Who listens.
    """
    way = "none" if trust is None else str((trust.made_by or {}).get("uncertainty", "none"))
    calibrated = trust is not None and way in ("none", "tta", "dropout") and not (trust.made_by or {}).get("crf")
    way = way if calibrated else "none"
    engine = open_uncertain(model, way, tell=progress.note)
    restart_peak_rss()
    rows, notes, began, left = list[Row](), list[str](), time.monotonic(), list[tuple[str, str, str]]()
    with progress.bar("Measure", len(cases)) as bar:
        for done, case in enumerate(cases):
            if rows and time.monotonic() - began > seconds:
                notes.append(f"The budget allowed {done} of {counted(len(cases), 'case')}.")
                break
            try:
                rows.append(_row(model, trust if calibrated else None, engine, case, fresh, tta=way == "tta"))
            except DataError as error:
                notes.append(f"Left out: {error}")
                left.append((case.name, error.code, str(error)))
            bar.update(done + 1, case=case.name)
    for line in grouped(left):
        progress.warn(line)
    if trust is not None and not calibrated:
        notes.append(
            f"Limits fitted to masks made by {dict(trust.made_by or {})} are not judged; masks were made plainly."
        )
    return {
        "rows": rows, "engine": engine.name, "precision": engine.precision, "uncertainty": way, "notes": notes,
        "peak_memory_bytes": peak_rss_bytes(),
    }  # fmt: skip


def _row(model: Model, trust: Trust | None, engine: Engine, case: Case, fresh: set[str], *, tta: bool) -> Row:
    truth = read_label(Path(str(case.label)))
    check_mask(case, truth)
    with EnergyMeter() as meter:
        start = time.monotonic()
        prediction, evidence = examine(model, case, engine=engine, truth=truth, tta=tta)
        seconds = time.monotonic() - start
    targets = model.plan.targets
    values = evaluate_pair(prediction.label, truth, targets, case_name=case.name)
    held = beliefs(prediction, trust)
    labels = {}
    for name in targets.names:
        said, true = targets.mask(prediction.label.array, name), targets.mask(truth.array, name)
        doubt = doubt_mask(
            held[name], true, truth.grid.spacing_mm, case=case.name, subject=case.subject, label=name
        )  # fmt: skip
        labels[name] = {
            **{k: values[name][k] for k in KEPT},
            "true_ml": float(true.sum() * truth.grid.voxel_volume_ml),
            "lesions": _lesions(said, true, truth),
            "spoilt": [[s.way, s.predicted, s.own] for s in sensitivity(said, true)],
            "doubt": None if doubt is None else doubt.to_dict(),
        }
    return {
        "case": case.name, "subject": case.subject, "fresh": case.name in fresh, "metadata": dict(case.metadata),
        "labels": labels, "limits": _limits(prediction, evidence, trust), "histograms": _histograms(evidence),
        "raters": _raters(case, prediction, truth, model), "seconds": seconds, "joules": meter.used.joules,
        "joules_source": meter.used.source, "stages": dict(prediction.facts["seconds"]),
        "voxels": int(np.prod(truth.array.shape)),
    }  # fmt: skip


def _lesions(said: np.ndarray, true: np.ndarray, truth: LabelMap) -> list[list[float]]:
    """Return volume in mL and whether it was found (1 or 0) of every true lesion."""
    numbers, count = components(true)
    voxels = np.bincount(numbers[true], minlength=count + 1)[1:]
    hit = np.bincount(numbers[true & said], minlength=count + 1)[1:] > 0
    return [[float(v * truth.grid.voxel_volume_ml), float(h)] for v, h in zip(voxels, hit, strict=True)]


def _histograms(evidence: CaseEvidence) -> dict[str, Any]:
    return {
        name: {"counts": e.counts.sum(axis=0).tolist(), "true_counts": e.true_counts.sum(axis=0).tolist()}
        for name, e in evidence.labels.items()
    }


def _limits(prediction: Prediction, evidence: CaseEvidence, trust: Trust | None) -> dict[str, Any] | None:
    """Return what the model says of its own limits in this case, beside the truth; None where it knows none."""
    if trust is None:
        return None
    case = prediction.case.name
    found = assess(Findings.of(case, prediction.label, prediction.targets, ()).cases[0], evidence, trust)
    labels = {
        name: {
            "volume_ml": [own.volume_ml.low, own.volume_ml.high, evidence.labels[name].true_ml],
            "count": [own.count.low, own.count.high, evidence.labels[name].true_lesions],
        }
        for name, own in found.labels.items()
    }
    review = found.review
    return {
        "labels": labels, "warned": [c.code for c in found.warnings],
        "review": None if review is None else review.needed,
        "expected_dice": None if review is None else review.lowest,
    }  # fmt: skip


def _raters(case: Case, prediction: Prediction, truth: LabelMap, model: Model) -> list[dict[str, Any]]:
    """Return the Dice between all masks of a case, where it has several."""
    if not case.raters:
        return []
    masks = {"label": truth, **{name: read_label(path) for name, path in case.raters.items()}}
    found = rate(case.name, case.subject, prediction.label, masks, model.plan.targets)
    return [{"label": r.label, "dice": dict(r.dice), "volumes_ml": dict(r.volumes_ml)} for r in found]
