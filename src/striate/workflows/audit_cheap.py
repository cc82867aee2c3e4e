"""Parts of an audit that only read the rows of the measuring pass: calibration, coverage, groups, cost, annotation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np

from striate.core.counted import counted
from striate.core.energy import JOULES_PER_KWH
from striate.core.machine import cores, processor
from striate.measure.exact_share import clopper_pearson
from striate.measure.roc import auc
from striate.measure.statistics import summarise
from striate.model.model import Model
from striate.trust.annotation import RatedCase, Spoilt, agreement, summarise_sensitivity
from striate.trust.calibration import HEADLINE, LabelCalibration
from striate.trust.review import BAD
from striate.trust.subgroups import FEW, Unit, subgroups
from striate.trust.trust import Trust
from striate.workflows.audit_measured import Row

Part = dict[str, Any]
NO_LIMITS = (
    "The model was never calibrated, so its probabilities mean nothing and it gives no intervals. Do so on cases with masks:"
    " striate calibrate {model} COHORT --out NEW"
)
OWN = ("lesion load (mL)", "lesions", "lesion volume (mL)")


def performance(rows: Sequence[Row]) -> Part:
    """Return the Dice and lesion-wise F1 of the cases, by label and as the mean of a case's labels."""
    names = list(rows[0]["labels"])
    owners = [r["subject"] for r in rows]
    labels = {
        name: {m: summarise([r["labels"][name][m] for r in rows], owners).to_dict() for m in ("dice", "lesion_f1")}
        for name in names
    }
    return {"n_subjects": len(set(owners)), "n_cases": len(rows), "labels": labels}


def calibration(rows: Sequence[Row], trust: Trust | None, model: Model) -> Part:
    """Return how far probabilities are from what came true: on fresh subjects, else as left out when they were fitted."""
    fresh = [r for r in rows if r["fresh"]]
    if trust is None:
        raw = {name: _judged(LabelCalibration(), fresh or list(rows), name) for name in rows[0]["labels"]}
        labels = {n: {**found, "after": None, "reliability": []} for n, found in raw.items()}
        absent = NO_LIMITS.format(model=model.folder)
        return {"n_subjects": 0, "labels": labels, "source": "none", "absent": absent}
    if not fresh:
        labels = {}
        for name, known in trust.calibration.labels.items():
            told = known.reliability_after or ()
            labels[name] = {
                "before": asdict(known.before[HEADLINE]) if known.before else None,
                "after": asdict(known.after[HEADLINE]) if known.after else None,
                "interval": None, "n_subjects": known.n_subjects, "reliability": [asdict(b) for b in told],
            }  # fmt: skip
        why = "fitted to the cohort's own subjects: each was judged by a curve that was fitted without it"
        return {"n_subjects": trust.n_subjects, "labels": labels, "source": "left out", "told": why}
    labels = {name: _judged(known, fresh, name) for name, known in trust.calibration.labels.items()}
    n = len({r["subject"] for r in fresh})
    return {
        "n_subjects": n,
        "labels": labels,
        "source": "fresh",
        "told": f"{counted(n, 'subject')} that the model never saw",
    }


def _judged(known: LabelCalibration, rows: Sequence[Row], name: str) -> dict[str, Any]:
    counts, true = _by_subject(rows, name)
    before, after, bins = known.judge(counts, true)
    rng, drawn = np.random.default_rng(0), list[float]()
    for _ in range(200 if len(counts) > 1 else 0):
        chosen = rng.integers(len(counts), size=len(counts))
        ece = known.judge(counts[chosen], true[chosen])[1][HEADLINE].ece
        if ece is not None:
            drawn.append(ece)
    interval = [float(q) for q in np.quantile(drawn, (0.025, 0.975))] if drawn else None
    return {
        "before": asdict(before[HEADLINE]), "after": asdict(after[HEADLINE]), "interval": interval,
        "n_subjects": len(counts), "reliability": [asdict(b) for b in bins],
    }  # fmt: skip


def _by_subject(rows: Sequence[Row], name: str) -> tuple[np.ndarray, np.ndarray]:
    sums: dict[str, np.ndarray] = {}
    for row in rows:
        found = row["histograms"][name]
        both = np.array([found["counts"], found["true_counts"]], dtype=np.int64)
        sums[row["subject"]] = sums.get(row["subject"], 0) + both
    stacked = np.stack([sums[s] for s in sorted(sums)])
    return stacked[:, 0], stacked[:, 1]


