"""Measures what a model forgets when it learns from a second scanner: ``striate update`` beside plain fine-tuning.

    python benchmarks/forgetting.py WORK                        24 phantoms, 1000 and then 400 updates
    python benchmarks/forgetting.py WORK --subjects 48 --steps 4000 --more 1500

Phantoms of two sites (``striate phantom --sites 2``: noise, coil, units and contrast of their own). Images of the second are
inverted, so that lesions are dark there, as T1 shows them: another contrast, and not only another scanner. A model learns from
the first site, then from the second: by ``striate update``, and by plain fine-tuning, which is the same without the
earlier cohort, so that nothing is rehearsed and the whole update is taken. Of each site one half teaches, a quarter judges within
the update, and a quarter does neither: on the last Dice is measured here, so the choice that an update makes does not flatter it.
One JSON line per model; what WORK holds already is not made again.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import striate
from striate.core.files import read_json, write_json
from striate.io.read import read_image
from striate.io.write import write_image
from striate.measure.forgetting import FILE, Forgetting

SIDES = ("train", "train", "validation", "test")
"""Side of the first, second, third and fourth subject of a site, and so on."""
MODELS = ("run", "plain", "updated")


def cohorts(work: Path, subjects: int, spacing_mm: float, seed: int) -> None:
    """Write ``old.csv`` and ``new.csv``, a site each, and those of either that only measure."""
    table = striate.phantom(work / "phantoms", subjects=subjects, spacing_mm=spacing_mm, sites=2, seed=seed)
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for name, site in zip(("old", "new"), sorted({row["site"] for row in rows}), strict=True):
        own = [row for row in rows if row["site"] == site]
        for row in own if name == "new" else ():
            invert(work / "phantoms" / row["flair"])
        split = [{**row, "split": SIDES[n % len(SIDES)]} for n, row in enumerate(own)]
        write(table.with_name(f"{name}.csv"), (row for row in split if row["split"] != "test"))
        write(table.with_name(f"{name}_test.csv"), (row for row in split if row["split"] == "test"))


def invert(path: Path) -> None:
    """Turn bright and dark of the head, in the file; air stays as it is."""
    image = read_image(path)
    array = image.array.astype(np.float32)
    head = array > 0.1 * np.percentile(array, 99)
    array[head] = array[head].max() + array[head].min() - array[head]
    write_image(path, replace(image, array=array))


def write(path: Path, rows: Iterable[dict[str, str]]) -> None:
    """Write a table."""
    rows = list(rows)
    with path.open("w", newline="") as stream:
        out = csv.DictWriter(stream, list(rows[0]))
        out.writeheader()
        out.writerows(rows)


def without_cohort(run: Path, place: Path) -> Path:
    """Return a copy of a run whose cohort is not at hand."""
    shutil.copytree(run, place)
    document = read_json(place / "run.json")
    write_json(place / "run.json", {**document, "cohort": str(place / "gone")})
    return place


def dice(work: Path, model: str, cohort: str) -> dict[str, Any]:
    """Return Dice of the lesions on the subjects of a site that only measure."""
    truth, out = work / "phantoms" / f"{cohort}_test.csv", work / "predictions" / f"{model}-{cohort}"
    striate.predict(work / model, [truth], out)
    summary = striate.evaluate(out, truth).to_dict()["summary"]
    return {
        label: {key: measures["dice"][key] for key in ("mean", "low", "high", "n")}
        for label, measures in summary.items()
    }


def main() -> None:
    """Make what is missing, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--subjects", type=int, default=24)
    parser.add_argument("--steps", type=int, default=1000, help="updates on the first site")
    parser.add_argument("--more", type=int, default=400, help="updates on the second site")
    parser.add_argument("--spacing", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    work: Path = given.work
    if not (work / "phantoms").exists():
        cohorts(work, given.subjects, given.spacing, given.seed)
    old, new = (work / "phantoms" / f"{name}.csv" for name in ("old", "new"))
    if not (work / "run").exists():
        striate.train(old, out=work / "run", steps=given.steps, seed=given.seed)
    if not (work / "plain").exists():
        striate.update(
            without_cohort(work / "run", work / "alone"), new, work / "plain", steps=given.more, seed=given.seed
        )
    if not (work / "updated").exists():
        striate.update(work / "run", new, work / "updated", steps=given.more, seed=given.seed)
    for model in MODELS:
        path = work / model / FILE
        taken = Forgetting.read(path).share if path.exists() else None
        print(
            json.dumps({"model": model, "share": taken, **{name: dice(work, model, name) for name in ("old", "new")}})
        )


if __name__ == "__main__":
    main()
