"""Counts which names the input gate gives to scans with one artefact put in, or with two.

    python benchmarks/names.py WORK        about two minutes on one core; WORK is the folder of benchmarks/trust.py

The gate learns from the phantoms without an artefact among those that the model learned from, and is shown those among the 48
that come after them: as they are, and with each artefact at three strengths. Prints one JSON document: artefact and strength →
code → scans.
"""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from striate.core.image import Image
from striate.data.cohort import Cohort
from striate.data.prepare import prepare_images
from striate.io.read import read_image
from striate.model.model import Model
from striate.phantoms.corruptions import CORRUPTIONS, corrupted
from striate.trust.gate import Gate
from striate.trust.image_facts import Facts, image_facts

STRENGTHS = (0.5, 0.75, 1.0)
SHOWN = 48


def clean(table: Path) -> Iterator[Image | None]:
    """Yield the scan of each case; None where it has an artefact."""
    with table.open(newline="") as stream:
        kinds = [row["artefact"] for row in csv.DictReader(stream)]
    for kind, case in zip(kinds, Cohort.open(table).cases, strict=True):
        yield read_image(next(iter(case.channels.values()))) if kind == "none" else None


def main(work: Path) -> None:
    model = Model.open(work / "calibrated")

    def facts(image: Image) -> dict[str, Facts]:
        return image_facts(prepare_images([image], model.plan.preparation, "case"), model.channels)

    def names(images: Iterator[Image]) -> dict[str, int]:
        found = [gate.cautions("case", facts(image)) for image in images]
        return {"n": len(found), **Counter(caution.code for cautions in found for caution in cautions)}

    gate = Gate.fit([facts(image) for image in clean(work / "phantoms" / "learn.csv") if image is not None])
    others = itertools.chain(*(clean(work / "phantoms" / f"{part}.csv") for part in ("calibrate", "test")))
    held = [image for image in itertools.islice(others, SHOWN) if image is not None]
    result: dict[str, object] = {"n_training": gate.n_subjects, "as they are": names(iter(held))}
    for kind in CORRUPTIONS:
        for strength in STRENGTHS:
            spoilt = (corrupted(image, kind, strength, seed=i) for i, image in enumerate(held))
            result[f"{kind} {strength}"] = names(spoilt)
    for kind in ("motion", "ghosting"):
        moved = (corrupted(image, kind, 1.0, seed=i) for i, image in enumerate(held))
        result[f"{kind} 1 and bias_field 1"] = names(
            corrupted(m, "bias_field", 1.0, seed=i) for i, m in enumerate(moved)
        )
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