def coverage(rows: Sequence[Row], trust: Trust | None, model: Model) -> Part:
    """Return how often intervals held the truth, and what the flag for review missed."""
    if trust is None:
        return {"n_subjects": 0, "absent": NO_LIMITS.format(model=model.folder)}
    fresh = [r for r in rows if r["fresh"] and r["limits"]]
    wanted, labels = trust.intervals.coverage, {}
    for name, known in trust.intervals.labels.items():
        own = {
            "needed": trust.intervals.needed,
            "fitted_subjects": known.n_subjects,
            "why": trust.intervals.reason(name),
        }
        if fresh:
            held = {q: _held(fresh, name, q) for q in ("volume_ml", "count")}
            labels[name] = {**own, **held, "cases": _shown(fresh, name)}
        else:
            left = {"volume_ml": known.volume_ml, "count": known.count}
            labels[name] = {
                **own, "cases": [],
                **{q: {"share": v.coverage, "n_subjects": known.n_subjects, "interval": None} for q, v in left.items()},
            }  # fmt: skip
    n = len({r["subject"] for r in fresh}) if fresh else trust.n_subjects
    flag = _flag(fresh) if fresh else {
        "missed": trust.review.missed, "flagged": trust.review.flagged, "auroc": trust.review.auroc,
        "n_bad_subjects": trust.review.n_bad_subjects, "n_subjects": trust.review.n_subjects,
    }  # fmt: skip
    told = (
        f"{counted(n, 'subject')} that the model never saw"
        if fresh
        else "the model's own subjects, each left out of what judged it"
    )
    return {"n_subjects": n, "wanted": wanted, "labels": labels, "review": flag, "told": told}


def _held(rows: Sequence[Row], name: str, quantity: str) -> dict[str, Any]:
    """Return the share of subjects whose truth an interval held, each weighing the same, with its exact interval."""
    by: dict[str, list[bool]] = {}
    for row in rows:
        low, high, true = row["limits"]["labels"][name][quantity]
        if low is not None and true is not None:
            by.setdefault(row["subject"], []).append(low - 1e-9 <= true <= high + 1e-9)
    n = len(by)
    if not n:
        return {"share": None, "n_subjects": 0, "interval": None}
    share = float(np.mean([np.mean(v) for v in by.values()]))
    return {"share": share, "n_subjects": n, "interval": list(clopper_pearson(share * n, n))}


def _shown(rows: Sequence[Row], name: str) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        low, high, true = row["limits"]["labels"][name]["volume_ml"]
        error = row["labels"][name]["volume_error_ml"]
        found.append({"case": row["case"], "low": low, "high": high, "true": true, "value": (true or 0) + (error or 0)})
    return found


def _flag(rows: Sequence[Row]) -> dict[str, Any]:
    """Return how the flag for review did: what it missed of the bad cases, and how well the expected Dice orders."""
    known = [r for r in rows if r["limits"]["review"] is not None and _lowest(r) is not None]
    bad = np.array([(_lowest(r) or 0.0) < BAD for r in known], dtype=bool)
    flags = np.array([r["limits"]["review"] for r in known], dtype=bool)
    said = np.array([-1.0 if r["limits"]["expected_dice"] is None else r["limits"]["expected_dice"] for r in known])
    return {
        "missed": float(np.mean(~flags[bad])) if bad.any() else None,
        "flagged": float(np.mean(flags)) if len(known) else None,
        "auroc": auc(-said, bad) if bad.any() and not bad.all() else None,
        "n_bad_subjects": len({r["subject"] for r, b in zip(known, bad, strict=True) if b}),
        "n_subjects": len({r["subject"] for r in known}),
        "points": [[float(s), float(_lowest(r) or 0.0), bool(f)] for s, r, f in zip(said, known, flags, strict=True)],
    }  # fmt: skip


def _lowest(row: Row) -> float | None:
    known = [v["dice"] for v in row["labels"].values() if v["dice"] is not None]
    return min(known) if known else None


def mean_dice(row: Row) -> float | None:
    """Return the mean Dice of a case's labels; None where none has one."""
    known = [v["dice"] for v in row["labels"].values() if v["dice"] is not None]
    return float(np.mean(known)) if known else None


