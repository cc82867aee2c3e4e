"""Runs and predictions of classes and reconstructions as `train` and `predict` leave them, small and made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from report_folders import dump

from striate.core.record import Record
from striate.measure.class_findings import ClassFindings
from striate.measure.class_table import ClassTable
from striate.measure.reconstruction import CaseReconstruction, ReconstructionEvaluation, reconstruction_measures
from striate.reporting.anomaly_panel import Shown, write_anomaly_panel
from striate.reporting.sample_panel import choose, write_samples, write_triples
from striate.trust.class_evidence import ClassEvidence
from striate.trust.class_trust import ClassTrust

CLASSES = ("meningioma", "glioma", "no tumour")


def picture(kind: int, seed: int, size: int = 64) -> np.ndarray:
    """Return a head (H, W) with a bright ball at its edge, a large soft one inside, or nothing."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size - 0.5
    head = (x / 0.4) ** 2 + (y / 0.46) ** 2 < 1
    angle = rng.uniform(0, 2 * np.pi)
    image = 90 + 12 * np.cos(30 * x) * np.cos(26 * y) + rng.normal(0, 6, (size, size))
    if kind == 0:
        image += 90 * (np.hypot(x - 0.27 * np.cos(angle), y - 0.33 * np.sin(angle)) < 0.08)
    if kind == 1:
        image += 70 * np.exp(-(np.hypot(x - 0.12 * np.cos(angle), y - 0.16 * np.sin(angle)) ** 2) / 0.01)
    return np.where(head, image, 0)


def class_table(
    count: int = 90, classes: tuple[str, ...] = CLASSES, *, exclusive: bool = True, seed: int = 0
) -> ClassTable:
    """Return predictions of `count` pictures, two of each subject, mostly right."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(len(classes), size=count)
    logits = rng.normal(0, 1, (count, len(classes)))
    logits[np.arange(count), kinds] += 2.2
    hot = np.eye(len(classes), dtype=bool)[kinds] | (False if exclusive else rng.random((count, len(classes))) < 0.2)
    if exclusive:
        said = np.exp(1.3 * logits)
        said /= said.sum(axis=1, keepdims=True)
    else:
        said = 1 / (1 + np.exp(-(3 * (hot - 0.5) + 1.2 * logits - 0.6)))
    truth = tuple(tuple(n for n, there in zip(classes, row, strict=True) if there) for row in hot)
    cases = tuple(f"P{n:03d}" for n in range(count))
    subjects = tuple(f"S{n // 2:03d}" for n in range(count))
    return ClassTable(classes, exclusive, cases, subjects, (None,) * count, truth, said)


def slice_table(cases: int = 5, slices: int = 40, seed: int = 0) -> ClassTable:
    """Return the classes of the slices of scans: nothing, lesion, nothing."""
    rng = np.random.default_rng(seed)
    names, subjects, numbers, truth, said = [], [], [], [], []
    for n in range(cases):
        start, stop = sorted(rng.integers(5, slices - 5, 2) + np.array([0, 4]))
        for k in range(slices):
            there = start <= k < stop
            p = 1 / (1 + np.exp(-(2.5 * (2 * there - 1) + rng.normal(0, 1.4))))
            names.append(f"scan {n + 1}")
            subjects.append(f"S{n}")
            numbers.append(k)
            truth.append(("lesion",) if there else ("no lesion",))
            said.append((1 - p, p))
    return ClassTable(
        ("no lesion", "lesion"), True, tuple(names), tuple(subjects), tuple(numbers), tuple(truth), np.array(said)
    )


def write_classes(folder: Path, table: ClassTable, *, measured: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table.write(folder)
    if measured:
        table.evaluate(seed=1).write(folder)
    rows = choose(table)
    kinds = [table.classes.index((table.truth[n] or table.predicted[n] or table.classes)[0]) for n in rows]
    write_samples(folder, [picture(kind, int(n)) for n, kind in zip(rows, kinds, strict=True)], table, rows)


def write_run(folder: Path, task: dict[str, object], validation: str) -> Path:
    """Write what every run has."""
    sequence = task["kind"] == "sequence"
    plan = {
        "schema_version": 1,
        "task": task,
        "preparation": {"spacing_mm": [1.0, 1.0], "normalisation": ["zscore"], "crop": False},
        "network": {"name": "lenet5", "spatial_dims": 2, "options": {}},
        "training": {
            "patch": [64, 64], "batch": 32, "budget_s": 60.0, "loss": "cross_entropy", "optimiser": "adamw",
            "learning_rate": 0.001, "precision": "fp32", "seed": 3, **({"length": 16} if sequence else {}),
        },
        "expected": {"parameters": 61_706, "time_s": 58.0},
        "reasons": {"training.patch": "the pictures as they are"},
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    (folder / "validation.csv").write_text(validation)
    lines = [f"{s},{s * 0.5},{s / 50},{0.001 * (1 - s / 50)},{1.2 - s * 0.02},0.02,0.5" for s in range(50)]
    head = "step,elapsed_s,fraction,learning_rate,loss,data_wait_s,step_s\n"
    (folder / "metrics.csv").write_text(head + "\n".join(lines) + "\n")
    dump(folder / "split.json", {"train": ["A", "B", "C"], "validation": ["P000", "P001"]})
    dump(folder / "check.json", {"kind": "striate-check", "schema_version": 1, "cases": 5, "problems": [], "facts": []})
    Record("train", seed=3, started="2026-01-05T10:00:00+00:00", duration_s=58.0).write(folder / "record.json")
    return folder


CURVE = (
    "step,elapsed_s,balanced_accuracy,accuracy,macro_auc\n0,1,0.33,0.3,0.5\n25,13,0.6,0.62,0.8\n50,25,0.75,0.77,0.9\n"
)
ERRORS = "step,elapsed_s,mse,psnr_db\n0,1,0.9,4\n25,13,0.2,14\n50,25,0.05,21\n"


def evidence(table: ClassTable, *, known: bool = True) -> list[ClassEvidence]:
    """Return each case of a table as a classifier's limits see it."""
    rows: dict[str, list[int]] = {}
    for n, case in enumerate(table.cases):
        rows.setdefault(case, []).append(n)
    hot = np.array([[name in (truth or ()) for name in table.classes] for truth in table.truth])
    return [
        ClassEvidence(
            case, table.subjects[of[0]], table.probabilities[of], hot[of] if known else None,
            tuple(table.slices[n] for n in of),
        )
        for case, of in rows.items()
    ]  # fmt: skip


