"""Measures how well each method of likeness, and the input gate, tell what is not like the training scans.

    python benchmarks/likeness.py [MODEL_FOLDER]      by estimate twelve minutes on one core; without a model it trains one
    python benchmarks/likeness.py kept WORK           seconds, once benchmarks/trust.py WORK has run

Prints one JSON document: AUROC of each method against held-out phantoms, with its interval, the number of subjects of both sides,
and the share of scans above the threshold. All phantoms are of four scanners, the same for all groups but `other_scanners`. T1
for FLAIR is a phantom with the contrast of T1 (white over grey over fluid), and the T1 of a patient shown as FLAIR; BraTS
scans come from ../shared/data or $STRIATE_TEST_DATA and are left out where they are not. With `kept` nothing is predicted: what
benchmarks/trust.py kept of its phantoms to calibrate on (those without an artefact) teaches, and its test phantoms are judged.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

import trust
from striate.core.image import Image
from striate.data.cohort import Cohort
from striate.data.prepare import Prepared, prepare_images
from striate.inference.features import pooling
from striate.inference.predict import engine_of, predict_classes
from striate.io.read import read_image
from striate.model.model import Model
from striate.phantoms import contrast as contrasts
from striate.phantoms import subject as subjects
from striate.trust.evidence import CaseEvidence
from striate.trust.gate import Gate
from striate.trust.image_facts import image_facts
from striate.trust.likeness import METHODS, Likeness, likeness_features

DATA = Path(os.environ.get("STRIATE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
SPACING = (3.0, 3.0, 3.0)
TRAINING, HELD_OUT, SPOILT, SITES, RESAMPLES = 60, 60, 60, 4, 2000
HELD, WORSE, OTHER_SEED = 2000, 3000, 29
"""First numbers of the subjects that are held out and of those whose scans are spoilt, all of seed 0 and so of its scanners; the
seed of other scanners."""
KINDS = ("motion", "ghosting", "spikes", "low_snr")
STRONG = 0.5
"""Strength from which on an artefact of `striate.phantoms.corruptions` is called strong."""
T1 = contrasts.Contrast(cortex=0.75, nuclei=0.85, csf=0.3, lesion=0.8, sulci=0.2, caps=0.0, caps_mm=2.0)
Seen = tuple[np.ndarray, list[dict[str, dict[str, object]]]]
"""Features (N, F) of scans, and the facts of their images."""


def phantom(seed: int, subject: int, artefacts: str = "none") -> Image:
    return next(subjects.visits(seed, subject, spacing_mm=SPACING, artefacts=artefacts, sites=SITES)).flair


def t1_phantom(seed: int, subject: int) -> Image:
    drawn = subjects.draw_contrast
    subjects.draw_contrast = lambda rng: T1
    try:
        return phantom(seed, subject)
    finally:
        subjects.draw_contrast = drawn


def spoilt(subject: int) -> list[Image]:
    """Return a scan with each artefact; the head is rendered once, since artefacts change nothing about it."""
    render, seen = subjects.render, []

    def once(*given: object) -> tuple[np.ndarray, np.ndarray]:
        if not seen:
            seen.append(render(*given))
        return seen[0]

    subjects.render = once
    try:
        return [phantom(0, subject, kind) for kind in KINDS]
    finally:
        subjects.render = render


def groups() -> Iterator[tuple[str, list[Image]]]:
    made = [spoilt(WORSE + i) for i in range(SPOILT)]
    yield from zip(KINDS, map(list, zip(*made, strict=True)), strict=True)
    yield "t1_for_flair", [t1_phantom(0, WORSE + SPOILT + i) for i in range(SPOILT)]
    yield "other_scanners", [phantom(OTHER_SEED, i) for i in range(SPOILT)]
    brats = sorted((DATA / "Dataset015_BraTS").glob("images*/*_0000.nii.gz"))
    if brats:
        yield "brats", [read_image(p) for p in brats]
    real = sorted((DATA / "ms-bids").glob("sub-*/anat/*_T1w.nii.gz"))
    if real:
        yield "real_t1_for_flair", [read_image(p) for p in real]


def auroc(alike: list[float], apart: list[float]) -> list[float]:
    """Return the area under the ROC curve with its 95 % interval over resampled scans of both sides (percentiles)."""
    a, b = np.array(alike)[:, None], np.array(apart)[None]
    wins, rng = (b > a) + 0.5 * (b == a), np.random.default_rng(0)
    again = [
        wins[rng.integers(len(a), size=len(a))][:, rng.integers(b.size, size=b.size)].mean() for _ in range(RESAMPLES)
    ]
    return [round(float(v), 4) for v in (wins.mean(), *np.percentile(again, (2.5, 97.5)))]


def main() -> None:
    if sys.argv[1:2] == ["kept"]:
        print(json.dumps(kept(Path(sys.argv[2])), indent=1))
        return
    with tempfile.TemporaryDirectory() as place:
        model = Model.open(sys.argv[1]) if len(sys.argv) > 1 else trained(Path(place))
        print(json.dumps(measured(model), indent=1))


def trained(place: Path) -> Model:
    from striate.workflows.phantom import phantom as make
    from striate.workflows.train import train

    table = make(place / "phantoms", subjects=TRAINING, seed=0, spacing_mm=SPACING, sites=SITES)
    return Model.open(train(table.parent, out=place / "run", steps=150).folder)


def measured(model: Model) -> dict[str, object]:
    network = model.network()
    engine = engine_of(model, network)
    channel = model.channels[0]
    with pooling(network) as pooled:

        def seen(images: list[Image]) -> Seen:
            rows, facts = [], []
            for image in images:
                ready: Prepared = prepare_images([image], model.plan.preparation, "case")
                predict_classes(model.plan, engine, ready.array)
                facts.append(image_facts(ready, [channel]))
                rows.append(likeness_features(facts[-1], pooled.take()))
            return np.stack(rows), facts

        training, held = (
            seen([phantom(0, i) for i in range(TRAINING)]),
            seen([phantom(0, HELD + i) for i in range(HELD_OUT)]),
        )
        return {
            "network": model.plan.network.name,
            **judged(training, held, ((name, seen(made)) for name, made in groups())),
        }


def kept(work: Path) -> dict[str, object]:
    """Judge scans whose facts and features benchmarks/trust.py keeps: those without an artefact teach and are held out."""
    parts = trust.cohorts(work)
    model = trust.calibrated(work, parts)
    taught, tested = (Cohort.open(parts[name]).cases for name in ("calibrate", "test"))
    first = [usual for usual, _ in trust.with_copies(work, "calibrate", model, taught)]
    second = [evidence for evidence, _ in trust.judged(work, "held", model, tested)]
    cases, done = trust.spoiled(work / "spoilt", tested)
    worse = [evidence for evidence, _ in trust.judged(work, "spoilt", model, cases)]
    kinds = {
        row["case"]: row["artefact"] for name in parts.values() for row in csv.DictReader(name.read_text().splitlines())
    }

    def chosen(evidence: list[CaseEvidence], kind: str) -> Seen:
        these = [e for e in evidence if kinds[e.case] == kind]
        return np.stack([likeness_features(e.facts, e.features) for e in these]), [e.facts for e in these]

    shown = {kind: chosen(first + second, kind) for kind in KINDS}
    usual = [(e, strength) for e, (_, strength) in zip(worse, done, strict=True) if kinds[e.case] == "none"]
    for name, least, most in (("weak", 0.0, STRONG), ("strong", STRONG, 1.0)):
        these = [e for e, strength in usual if least <= strength < most]
        rows = np.stack([likeness_features(e.facts, e.features) for e in these])
        shown[f"one of eight artefacts, {name}"] = rows, [e.facts for e in these]
    return judged(chosen(first, "none"), chosen(second, "none"), shown.items())


def judged(training: Seen, held: Seen, shown: Iterable[tuple[str, Seen]]) -> dict[str, object]:
    """Fit every method and the gate to scans, and judge what is shown against those that are held out."""
    (taught, facts), (usual, usual_facts) = training, held
    gate = Gate.fit(facts)
    fitted = {m: Likeness.fit(taught, [f"s{i}" for i in range(len(taught))], m) for m in METHODS}
    result: dict[str, object] = {
        "features": taught.shape[1], "n_training": len(taught), "n_held_out": len(usual),
        "held_out_above_threshold": {m: share(f, usual) for m, f in fitted.items()},
        "gate_false_alarms": {
            "leave_one_out": gate.false_alarms,
            "held_out": sum(bool(gate.cautions("case", f)) for f in usual_facts),
        },
    }  # fmt: skip
    alike = {m: [f.score(x) for x in usual] for m, f in fitted.items()}
    for name, (rows, found) in shown:
        codes: dict[str, int] = {}
        for f in found:
            for caution in gate.cautions("case", f):
                codes[caution.code] = codes.get(caution.code, 0) + 1
        result[name] = {
            "n": len(rows),
            "auroc": {m: auroc(alike[m], [f.score(x) for x in rows]) for m, f in fitted.items()},
            "above_threshold": {m: share(f, rows) for m, f in fitted.items()},
            "gate_fires": sum(bool(gate.cautions("case", f)) for f in found),
            "gate_codes": codes,
        }
        print(name, result[name], file=sys.stderr, flush=True)
    return result


def share(fitted: Likeness, rows: np.ndarray) -> list[float]:
    return trust.share([fitted.score(x) > fitted.threshold for x in rows])


if __name__ == "__main__":
    main()
