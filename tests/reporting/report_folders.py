"""A run and a prediction folder as `train` and `predict` leave them, small and made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from striate.core.caution import Caution
from striate.core.image import LabelMap
from striate.core.record import Record
from striate.core.targets import Targets
from striate.measure.detection import Detection, Ranked
from striate.measure.finding import CaseFindings, Ood, Quantity, Review
from striate.measure.findings import Findings
from striate.measure.lesions import LesionOverlap
from striate.reporting.panel import write_panel

NAMES = {1: "oedema", 2: "core"}
CASES = ("P01", "P02", "P03")


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    grid = np.indices(shape).astype(float)
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2


def volumes(n: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return two channels, the truth and a prediction that is shifted by one voxel."""
    shape = (40, 48, 30)
    head = ball(shape, (20, 24, 15), 14)
    truth = np.zeros(shape, np.uint8)
    truth[ball(shape, (22 + n, 26, 16), 6)] = 1
    truth[ball(shape, (22 + n, 26, 16), 3)] = 2
    predicted = np.roll(truth, 1, axis=1)
    noise = np.random.default_rng(n).normal(0, 5, shape)
    flair = np.where(head, 100 + noise + 80.0 * (truth > 0), 0)
    return {"flair": flair, "t1": np.where(head, 120 + noise, 0)}, truth, predicted


