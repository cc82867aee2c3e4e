"""Measures how well planted errors of masks are found by predictions that did not learn from them.

    python benchmarks/label_errors.py FOLDER [STEPS]         about twenty minutes on one core
    python benchmarks/label_errors.py FOLDER --model RUN [TABLE]
                                                             a model that learned from other phantoms judges all of them

One mask in ten of 72 phantoms (three sites, 3 mm, half of the scans with an artefact; or the first 72 cases of TABLE, such as
test.csv of benchmarks/trust.py) is spoilt before training: moved by 6 to 12 mm, one lesion of at least 0.5 mL removed, mirrored
left to right, one voxel thicker, or another subject's mask, in turn. Three networks are trained on two thirds each, spoilt masks
among them, and judge the third that they have not seen. Besides, errors are planted anew into the thirds that each network has
not seen, twenty times: what is learned from stays as it was. Prints one JSON document.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from striate.core.image import LabelMap
from striate.data.cohort import Cohort
from striate.inference.predict import engine_of, predict_case
from striate.io.read import read_label
from striate.io.write import write_label
from striate.measure.components import components
from striate.model.model import Model
from striate.trust.belief import beliefs
from striate.trust.label_errors import Doubt, average_precision, doubt_mask, rank
from striate.trust.trust import Trust
from striate.workflows.phantom import phantom
from striate.workflows.plan import plan as planned
from striate.workflows.train import train

SUBJECTS, SITES, SEED, SPACING, FOLDS, SHARE, AGAIN = 72, 3, 11, (3.0, 3.0, 3.0), 3, 0.1, 20
PATCH = (32, 32, 32)
KINDS = ("moved", "lesion removed", "mirrored", "thicker", "another subject's")


def spoilt(kind: str, label: LabelMap, others: list[LabelMap], rng: np.random.Generator) -> LabelMap:
    mask, spacing = label.array > 0, np.array(label.grid.spacing_mm)
    if kind == "moved":
        way = rng.normal(size=3)
        step = np.rint(way / np.linalg.norm(way) * rng.uniform(6, 12) / spacing).astype(int)
        made = ndimage.shift(mask.astype(np.uint8), step, order=0)
    elif kind == "lesion removed":
        numbers, count = components(mask)
        ml = np.bincount(numbers.ravel(), minlength=count + 1)[1:] * label.grid.voxel_volume_ml
        made = mask & (numbers != 1 + rng.choice(np.flatnonzero(ml >= min(0.5, ml.max()))))
    elif kind == "mirrored":
        made = np.flip(mask, 0)
    elif kind == "thicker":
        made = ndimage.binary_dilation(mask)
    else:
        other = others[rng.integers(len(others))].array > 0
        made = np.zeros_like(mask)
        part = tuple(slice(0, min(a, b)) for a, b in zip(mask.shape, other.shape, strict=True))
        made[part] = other[part]
    return LabelMap(made.astype(np.uint8), label.affine)


def planted(names: list[str], labels: dict[str, LabelMap], rng: np.random.Generator) -> dict[str, tuple[str, LabelMap]]:
    """Return the spoilt cases with their kind and mask."""
    chosen = rng.permutation(names)[: round(SHARE * len(names))]
    first = int(rng.integers(len(KINDS)))
    found = {}
    for n, name in enumerate(chosen):
        kind = KINDS[(first + n) % len(KINDS)]
        found[str(name)] = kind, spoilt(kind, labels[name], [labels[o] for o in names if o != name], rng)
    return found


def spoil_cohort(clean: Cohort, folder: Path, errors: dict[str, tuple[str, LabelMap]]) -> Path:
    cases = []
    for case in clean.cases:
        if case.name in errors:
            path = folder / "masks" / f"{case.name}.nii.gz"
            write_label(path, errors[case.name][1])
            case = replace(case, label=path)
        cases.append(case)
    table = folder / "cohort.csv"
    Cohort("spoilt", tuple(cases), clean.channels, clean.label_names).write_csv(table)
    return table


def scored(doubts: list[Doubt], wrong: set[str]) -> float | None:
    ranked = rank(doubts)
    return average_precision([s.score for s in ranked], [s.case in wrong for s in ranked])


def main(folder: Path, steps: int, given: Path | None, table: Path | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if table is None and not (folder / "clean").exists():
        phantom(folder / "clean", subjects=SUBJECTS, seed=SEED, spacing_mm=SPACING, artefacts="mixed", sites=SITES)
    clean = Cohort.open(table or folder / "clean")
    clean = clean.only(tuple(case.name for case in clean.cases[:SUBJECTS]))
    labels = {c.name: read_label(Path(str(c.label))) for c in clean.cases}
    names, rng = sorted(labels), np.random.default_rng(SEED)
    errors = planted(names, labels, rng)
    table = spoil_cohort(clean, folder / "spoilt", errors)
    held, plan = dict[str, tuple[Any, Any]](), folder / "plan.yaml"
    dice = list[float]()

    def judge(run: Path, judged: list[str]) -> None:
        model = Model.open(run)
        trust, engine = Trust.read(model.folder), engine_of(model)
        for name in judged:
            said = predict_case(model, clean.case(name), network=engine, observe=True)
            held[name] = beliefs(said, trust)["lesion"], said.label.grid.spacing_mm
            mask, true = said.label.array > 0, labels[name].array > 0
            dice.append(2 * (mask & true).sum() / (mask.sum() + true.sum()))
        print(f"{run}: {len(judged)} masks judged", file=sys.stderr, flush=True)

    if given is not None:
        judge(given, names)
    for k in () if given else range(1, FOLDS + 1):
        run = folder / f"fold{k}"
        if not (run / "record.json").exists():
            shutil.rmtree(run, ignore_errors=True)
            if not plan.exists():
                made = planned(table, fold=f"1/{FOLDS}", steps=steps)[1]
                small = made.inference.changed(patch=PATCH).model_dump()
                made.changed(training=made.training.changed(patch=PATCH).model_dump(), inference=small).write(plan)
            train(table, out=run, plan=plan, fold=f"{k}/{FOLDS}", steps=steps)
            shutil.rmtree(run / "cache", ignore_errors=True)
        judge(run, json.loads((run / "split.json").read_text())["validation"])

    def doubted(name: str, label: LabelMap) -> Doubt:
        found = doubt_mask(held[name][0], label.array > 0, held[name][1], case=name, subject=name, label="lesion")
        if found is None:
            raise ValueError(name)
        return found

    sound = {name: doubted(name, labels[name]) for name in names}
    now = {name: doubted(name, label) for name, (_, label) in errors.items()}
    result: dict[str, Any] = {
        "subjects": len(names), "steps": steps, "dice": round(float(np.mean(dice)), 3),
        "planted": {name: kind for name, (kind, _) in errors.items()},
        "average_precision": scored([{**sound, **now}[n] for n in names], set(errors)),
        "first": [s.to_dict() for s in rank([{**sound, **now}[n] for n in names])[: 2 * len(errors)]],
    }  # fmt: skip
    again, places = list[float](), {kind: list[bool]() for kind in KINDS}
    for _ in range(AGAIN):
        other = planted([n for n in names if n not in errors], labels, rng)
        doubts = {**sound, **{n: doubted(n, label) for n, (_, label) in other.items()}}
        kept = [doubts[n] for n in names if n not in errors]
        again.append(scored(kept, set(other)))
        ranked = [s.case for s in rank(kept)]
        for name, (kind, _) in other.items():
            places[kind].append(ranked.index(name) < len(other))
    result["again"] = {"times": AGAIN, "mean": float(np.mean(again)), "lowest": float(np.min(again)),
                       "among_the_first": {kind: float(np.mean(hit)) for kind, hit in places.items()}}  # fmt: skip
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    place, *rest = sys.argv[1:]
    if rest[:1] == ["--model"]:
        main(Path(place), 0, Path(rest[1]), Path(rest[2]) if rest[2:] else None)
    else:
        main(Path(place), int(rest[0]) if rest else 600, None)
