"""Measures what docs/benchmarks.md holds about the limits of classifiers: calibration, sets of classes, likeness.

    python benchmarks/classes.py                 everything (about half an hour on two cores)
    python benchmarks/classes.py digits unlike slices phantoms

``digits``: `lenet5_modern` learns from 4,000 of the MNIST images, or from a tenth of them; of the 1,000 held-out ones 500
calibrate it and 500 others judge, at 90 % and at 99 %. ``unlike``: how many of those others are called unlike the training
images as they are, turned, inverted, or as noise. ``slices``: does an axial slice of a glioma patient contain tumour? Each
of the four is held out in turn and judged by a calibration that the others' held-out answers made. ``phantoms``: the same
question of 30 held-out phantoms, which calibrate, and 30 new ones, which judge. Numbers of updates are fixed, not times.
Each part prints one JSON line and appends it to benchmarks/classes.jsonl (not committed).
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from spine import BRATS, CASES, command, main

from striate.measure.class_table import ClassTable
from striate.trust.class_evidence import ClassEvidence
from striate.trust.class_trust import ClassTrust

STEPS = 700
SCORES = ("ece", "classwise_ece", "adaptive_ece", "brier", "log_loss", "accuracy", "ece_by_chance")
SETS = ("held", "size", "single")


def rounded(values: object, names: tuple[str, ...]) -> dict[str, float]:
    """Return the named numbers with four decimals."""
    return {name: round(values[name], 4) for name in names}  # type: ignore[index]


def told(limits: object) -> dict[str, object]:
    """Return what `striate evaluate` says of limits: scores before and after, coverage and size of sets."""
    found = {when: rounded(limits[when], SCORES) for when in ("uncalibrated", "calibrated")}  # type: ignore[index]
    return {**found, "sets": rounded(limits["sets"], SETS), "subjects": limits["n_subjects"]}  # type: ignore[index]


def learned(folder: Path, fraction: float) -> tuple[Path, Path, Path]:
    """Train on digits; return the run, and cohorts of the two halves of its held-out images."""
    digits, run = folder / "digits", folder / f"digits-{fraction:g}"
    if not digits.exists():
        command("digits", "--out", digits)
    if not run.exists():
        wish = ["--network", "lenet5_modern", "--fold", "1/5", "--steps", STEPS, "--out", run]
        command("train", digits, *wish, *([] if fraction == 1 else ["--fraction", fraction]))
    halves = folder / f"{run.name}-first", folder / f"{run.name}-second"
    if not halves[0].exists():
        held = json.loads((run / "split.json").read_text())["validation"]
        files = {path.stem: path for path in digits.rglob("*.png")}
        for n, name in enumerate(held):
            place = halves[n % 2] / files[name].parent.name
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(files[name], place / files[name].name)
    return run, *halves


def digits(folder: Path) -> dict[str, object]:
    """Return calibration and sets of digits, calibrated on 500 images and judged on 500 others."""
    rows = {}
    for fraction in (1, 0.1):
        run, first, second = learned(folder, fraction)
        for coverage in (0.9, 0.99):
            made, out = folder / f"{run.name}-{coverage:g}", folder / f"{run.name}-{coverage:g}-out"
            command("calibrate", run, first, "--coverage", coverage, "--out", made)
            command("predict", made, second, "--out", out)
            _, found = command("evaluate", out, second)
            curve = ClassTrust.read(made / "model").calibration.curve  # type: ignore[union-attr]
            key = f"{fraction:g} of the images, {coverage:g}"
            rows[key] = {"family": curve.family, "temperature": curve.temperature, **told(found["limits"])}
            print(key, rows[key], flush=True)
    return {"steps": STEPS, "rows": rows}


def unlike(folder: Path) -> dict[str, object]:
    """Return how many of 500 held-out digits are called unlike the training images, as they are and changed."""
    run, _, second = learned(folder, 1)
    rng, rows = np.random.default_rng(0), {}
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "as they are": lambda image: image,
        "turned by 90°": np.rot90,
        "inverted": lambda image: 255 - image,
        "noise": lambda image: rng.integers(0, 256, image.shape).astype(np.uint8),
    }
    for name, change in changes.items():
        place, out = folder / "changed" / name, folder / "changed" / f"{name} out"
        place.mkdir(parents=True)
        for path in second.rglob("*.png"):
            Image.fromarray(np.ascontiguousarray(change(np.asarray(Image.open(path))))).save(place / path.name)
        command("predict", run, place, "--out", out)
        cases = json.loads((out / "findings.json").read_text())["cases"]
        outside = sum(case["ood"]["score"] > case["ood"]["threshold"] for case in cases)
        rows[name] = {"unlike": outside, "review": sum(case["review"]["needed"] for case in cases), "of": len(cases)}
        print(name, rows[name], flush=True)
    return {"steps": STEPS, "rows": rows}


def slices(folder: Path) -> dict[str, object]:
    """Return the calibration of slices of four patients, each judged by a curve of the others; no sets: four are too few."""
    tables = []
    for patient in CASES:
        run = folder / f"slices-{patient}"
        wish = ["--task", "contains:tumour", "--regions", "tumour=1+2+3+4", "--network", "lenet5_modern"]
        command("train", BRATS, *wish, "--holdout", patient, "--steps", 300, "--out", run)
        tables.append(ClassTable.read(run / "validation", exclusive=True))
    cases = [
        ClassEvidence(
            table.cases[0], table.subjects[0], table.probabilities,
            np.array([[name in (truth or ()) for name in table.classes] for truth in table.truth]), table.slices,
        )
        for table in tables
    ]  # fmt: skip
    trust = ClassTrust.fit(cases, tables[0].classes)
    found = trust.summary()["classes"]
    row = {
        "family": found["family"], "temperature": found["temperature"], "uncalibrated": rounded(found["before"], SCORES),
        "calibrated": rounded(found["after"], SCORES), "samples": found["n_samples"], "limits": trust.limits,
    }  # fmt: skip
    return {"steps": 300, "rows": {"four patients": row}}


def phantoms(folder: Path) -> dict[str, object]:
    """Return calibration and sets of slices of phantoms: 30 learn, 30 calibrate, 30 new ones judge."""
    for seed, count in ((0, 60), (1, 30)):
        command(
            "phantom", "--out", folder / f"phantoms-{seed}", "--subjects", count, "--seed", seed, "--spacing", 3, 3, 3
        )
    run, out = folder / "slices-phantoms", folder / "slices-phantoms-out"
    wish = ["--task", "contains:lesion", "--network", "lenet5_modern", "--fold", "1/2", "--steps", 300]
    command("train", folder / "phantoms-0", *wish, "--out", run)
    command("predict", run, folder / "phantoms-1", "--out", out)
    _, found = command("evaluate", out, folder / "phantoms-1")
    trust = ClassTrust.read(run / "model")
    cases = json.loads((out / "findings.json").read_text())["cases"]
    row = {
        "family": trust.calibration.curve.family, "temperature": trust.calibration.curve.temperature,  # type: ignore[union-attr]
        "left out": {**rounded(trust.summary()["classes"]["after"], SCORES), **rounded(trust.sets.to_dict(), SETS)},  # type: ignore[union-attr]
        **told(found["limits"]), "samples": found["limits"]["n_samples"],  # type: ignore[index]
        "review": sum(case["review"]["needed"] for case in cases), "of": len(cases),
    }  # fmt: skip
    return {"steps": 300, "rows": {"phantoms": row}}


PARTS: dict[str, Callable[[Path], dict[str, object]]] = {
    "digits": digits, "unlike": unlike, "slices": slices, "phantoms": phantoms,
}  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:], PARTS, "classes.jsonl")