def write_limits(folder: Path, table: ClassTable, known: ClassTable, model: Path | None = None) -> None:
    """Write what a classifier with limits, fitted to the table `known`, says of another; its ``trust.json`` into `model`."""
    trust = ClassTrust.fit(evidence(known), known.classes, exclusive=known.exclusive)
    cases = [trust.assess(case) for case in evidence(table, known=False)]
    coverage = None if trust.sets.reach is None else trust.sets.coverage
    found = ClassFindings(table.classes, table.exclusive, tuple(cases), trust.calibration.n_subjects, coverage)
    found.write(folder)
    if model is not None:
        model.mkdir(parents=True, exist_ok=True)
        trust.write(model)


def make_class_run(folder: Path, table: ClassTable | None = None, *, limits: bool = False) -> Path:
    table = table or class_table()
    write_classes(folder / "validation", table)
    if limits:
        write_limits(folder / "validation", table, table, folder / "model")
    task = {
        "kind": "classification", "channels": ["t1"], "label_names": {}, "regions": None,
        "classes": list(table.classes), "multi_label": not table.exclusive, "unit": "case", "contains": None,
    }  # fmt: skip
    return write_run(folder, task, CURVE)


def make_sequence_run(folder: Path, *, limits: bool = False) -> Path:
    table = slice_table()
    write_classes(folder / "validation", table)
    if limits:
        write_limits(folder / "validation", table, slice_table(12, seed=1), folder / "model")
    task = {
        "kind": "sequence",
        "channels": ["flair"],
        "classes": list(table.classes),
        "multi_label": False,
        "unit": "slice",
    }
    return write_run(folder, task, CURVE)


def make_class_prediction(folder: Path, *, limits: bool = False) -> Path:
    table = class_table(20).with_truth({})
    write_classes(folder, table, measured=False)
    if limits:
        write_limits(folder, table, class_table())
    task = {"kind": "classification", "channels": ["t1"], "classes": list(table.classes), "multi_label": False}
    Record("predict", options={"model": "runs/first/model"}, facts={"task": task}).write(folder / "record.json")
    return folder


def make_sequence_prediction(folder: Path, *, limits: bool = False) -> Path:
    table = slice_table(2)
    write_classes(folder, table)
    if limits:
        write_limits(folder, table, slice_table(12, seed=1))
    task = {
        "kind": "sequence",
        "channels": ["flair"],
        "classes": list(table.classes),
        "multi_label": False,
        "unit": "slice",
    }
    Record("predict", options={"model": "runs/first/model"}, facts={"task": task}).write(folder / "record.json")
    return folder


def write_reconstructions(folder: Path) -> None:
    images = [picture(n % 3, n) for n in range(12)]
    made = [0.25 * sum(np.roll(i, s, axis=a) for s in (-1, 1) for a in (0, 1)) for i in images]
    cases = [
        CaseReconstruction(f"P{n:02d}", {"t1": reconstruction_measures(i, m)}, f"S{n // 2}")
        for n, (i, m) in enumerate(zip(images, made, strict=True))
    ]
    folder.mkdir(parents=True, exist_ok=True)
    ReconstructionEvaluation.of(cases).write(folder)
    write_triples(folder, images, made, [c.case for c in cases])


def make_reconstruction_run(folder: Path) -> Path:
    write_reconstructions(folder / "validation")
    return write_run(folder, {"kind": "reconstruction", "channels": ["t1"], "label_names": {}}, ERRORS)


def make_reconstruction_prediction(folder: Path) -> Path:
    write_reconstructions(folder)
    shown = [
        Shown(f"P{n:02d}", float(n), f"axial slice {n}", (1.0, 2.0), picture(n % 3, n), 0.8 * picture(n % 3, n),
              np.abs(picture(n % 3, n)), picture(0, n) > 0.5 if n % 2 else None)
        for n in range(15)
    ]  # fmt: skip
    write_anomaly_panel(folder, shown)
    task = {"kind": "reconstruction", "channels": ["t1"]}
    Record("predict", options={"model": "runs/first/model"}, facts={"task": task}).write(folder / "record.json")
    return folder