def dump(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def judged(case: CaseFindings, n: int) -> CaseFindings:
    """Add what a calibrated model says: every other case, from the first on, needs review."""
    labels = {}
    for name, found in case.labels.items():
        value = found.volume_ml.value
        known = found.with_probabilities([0.97 - 0.6 * (n % 2)] * len(found.lesions))
        volume, count = Quantity(value, 0.8 * value, 1.3 * value, 0.9), Quantity(found.count.value, 0, 3, 0.9)
        labels[name] = replace(known, volume_ml=volume, count=count)
    dice = {"oedema": 0.5 + 0.3 * (n % 2), "core": 0.9}
    review = Review(n % 2 == 0, f"reason {n}: expected Dice", dice)
    warnings = (Caution("coarse-voxels", f"slices of {n + 3} mm"),)
    return replace(case, labels=labels, warnings=warnings, ood=Ood(3.0 + n % 2 * 4, 5.0), review=review)


def trust() -> dict[str, object]:
    """Return ``model/trust.json`` as a model holds it, of one label."""
    scores = {"ece": 0.2, "adaptive_ece": 0.21, "brier": 0.1}
    bins = [
        {"start": b / 3, "stop": (b + 1) / 3, "said": b / 3 + 0.1, "true": b / 3 + 0.05, "count": 90} for b in range(3)
    ]
    calibration = {
        "curve": {"family": "beta", "a": 1, "b": 1, "c": 0},
        "n_subjects": 12,
        "n_present": 11,
        "before": {"contested": scores},
        "after": {"contested": {**scores, "ece": 0.012}},
        "reliability_before": bins,
        "reliability_after": bins[:2],
    }
    held = {"coverage": 0.917, "width": 4.2}
    intervals = {"n_subjects": 12, "n_cases": 12, "reach": 1.5, "volume_ml": held, "count": held}
    lesions = {
        "n_subjects": 10, "n_cases": 10, "n_lesions": 80, "n_real": 61, "model": {}, "auroc": 0.871, "brier": 0.12,
        "brier_of_share": 0.18, "reliability": [[0.2, 0.25, 40], [0.9, 0.88, 40]],
    }  # fmt: skip
    review = {
        "bad": 0.6, "miss": 0.1, "limit": 0.66, "n_subjects": 30, "n_cases": 33, "n_bad_subjects": 10, "n_bad_cases": 11,
        "missed": 0.09, "flagged": 0.4, "auroc": 0.96,
    }  # fmt: skip
    return {
        "calibration": {"labels": {"oedema": calibration}},
        "intervals": {"coverage": 0.9, "labels": {"oedema": intervals}},
        "lesions": {"labels": {"oedema": lesions}},
        "review": review,
        "likeness": {"method": "mahalanobis", "threshold": 5.0, "n_subjects": 12},
    }


def detection() -> dict[str, object]:
    """Return how lesions are detected in twelve subjects: of oedema ranked by probability, of core the masks alone."""
    rng = np.random.default_rng(5)
    masks, overlaps, scores = {}, {}, []
    for n in range(12):
        truth, predicted = rng.random((2, 40, 3)) < 0.04
        predicted |= truth & (rng.random(truth.shape) < 0.7)
        masks[f"P{n}"] = LesionOverlap.of(predicted & (rng.random(truth.shape) < 0.8), truth, 0.001)
        overlap = LesionOverlap.of(predicted, truth, 0.001)
        real = np.isin(np.arange(len(overlap.predicted_voxels)), overlap.pairs[:, 0])
        overlaps[f"P{n}"] = overlap
        scores.append((0.5 * rng.random(len(real)) + 0.4 * real).tolist())
    subjects = {name: name for name in overlaps}
    core = Detection.of(overlaps, "No probability of lesions of 'core': too few.", subjects)
    return {"oedema": Detection.of(masks, Ranked(overlaps, scores), subjects).to_dict(), "core": core.to_dict()}


def write_results(folder: Path, cases: tuple[str, ...], with_truth: bool) -> list[dict[str, object]]:
    targets = Targets.of_labels(NAMES)
    found, rows = [], []
    for n, case in enumerate(cases):
        images, truth, predicted = volumes(n)
        measured = Findings.of(case, LabelMap(predicted, np.diag([1, 1, 2, 1.0])), targets)
        found.append(Findings((judged(measured.cases[0], n),)))
        path = folder / "panels" / f"{case.replace('/', '_')}.npz"
        write_panel(
            path, images, predicted, (1, 1, 2), truth=truth if with_truth else None, label_names=NAMES, case=case
        )
        per = {}
        for name in targets.names:
            a, b = targets.mask(predicted, name), targets.mask(truth, name)
            per[name] = {
                "dice": 2 * (a & b).sum() / (a.sum() + b.sum()),
                "volume_error_ml": (int(a.sum()) - int(b.sum())) * 0.002 + n,
            }
        rows.append({"case": case, **per})
    folder.mkdir(parents=True, exist_ok=True)
    Findings.join(found).write(folder)
    return rows


def summary_of(rows: list[dict[str, object]]) -> dict[str, object]:
    return {
        name: {
            m: {
                "mean": float(np.mean([r[name][m] for r in rows])),
                "median": 0.9,
                "low": 0.81,
                "high": 0.93,
                "n": len(rows),
            }
            for m in ("dice", "volume_error_ml")
        }
        for name in NAMES.values()
    }


def make_prediction(folder: Path) -> Path:
    rows = write_results(folder, ("P01",), with_truth=False)
    dump(folder / "evaluation.json", {"summary": summary_of(rows), "cases": rows, "detection": detection()})
    record = Record(
        "predict", options={"model": "runs/first/model", "tta": False}, warnings=["spacing outside the training range"]
    )
    record.write(folder / "record.json")
    return folder


def make_run(folder: Path, cases: tuple[str, ...] = CASES) -> Path:
    rows = write_results(folder / "validation", cases, with_truth=True)
    told = {"summary": summary_of(rows), "cases": rows, "detection": detection()}
    dump(folder / "validation" / "evaluation.json", told)
    plan = {
        "schema_version": 1,
        "task": {
            "kind": "segmentation",
            "channels": ["flair", "t1"],
            "label_names": {0: "background", **NAMES},
            "regions": None,
        },
        "preparation": {"spacing_mm": [1.0, 1.0, 2.0], "normalisation": ["zscore", "zscore"], "crop": True},
        "network": {"name": "small_unet", "spatial_dims": 3, "options": {"features": [16, 32]}},
        "training": {
            "patch": [32, 32, 16],
            "batch": 2,
            "budget_s": 120.0,
            "loss": "dice_ce",
            "optimiser": "adamw",
            "learning_rate": 0.002,
            "precision": "fp32",
            "seed": 7,
        },
        "expected": {"parameters": 1_234_567, "time_s": 118.0, "samples_per_parameter": 0.4},
        "reasons": {
            "training.patch": "covers 95 % of the lesions",
            "preparation.spacing_mm": "median of the training cases",
        },
    }
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    dump(folder / "model" / "trust.json", trust())
    dump(folder / "split.json", {"train": ["P04", "P05"], "validation": list(cases)})
    problem = {
        "code": "stray_voxels",
        "case": cases[0],
        "severity": "warning",
        "found": "3 single voxels",
        "needed": "connected lesions",
        "advice": "Look at them.",
        "sentence": "",
    }
    fact = {
        "case": cases[0],
        "subject": "S1",
        "shape": [40, 48, 30],
        "spacing_mm": [1, 1, 2],
        "axes": "RAS",
        "channels": {"flair": {"quality": {"snr": 12.34}}},
        "label": {"1": {"volume_ml": 1.5}},
    }
    dump(
        folder / "check.json",
        {
            "kind": "striate-check",
            "schema_version": 1,
            "cohort": "c",
            "cases": 5,
            "problems": [problem],
            "facts": [fact],
        },
    )
    steps = range(50)
    parts = "0.05,0.002,0.15,0.25,0.03,0.018,0.5"
    lines = [f"{s},{s * 0.5},{s / 50},{0.002 * (1 - s / 50)},{1.5 - s * 0.02},{parts}" for s in steps]
    (folder / "metrics.csv").write_text(
        "step,elapsed_s,fraction,learning_rate,loss,data_wait_s,host_to_device_s,forward_s,backward_s,optimiser_s,rest_s,step_s\n"
        + "\n".join(lines)
        + "\n"
    )
    (folder / "validation.csv").write_text(
        "step,elapsed_s,loss,dice_oedema,dice_core,dice_mean\n0,1,1.4,0.1,0,0.05\n25,13,1,0.6,nan,0.55\n50,25,0.7,0.85,0.8,0.825\n"
    )
    record = Record(
        "train",
        options={"budget": "2m"},
        seed=7,
        inputs={"a.nii.gz": "ab" * 32},
        facts={"peak_rss_bytes": 1_500_000_000},
        started="2026-01-05T10:00:00+00:00",
        duration_s=119.5,
    )
    record.write(folder / "record.json")
    return folder
