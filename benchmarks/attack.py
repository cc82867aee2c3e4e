"""Measures what attacks do to a plain model and to hardened ones, and what artefacts do.

    python benchmarks/attack.py FOLDER [attacks] [checks] [threshold] [artefacts]      FOLDER keeps cohorts, runs and results

`attacks`: 60 phantoms of four simulated scanners, with artefacts, in thick slices (3 × 3 × 6 mm) teach and validate, 24 others
are attacked, none of them seen before. The network is a small 2D U-Net, so that all fits into an hour. The plain one learns in
1600 updates, the hardened ones (`striate train --adversarial 0.05`) in as many, and in 1100, which take about the same time.
Each subject is kept in a file when it is done, so that several of these processes may share the work. `checks`: all attacks and
the checks for hidden gradients on 2 of the subjects. `threshold`: what a threshold keeps that is told where lesions are.
`artefacts`: a plain model of 28 phantoms of one scanner, on 8 others, spoilt by every artefact. Each prints one JSON document.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation

from striate.core.files import read_json, write_json, write_text
from striate.data.augment import Augmentation
from striate.data.cohort import Cohort
from striate.data.prepare import Preparation, prepare
from striate.data.tissue_contrast import find_object, tissue_contrast
from striate.inference.engines.pytorch import TorchEngine
from striate.inference.predict import predict_classes
from striate.measure.statistics import summarise
from striate.model.model import Model
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training
from striate.trust.attack_curve import attack_curve, mean_dice
from striate.trust.attacks import Effort
from striate.trust.attacks.pgd import pgd
from striate.trust.attacks.victim import Victim
from striate.trust.corruption_curve import corruption_curve
from striate.trust.falling_dice import falls_to
from striate.trust.trust import Trust
from striate.workflows.phantom import phantom
from striate.workflows.train import train

SPACING = (3.0, 3.0, 6.0)
COHORTS = {
    "training": (60, 0, 4, "mixed"),
    "attacked": (24, 77, 4, "mixed"),
    "one": (28, 0, 1, "none"),
    "spoilt": (8, 77, 1, "none"),
}
"""Subjects, seed, scanners and artefacts of each."""
MODELS = {"plain": (1600, None), "hardened": (1600, 0.05), "hardened_same_time": (1100, 0.05)}
"""Updates, and the size of the attacks in training."""
EPSILONS, STRENGTHS = (0.025, 0.05), (0.25, 0.5, 0.75, 1.0)
EFFORT, LESS = Effort(steps=40, restarts=2, queries=30, elsewhere=0.25), Effort(steps=10, restarts=1)
"""PGD at the largest ε, and below it."""
PATCH, LIMITS = (64, 80, 1), np.arange(1.0, 3.0, 0.05)


def plan(steps: int) -> Plan:
    return Plan(
        task=Task(channels=("flair",), label_names={1: "lesion"}),
        preparation=Preparation(spacing_mm=SPACING, normalisation=("zscore",), intensities=(None,)),
        network=NetworkChoice(name="small_unet", spatial_dims=2, options={"features": [8, 16, 32], "stem": 1}),
        training=Training(
            patch=PATCH, batch=4, steps=steps, workers=0, learning_rate=3e-3,
            augmentation=Augmentation(mirror_axes=(0,), elastic=0.0),
        ),
        inference=Inference(patch=PATCH, overlap=0.0),
    )  # fmt: skip


def learned(folder: Path, name: str, cohort: str, steps: int, epsilon: float | None) -> Model:
    """Return the model of a run in FOLDER, which is trained where there is none; `NAME.json` says how long that took."""
    run = folder / name
    if not (run / "model").exists():
        begin, path = time.process_time(), folder / f"{name}.yaml"
        plan(steps).write(path)
        train(made(folder, cohort), out=run, plan=path, fold="1/7" if cohort == "one" else "1/12", adversarial=epsilon)
        write_json(folder / f"{name}.json", {"updates": steps, "training_cpu_s": round(time.process_time() - begin, 1)})
    return Model.open(run)


def made(folder: Path, name: str) -> Path:
    if not (folder / name).exists():
        subjects, seed, sites, spoilt = COHORTS[name]
        phantom(folder / name, subjects=subjects, seed=seed, spacing_mm=SPACING, sites=sites, artefacts=spoilt)
    return folder / name


def falls(folder: Path, name: str) -> list[list[float]]:
    """Return the Dice of each subject: unchanged, and after PGD at each ε."""
    model = learned(folder, name, "training", *MODELS[name])
    engine, rows = TorchEngine(model.network(), model.plan.targets.exclusive), []
    for number, case in enumerate(Cohort.open(made(folder, "attacked")).cases):
        kept = folder / f"{name}-{case.subject}.json"
        if not kept.exists():
            kept.touch()  # another process passes it by
            ready = prepare(case, model.plan.preparation, model.plan.targets)
            victim, dice = Victim(model.plan, engine, ready, elsewhere=EFFORT.elsewhere), []
            for place, epsilon in enumerate((0.0, *EPSILONS)):
                effort = EFFORT if epsilon == max(EPSILONS) else LESS
                rng = np.random.default_rng((number, place))
                image = pgd(victim, epsilon, effort, rng) if epsilon else victim.image
                found = predict_classes(model.plan, engine, image.numpy())
                dice.append(mean_dice(model.plan.targets, found, victim.classes.numpy()))
            write_text(kept, json.dumps(dice))
            print(name, case.subject, np.round(dice, 3), file=sys.stderr, flush=True)
        rows.append(kept)
    while not all(path.read_text() for path in rows):
        time.sleep(5)
    return [json.loads(path.read_text()) for path in rows]


def attacks(folder: Path) -> dict[str, object]:
    told, mean, sizes = dict[str, Any](), dict[str, list[float]](), (0.0, *EPSILONS)
    for name in MODELS:
        rows = falls(folder, name)
        mean[name] = [float(np.mean(column)) for column in zip(*rows, strict=True)]
        points = {str(e): summarise(list(c)).to_dict() for e, c in zip(sizes, zip(*rows, strict=True), strict=True)}
        told[name] = {**read_json(folder / f"{name}.json"), "subjects": len(rows), "dice": points}
    halves = falls_to(mean["plain"][0] / 2, sizes, mean["plain"])
    told["plain_halves_at"] = halves
    for name, dice in mean.items():
        there = None if halves is None else float(np.interp(halves, sizes, dice))
        told[name] |= {
            "lost_on_clean_scans": mean["plain"][0] - dice[0],
            "dice_where_plain_halves": there,
            "ratio": None if there is None else there / (mean["plain"][0] / 2),
        }
    return told


def checks(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    cases = Cohort.open(made(folder, "attacked")).cases[:2]
    for name in ("plain", "hardened"):
        model = learned(folder, name, "training", *MODELS[name])
        effort = Effort(EFFORT.steps, 1, EFFORT.queries, EFFORT.elsewhere)
        found[name] = attack_curve(model, cases, epsilons=EPSILONS, effort=effort).to_dict()
    return found


def threshold(folder: Path) -> dict[str, object]:
    """Return the best that a threshold can do which is told where lesions are (two voxels around), and each case's value."""
    rows = []
    for case in Cohort.open(made(folder, "attacked")).cases:
        ready = prepare(case, plan(1).preparation, plan(1).targets)
        assert ready.classes is not None
        image, true = ready.array[0], ready.classes > 0
        near = binary_dilation(true, iterations=2)
        pushed = np.where(true, -1, 1) * tissue_contrast(image, find_object(image, SPACING))
        found = [[near & (image + e * pushed > limit) for e in (0.0, 0.025, 0.04, 0.05)] for limit in LIMITS]
        rows.append([[2 * (f & true).sum() / (f.sum() + true.sum()) for f in row] for row in found])
    best = np.max(rows, axis=1).mean(axis=0)
    return {"epsilon": (0.0, 0.025, 0.04, 0.05), "dice_at_most": best.round(3).tolist()}


def artefacts(folder: Path) -> dict[str, object]:
    model = learned(folder, "one_scanner", "one", 800, None)
    cases = Cohort.open(made(folder, "spoilt")).cases
    return corruption_curve(model, cases, Trust.read(model.folder), strengths=STRENGTHS).to_dict()


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    for word in sys.argv[2:] or ["attacks", "checks", "threshold", "artefacts"]:
        print(json.dumps({word: globals()[word](place)}), flush=True)
