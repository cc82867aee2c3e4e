"""Measures what attacks do to a plain model and to one that was hardened within the same computing time, and what artefacts do.

    python benchmarks/attack.py FOLDER [attacks] [artefacts]      FOLDER keeps cohorts and runs

28 phantoms in thick slices (3 × 3 × 6 mm) teach and validate, 12 others are attacked, none of them seen before. The
network is a small 2D U-Net, so that all fits into minutes. The plain one learns in 800 updates, the hardened one (`striate train
--adversarial 0.03`, two steps of PGD on half of the patches, so twice the work per update) in 400. `attacks`: both curves with
their intervals, and the goals. `artefacts`: the plain model on 8 of the others, spoilt by every artefact. Each prints one JSON
document.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from striate.data.augment import Augmentation
from striate.data.cohort import Cohort
from striate.data.prepare import Preparation
from striate.model.model import Model
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training
from striate.trust.attack_curve import AttackCurve, attack_curve
from striate.trust.attacks import Effort
from striate.trust.corruption_curve import corruption_curve
from striate.trust.trust import Trust
from striate.workflows.phantom import phantom
from striate.workflows.train import train

SPACING = (3.0, 3.0, 6.0)
TRAINING, ATTACKED, SPOILT = 28, 12, 8
UPDATES, EPSILON = 800, 0.03
EPSILONS, STRENGTHS = (0.01, 0.02, 0.05), (0.25, 0.5, 0.75, 1.0)
EFFORT = Effort(steps=40, restarts=1, queries=30, elsewhere=0.25)
PATCH = (64, 80, 1)


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


def learned(folder: Path, cohort: Path, steps: int, epsilon: float | None) -> tuple[Model, float | None]:
    """Return the model and the seconds of processor time that it learned in; None where FOLDER kept it."""
    run = folder / ("plain" if epsilon is None else "hardened")
    seconds = None
    if not (run / "model").exists():
        begin = time.process_time()
        path = folder / f"{run.name}.yaml"
        plan(steps).write(path)
        train(cohort, out=run, plan=path, fold="1/7", adversarial=epsilon)
        seconds = round(time.process_time() - begin, 1)
    return Model.open(run), seconds


def cohorts(folder: Path) -> tuple[Path, Path]:
    for name, subjects, seed in (("training", TRAINING, 0), ("attacked", ATTACKED, 77)):
        if not (folder / name).exists():
            phantom(folder / name, subjects=subjects, seed=seed, spacing_mm=SPACING)
    return folder / "training", folder / "attacked"


def at(curve: AttackCurve, attack: str, epsilon: float) -> float:
    """Return the mean Dice at `epsilon`, on a straight line between points."""
    points = [(0.0, curve.clean.mean or 0.0), *((p.epsilon, p.dice.mean or 0.0) for p in curve.curves[attack])]
    return float(np.interp(epsilon, *zip(*points, strict=True)))


def attacks(folder: Path) -> dict[str, object]:
    training, others = cohorts(folder)
    cases, found, told = Cohort.open(others).cases, dict[str, AttackCurve](), dict[str, object]()
    for name, steps, epsilon in (("plain", UPDATES, None), ("hardened", UPDATES // 2, EPSILON)):
        model, seconds = learned(folder, training, steps, epsilon)
        found[name] = attack_curve(model, cases, epsilons=EPSILONS, effort=EFFORT)
        told[name] = {"updates": steps, "training_cpu_s": seconds, **found[name].to_dict()}
        print(name, json.dumps(told[name]), file=sys.stderr, flush=True)
    halves = found["plain"].halves_at["pgd"]
    told["lost_on_clean_scans"] = (found["plain"].clean.mean or 0) - (found["hardened"].clean.mean or 0)
    if halves is not None:
        told["plain_halves_at"] = halves
        told["dice_there"] = {name: at(curve, "pgd", halves) for name, curve in found.items()}
        told["ratio"] = at(found["hardened"], "pgd", halves) / at(found["plain"], "pgd", halves)
    return told


def artefacts(folder: Path) -> dict[str, object]:
    training, others = cohorts(folder)
    model, _ = learned(folder, training, UPDATES, None)
    cases = Cohort.open(others).cases[:SPOILT]
    return corruption_curve(model, cases, Trust.read(model.folder), strengths=STRENGTHS).to_dict()


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    for word in sys.argv[2:] or ["attacks", "artefacts"]:
        print(json.dumps({word: globals()[word](place)}), flush=True)