def groups(rows: Sequence[Row], columns: Iterable[str], trained: Sequence[dict[str, str]]) -> Part:
    """Return the performance by every column, and whom the cohort or the training lacks."""
    cases, lesions = list[Unit](), list[Unit]()
    for row in rows:
        dice = mean_dice(row)
        sizes = [v for label in row["labels"].values() for v in label["lesions"]]
        own = {OWN[0]: f"{sum(s for s, _ in sizes):.6g}", OWN[1]: str(len(sizes))}
        if dice is not None:
            cases.append(Unit(row["subject"], dice, {**row["metadata"], **own}))
        lesions += [Unit(row["subject"], hit, {OWN[2]: f"{size:.6g}"}) for size, hit in sizes]
    names = [c for c in dict.fromkeys(columns) if c not in OWN]
    found = subgroups({"Dice": cases, "lesions found": lesions}, [*names, *OWN])
    measurable = len({row["subject"] for row in rows}) >= 2 * FEW  # of fewer every group is small
    few = [
        {"column": column.name, "group": group.name, "n_subjects": group.n_subjects, "of": column.n_subjects}
        for column in found.columns
        for group in column.groups
        if measurable and group.few and column.name not in OWN
    ]
    untaught = _untaught(rows, trained, names)
    return {**found.to_dict(), "under_represented": few, "not_taught": untaught}


def _untaught(rows: Sequence[Row], trained: Sequence[dict[str, str]], columns: Sequence[str]) -> list[dict[str, str]]:
    """Return groups that are measured here and that no training subject of the same cohort belongs to."""
    found = []
    for name in columns:
        here = {r["metadata"].get(name, "") for r in rows} - {""}
        there = {t.get(name, "") for t in trained} - {""}
        if there and len(here) <= 12:
            found += [{"column": name, "group": g} for g in sorted(here - there) if not _numeric(g)]
    return found


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def cost(measured: dict[str, Any], model: Model) -> Part:
    """Return time, memory and electricity of a case, and the engine."""
    rows = measured["rows"]
    seconds, joules = [r["seconds"] for r in rows], [r["joules"] for r in rows]
    stages = {name: median(r["stages"].get(name, 0.0) for r in rows) for name in rows[0]["stages"]}
    return {
        "n_subjects": len({r["subject"] for r in rows}), "n_cases": len(rows), "seconds": median(seconds),
        "seconds_slowest": max(seconds), "stages": stages, "voxels": median(r["voxels"] for r in rows),
        "peak_memory_bytes": measured["peak_memory_bytes"], "joules": float(np.mean(joules)),
        "wh": float(np.mean(joules)) / JOULES_PER_KWH * 1000, "energy_source": rows[0]["joules_source"],
        "engine": measured["engine"], "precision": measured["precision"], "uncertainty": measured["uncertainty"],
        "processor": processor(), "cores": cores(), "network": model.plan.network.name,
        "parameters": model.facts.get("parameters"), "training_s": model.facts.get("training_s"),
    }  # fmt: skip


def annotation(rows: Sequence[Row]) -> Part:
    """Return what raters say of each other, and what masks that are a little wrong do to the Dice."""
    owner = {r["case"]: r["subject"] for r in rows}
    labels = {}
    for name in rows[0]["labels"]:
        found = {r["case"]: [Spoilt(*s) for s in r["labels"][name]["spoilt"]] for r in rows}
        known = [r["labels"][name]["dice"] for r in rows if r["labels"][name]["spoilt"]]
        owners = [r["subject"] for r in rows if r["labels"][name]["spoilt"]]
        clean = summarise(known, owners).to_dict()
        labels[name] = {"clean": clean, "ways": summarise_sensitivity(found, owner)}
    rated = [
        RatedCase(r["case"], r["subject"], o["label"], o["dice"], o["volumes_ml"]) for r in rows for o in r["raters"]
    ]
    raters = [a.to_dict() for a in agreement(rated)]
    why = "" if raters else "No case has a second mask: a CSV names them in columns label_2, label_3 … or rater_NAME."
    return {"n_subjects": len(set(owner.values())), "sensitivity": labels, "raters": raters, "no_raters": why}
