"""Measures how well each method of likeness, and the input gate, tell what is not like the training scans.

    python benchmarks/likeness.py [MODEL_FOLDER]      about ten minutes on one core without a model, which it then trains

Prints one JSON document: AUROC of each method against held-out phantoms, with the number of subjects of both sides, and the
share of scans above the threshold. T1 for FLAIR is a phantom with the contrast of T1 (white over grey over fluid), and the T1 of
a patient shown as FLAIR; BraTS scans come from ../shared/data or $STRIATE_TEST_DATA and are left out where they are not.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from striate.core.image import Image
from striate.data.prepare import Prepared, prepare_images
from striate.inference.features import pooling
from striate.inference.predict import engine_of, predict_classes
from striate.io.read import read_image
from striate.model.model import Model
from striate.phantoms import contrast as contrasts
from striate.phantoms import subject as subjects
from striate.trust.gate import Gate
from striate.trust.image_facts import image_facts
from striate.trust.likeness import METHODS, Likeness, likeness_features

DATA = Path(os.environ.get("STRIATE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
SPACING = (3.0, 3.0, 3.0)
TRAINING, HELD_OUT, SPOILT = 40, 40, 20
T1 = contrasts.Contrast(cortex=0.75, nuclei=0.85, csf=0.3, lesion=0.8, sulci=0.2, caps=0.0, caps_mm=2.0)


def phantom(seed: int, subject: int, artefacts: str = "none") -> Image:
    return next(subjects.visits(seed, subject, spacing_mm=SPACING, artefacts=artefacts)).flair


def t1_phantom(seed: int, subject: int) -> Image:
    drawn = subjects.draw_contrast
    subjects.draw_contrast = lambda rng: T1
    try:
        return phantom(seed, subject)
    finally:
        subjects.draw_contrast = drawn


def groups() -> Iterator[tuple[str, list[Image]]]:
    for kind in ("motion", "ghosting", "spikes", "low_snr"):
        yield kind, [phantom(30, i, kind) for i in range(SPOILT)]
    yield "t1_for_flair", [t1_phantom(31, i) for i in range(SPOILT)]
    brats = sorted((DATA / "Dataset015_BraTS").glob("images*/*_0000.nii.gz"))
    if brats:
        yield "brats", [read_image(p) for p in brats]
    real = sorted((DATA / "ms-bids").glob("sub-*/anat/*_T1w.nii.gz"))
    if real:
        yield "real_t1_for_flair", [read_image(p) for p in real]


def auroc(alike: list[float], apart: list[float]) -> float:
    a, b = np.array(alike)[:, None], np.array(apart)[None]
    return round(float(np.mean((b > a) + 0.5 * (b == a))), 4)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        model = Model.open(sys.argv[1]) if len(sys.argv) > 1 else trained(Path(place))
        print(json.dumps(measured(model), indent=1))


def trained(place: Path) -> Model:
    from striate.workflows.phantom import phantom as make
    from striate.workflows.train import train

    table = make(place / "phantoms", subjects=TRAINING, seed=0, spacing_mm=SPACING)
    return Model.open(train(table.parent, out=place / "run", steps=150).folder)


def measured(model: Model) -> dict[str, object]:
    network = model.network()
    engine = engine_of(model, network)
    channel = model.channels[0]
    with pooling(network) as pooled:

        def seen(images: list[Image]) -> tuple[np.ndarray, list[dict[str, dict[str, object]]]]:
            rows, facts = [], []
            for image in images:
                ready: Prepared = prepare_images([image], model.plan.preparation, "case")
                predict_classes(model.plan, engine, ready.array)
                facts.append(image_facts(ready, [channel]))
                rows.append(likeness_features(facts[-1], pooled.take()))
            return np.stack(rows), facts

        training, facts = seen([phantom(0, i) for i in range(TRAINING)])
        held, held_facts = seen([phantom(29, i) for i in range(HELD_OUT)])
        gate = Gate.fit(facts)
        fitted = {m: Likeness.fit(training, [f"s{i}" for i in range(TRAINING)], m) for m in METHODS}
        result: dict[str, object] = {
            "network": model.plan.network.name, "features": training.shape[1], "n_training": TRAINING, "n_held_out": HELD_OUT,
            "held_out_above_threshold": {m: share(f, held) for m, f in fitted.items()},
            "gate_false_alarms": {
                "leave_one_out": gate.false_alarms,
                "held_out": sum(bool(gate.cautions("case", f)) for f in held_facts),
            },
        }  # fmt: skip
        alike = {m: [f.score(x) for x in held] for m, f in fitted.items()}
        for name, images in groups():
            rows, found = seen(images)
            codes: dict[str, int] = {}
            for f in found:
                for caution in gate.cautions("case", f):
                    codes[caution.code] = codes.get(caution.code, 0) + 1
            result[name] = {
                "n": len(images),
                "auroc": {m: auroc(alike[m], [f.score(x) for x in rows]) for m, f in fitted.items()},
                "above_threshold": {m: share(f, rows) for m, f in fitted.items()},
                "gate_fires": round(float(np.mean([bool(gate.cautions("case", f)) for f in found])), 3),
                "gate_codes": codes,
            }
            print(name, result[name], file=sys.stderr, flush=True)
    return result


def share(fitted: Likeness, rows: np.ndarray) -> float:
    return round(float(np.mean([fitted.score(x) > fitted.threshold for x in rows])), 3)


if __name__ == "__main__":
    main()
