"""Measures what docs/benchmarks.md holds about trust: calibration, intervals, flags, lesions, uncertainty, their cost.

    python benchmarks/trust.py WORK [limits] [failures] [copies] [uncertainty] [overhead]     about an hour on two cores

WORK keeps the phantoms (80 to learn from, 120 to calibrate on, 200 to test on; 4 scanners, half of the scans with an artefact),
the models and the evidence, so that a run that was stopped goes on. Prints one JSON document per part.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import pickle
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import striate
from striate.core.case import Case
from striate.data.cohort import Cohort
from striate.data.prepare import Prepared
from striate.inference.engines import Engine
from striate.inference.engines.uncertainty import open_uncertain
from striate.inference.predict import engine_of, predict_case
from striate.inference.prediction import Prediction
from striate.io.read import read_header, read_image, read_label
from striate.io.write import write_image
from striate.measure.finding import CaseFindings
from striate.measure.findings import Findings
from striate.measure.roc import auc
from striate.model.model import Model
from striate.phantoms.corruptions import CORRUPTIONS, corrupted
from striate.trust import image_facts as gate
from striate.trust.assess import assess
from striate.trust.calibration import DOMAINS
from striate.trust.evidence import CaseEvidence
from striate.trust.examine import examine
from striate.trust.risk_coverage import RiskCoverage
from striate.trust.spoilt import spoilt
from striate.trust.trust import Trust
from striate.workflows import predict_masks as verb
from striate.workflows.phantom import phantom
from striate.workflows.plan import plan
from striate.workflows.predict import predict
from striate.workflows.train import train

LEARN, CALIBRATE, TEST = 80, 120, 200
SITES, SPACING, STEPS, PATCH = 4, (2.0, 2.0, 2.0), 1800, (64, 64, 64)
LABEL = "lesion"
PACKAGE = Path(striate.__file__).parent
EVIDENCE = ("data/*.py", "inference/**/*.py", "measure/finding*.py", "phantoms/corruptions.py", "trust/*evidence.py",
            "trust/collect.py", "trust/examine.py", "trust/image_facts.py", "trust/spoilt.py")  # fmt: skip
"""Code that decides what is kept of a prediction; limits are fitted anew in every run, so theirs is not among it."""
Held = list[tuple[CaseEvidence, dict[str, object]]]


def cohorts(work: Path) -> dict[str, Path]:
    """Make the phantoms, and a table of each part."""
    table = work / "phantoms" / "cohort.csv"
    if not table.exists():
        phantom(
            table.parent, subjects=LEARN + CALIBRATE + TEST, seed=0, spacing_mm=SPACING, artefacts="mixed", sites=SITES
        )
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    parts, start = {}, 0
    for name, count in (("learn", LEARN), ("calibrate", CALIBRATE), ("test", TEST)):
        parts[name] = table.with_name(f"{name}.csv")
        with parts[name].open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows[start : start + count])
        start += count
    return parts


def trained(work: Path, parts: dict[str, Path], seed: int = 0) -> Path:
    """Train, or go on with training; every seed follows one plan, so that they can answer together."""
    run, planned = work / f"run-{seed}", work / "plan.yaml"
    if not planned.exists():
        made = plan(parts["learn"], steps=STEPS, fold="1/5")[1]
        smaller = {part: getattr(made, part).changed(patch=PATCH).model_dump() for part in ("training", "inference")}
        made.changed(**smaller).write(planned)
    if run.exists() and not (run / "report.html").exists():
        train(resume=run)
    elif not run.exists():
        train(parts["learn"], out=run, seed=seed, fold="1/5", plan=planned)
    return run


def calibrated(work: Path, parts: dict[str, Path]) -> Model:
    """Give the trained model the limits that `striate calibrate` measures, from evidence that is kept: fitted in every run."""
    learned = Model.open(trained(work, parts))
    folder, known = work / "calibrated" / "model", Trust.read(learned.folder)
    usual, spoilt_ones = zip(
        *with_copies(work, "calibrate", learned, Cohort.open(parts["calibrate"]).cases), strict=True
    )
    shutil.copytree(learned.folder, folder, dirs_exist_ok=True)
    Trust.fit(usual, spoilt=spoilt_ones, known=known, weights_sha256=learned.facts["weights_sha256"]).write(folder)
    return Model.open(folder)


def kept(work: Path, name: str, model: Model, cases: Sequence[Case], make: Callable[[int, Case], object]) -> list[Any]:
    """Return what is made of each case, kept under the hash of the weights and of the code that it comes from."""
    digest = hashlib.sha256(str(model.facts["weights_sha256"]).encode())
    for source in sorted(path for part in EVIDENCE for path in PACKAGE.glob(part)):
        digest.update(source.read_bytes())
    folder, found = work / f"{name}-{digest.hexdigest()[:12]}", []
    folder.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(cases):
        path = folder / f"{case.name}.pickle"
        if not path.exists():
            path.with_suffix(".part").write_bytes(pickle.dumps(make(number, case)))
            path.with_suffix(".part").replace(path)
            print(folder.name, case.name, file=sys.stderr, flush=True)
        found.append(pickle.loads(path.read_bytes()))
    return found


def with_copies(work: Path, name: str, model: Model, cases: Sequence[Case]) -> list[tuple[CaseEvidence, CaseEvidence]]:
    """Return the evidence of each case and of its spoilt copy, as `striate calibrate` makes them."""
    engine = engine_of(model)
    return kept(work, f"{name}-pairs", model, cases, lambda number, case: both_of(model, engine, number, case))


def judged(
    work: Path, name: str, model: Model, cases: Sequence[Case], engine: Engine | None = None, *, tta: bool = False
) -> Held:
    """Return the evidence of each case, and its findings as predict writes them."""
    trust, engine = Trust.read(model.folder), engine or engine_of(model)
    seen = kept(work, name, model, cases, lambda _, case: seen_of(model, case, engine, tta=tta))
    return [(e, {**assess(told, e, trust).to_dict(), "seconds": seconds}) for e, told, seconds in seen]


def seen_of(
    model: Model, case: Case, engine: Engine, *, tta: bool
) -> tuple[CaseEvidence, CaseFindings, dict[str, float]]:
    truth = read_label(Path(str(case.label)))
    prediction, evidence = examine(model, case, engine=engine, truth=truth, tta=tta)
    told = Findings.of(case.name, prediction.label, prediction.targets).cases[0]
    return evidence, told, prediction.facts["seconds"]


def limits(work: Path) -> dict[str, object]:
    """Calibrate on some subjects, and hold every claim against others."""
    parts = cohorts(work)
    model = calibrated(work, parts)
    trust = Trust.read(model.folder)
    cases = list(Cohort.open(parts["test"]).cases)
    held = judged(work, "held", model, cases)
    rows = [e.labels[LABEL] for e, _ in held]
    told = [d["labels"][LABEL] for _, d in held]
    dice = np.array([r.dice for r in rows])
    counts, true = (np.stack([getattr(r, key).sum(axis=0) for r in rows]) for key in ("counts", "true_counts"))
    raw, after, _ = trust.calibration.labels[LABEL].judge(counts, true)
    both = list(zip(told, rows, strict=True))
    pairs = [pair for t, r in both for pair in zip(t["lesions"], r.lesions, strict=True)]
    lesions = [(said["probability"], one.real) for said, one in pairs]
    said, real = np.array([p for p, _ in lesions]), np.array([r for _, r in lesions])
    expected = np.array(
        [d["review"]["expected_dice"] if d["review"]["expected_dice"] is not None else -1.0 for _, d in held]
    )
    flagged, bad = np.array([d["review"]["needed"] for _, d in held]), dice < 0.6
    unlike = np.array([d["ood"]["score"] / d["ood"]["threshold"] for _, d in held])
    with parts["test"].open(newline="") as stream:
        kinds = np.array([row["artefact"] for row in csv.DictReader(stream)])
    return {
        "n_subjects": {"learned": trust.training.n_subjects, "calibrated": trust.n_subjects, "tested": len(held)},
        "dice": {"mean": round(float(dice.mean()), 3), "below_0.6": int(bad.sum()),
                 "by_artefact": {str(k): round(float(dice[kinds == k].mean()), 3) for k in np.unique(kinds)}},
        "ece": {d: [round(raw[d].ece, 4), round(after[d].ece, 4)] for d in DOMAINS},
        "adaptive_ece": {d: [round(raw[d].adaptive_ece, 4), round(after[d].adaptive_ece, 4)] for d in DOMAINS},
        "brier": {d: [round(raw[d].brier, 4), round(after[d].brier, 4)] for d in DOMAINS},
        "coverage": {
            "volume_ml": share([t["volume_ml"]["low"] <= r.true_ml <= t["volume_ml"]["high"] for t, r in both]),
            "count": share([t["count"]["low"] <= r.true_lesions <= t["count"]["high"] for t, r in both]),
            "median_width_ml": round(float(np.median([t["volume_ml"]["high"] - t["volume_ml"]["low"] for t in told])), 2),
            "median_true_ml": round(float(np.median([r.true_ml for r in rows])), 2),
        },
        "flag": {
            "auroc": area(-expected, bad), "auroc_of_unlikeness": round(float(auc(unlike, bad)), 4),
            "missed": share(~flagged[bad]), "flagged": share(flagged), "limit": trust.review.limit,
            "expected_dice_error": round(float(np.abs(expected - dice).mean()), 3),
        },
        "lesions": {"auroc": round(float(auc(said, real)), 4), "brier": round(float(((said - real) ** 2).mean()), 4),
                    "n": len(said), "real": int(real.sum())},
        "cautions": {str(k): share([bool(d["warnings"]) for (_, d), kind in zip(held, kinds, strict=True) if kind == k])
                     for k in np.unique(kinds)},
    }  # fmt: skip


def failures(work: Path) -> dict[str, object]:
    """Spoil each test scan with one artefact of any strength; tell whether masks that fail are flagged, and scans told apart."""
    parts = cohorts(work)
    model, usual_cases = calibrated(work, parts), Cohort.open(parts["test"]).cases
    cases, kinds = spoiled(work / "spoilt", usual_cases)
    worse, clean = judged(work, "spoilt", model, cases), judged(work, "held", model, usual_cases)
    dice = np.array([e.labels[LABEL].dice or 0.0 for e, _ in worse])
    bad, flagged = dice < 0.6, np.array([d["review"]["needed"] for _, d in worse])
    unlike, usual = (np.array([d["ood"]["score"] / d["ood"]["threshold"] for _, d in held]) for held in (worse, clean))
    expected = np.array([d["review"]["expected_dice"] or 0.0 for _, d in worse])
    return {
        "n_subjects": len(worse), "bad": int(bad.sum()), "dice": round(float(dice.mean()), 3),
        "auroc_expected_dice": area(-expected, bad), "auroc_unlikeness": round(float(auc(unlike, bad)), 4),
        "missed": share(~flagged[bad]), "flagged_of_good": share(flagged[~bad]),
        "ood_auroc_beyond_breaking": round(float(auc(np.r_[usual, unlike[bad]], np.r_[usual * 0, unlike[bad] * 0 + 1] > 0)), 4),
        "by_artefact": {name: _one(np.array([k == name for k, _ in kinds]), bad, flagged, worse) for name in CORRUPTIONS},
    }  # fmt: skip


def spoiled(folder: Path, cases: Sequence[Case]) -> tuple[list[Case], list[tuple[str, float]]]:
    """Put an artefact of any strength into each case; return the cases, and what was done to each."""
    rng, found, kinds = np.random.default_rng(0), [], []
    for i, case in enumerate(cases):
        ((channel, scan),) = case.channels.items()
        kinds.append((str(rng.choice(list(CORRUPTIONS))), float(rng.uniform())))
        path = folder / f"{case.name}.nii.gz"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            write_image(path, corrupted(read_image(scan), *kinds[-1], seed=i))
        found.append(replace(case, channels={channel: path}))
    return found, kinds


def copies(work: Path) -> dict[str, object]:
    """Fit review with and without spoilt copies of the calibration scans: on the scanners that were learned from, on others."""
    parts = cohorts(work)
    model = calibrated(work, parts)
    trust = Trust.read(model.folder)
    table = work / "others" / "cohort.csv"
    if not table.exists():
        phantom(table.parent, subjects=220, seed=1, spacing_mm=SPACING, artefacts="mixed", sites=SITES)
    others = Cohort.open(table).cases
    cohort = {
        "same scanners": (work, Cohort.open(parts["calibrate"]).cases, Cohort.open(parts["test"]).cases),
        "other scanners": (work / "others", others[:CALIBRATE], others[CALIBRATE:]),
    }
    found = {}
    for name, (own, taught, tested) in cohort.items():
        new = spoiled(own / "spoilt", tested)[0]
        held = [*judged(own, "held", model, tested), *judged(own, "spoilt", model, new)]
        bad = np.array([(e.labels[LABEL].dice or 0.0) < 0.6 for e, _ in held])
        usual, spoilt_ones = zip(*with_copies(own, "calibrate", model, taught), strict=True)
        for way, more in (("without copies", ()), ("with copies", spoilt_ones)):
            review = (fitted := Trust.fit(usual, spoilt=more, known=trust)).review
            told = [
                fitted.review.judge(e, ood=fitted.training.ood(e), cautions=fitted.training.cautions(e))
                for e, _ in held
            ]
            expected = np.array([one.expected_dice.get(LABEL, -1.0) for one in told])
            flagged = np.array([one.needed for one in told])
            found[f"{name}, {way}"] = {
                "auroc": round(float(auc(-expected, bad)), 3), "bad": int(bad.sum()), "n": len(bad),
                "missed": share(~flagged[bad]), "flagged_of_good": share(flagged[~bad]),
                "limit": review.limit, "n_bad_subjects": review.n_bad_subjects,
            }  # fmt: skip
    return found


def both_of(model: Model, engine: Engine, number: int, case: Case) -> tuple[CaseEvidence, CaseEvidence]:
    truth = read_label(Path(str(case.label)))
    return examine(model, case, engine=engine, truth=truth)[1], spoilt(model, case, truth, number, engine=engine)


def _one(chosen: np.ndarray, bad: np.ndarray, flagged: np.ndarray, held: Held) -> dict[str, object]:
    warned = [bool(d["warnings"]) for (_, d), c in zip(held, chosen, strict=True) if c]
    return {
        "n": int(chosen.sum()), "bad": int((chosen & bad).sum()), "warned": share(warned)[0],
        "flagged_of_bad": share(flagged[chosen & bad])[0] if (chosen & bad).any() else None,
    }  # fmt: skip


def share(of: object) -> list[float]:
    """Return a share with its 95 % interval (Wilson) and the number it is of."""
    values = np.asarray(of, dtype=float)
    n, p, z = len(values), float(values.mean()), 1.96
    middle, half = (
        (p + z * z / 2 / n) / (1 + z * z / n),
        z * np.sqrt(p * (1 - p) / n + z * z / 4 / n**2) / (1 + z * z / n),
    )
    return [round(p, 3), round(float(middle - half), 3), round(float(middle + half), 3), n]


def area(scores: np.ndarray, bad: np.ndarray, draws: int = 2000) -> list[float]:
    """Return the area under the ROC curve with its 95 % interval (bootstrap over scans)."""
    rng, found = np.random.default_rng(0), []
    for _ in range(draws):
        chosen = rng.integers(len(bad), size=len(bad))
        if 0 < bad[chosen].sum() < len(bad):
            found.append(auc(scores[chosen], bad[chosen]))
    return [round(float(v), 4) for v in (auc(scores, bad), *np.percentile(found, (2.5, 97.5)))]


def uncertainty(work: Path, count: int = 60) -> dict[str, object]:
    """Compare ways to uncertainty: how well it orders right and wrong voxels, and what it costs."""
    parts = cohorts(work)
    model, cases = calibrated(work, parts), list(Cohort.open(parts["test"]).cases)[:count]
    other = Model.open(trained(work, parts, seed=1))
    mirrors = model.plan.changed(inference=model.plan.inference.changed(mirror_axes=(0,)).model_dump())
    mirrored = replace(model, plan=mirrors)
    ways = {"none": (model, ()), "tta": (mirrored, ()), "ensemble": (model, (other,))}
    found = {}
    for way, (asked, others) in ways.items():
        engine = open_uncertain(asked, way, others)
        held = judged(work, way, asked, cases, engine, tta=way == "tta")
        counts = sum(e.labels[LABEL].counts for e, _ in held)
        true = sum(e.labels[LABEL].true_counts for e, _ in held)
        bins = counts.shape[1]
        doubt = np.tile(-np.abs(np.arange(bins) - (bins - 1) / 2), 2)
        wrong = np.concatenate([true[0], counts[1] - true[1]])
        curve = RiskCoverage.of_counts(doubt, wrong, counts.ravel())
        seconds = statistics.median(sum(d["seconds"].values()) for _, d in held)
        found[way] = {
            "dice": round(float(np.mean([e.labels[LABEL].dice for e, _ in held])), 4),
            "excess_aurc_1e6": round(1e6 * curve.excess, 2), "aurc_1e6": round(1e6 * curve.area, 2),
            "seconds": round(seconds, 3), "n_subjects": len(held),
        }  # fmt: skip
    return found


def overhead(work: Path, pairs: int = 31) -> dict[str, object]:
    """Time whole calls of predict with and without all that trust adds, alternating; the median of the ratios."""
    parts = cohorts(work)
    model = calibrated(work, parts)
    coarse = next(iter(Cohort.open(parts["test"]).cases[0].channels.values()))
    found = {}
    for name, scan in ((f"{SPACING[0]:g} mm", coarse), ("1 mm", fine(work))):
        ratios, bare_s = [], []
        for _ in range(pairs):
            with tempfile.TemporaryDirectory() as place, bare():
                begin = time.process_time()
                predict(model, scan, Path(place) / "out")
                without = time.process_time() - begin
            with tempfile.TemporaryDirectory() as place:
                begin = time.process_time()
                (told,) = predict(model, scan, Path(place) / "out")
                ratios.append((time.process_time() - begin) / without)
            bare_s.append(without)
        found[name] = {
            "ratio": round(statistics.median(ratios), 3), "spread": [round(min(ratios), 3), round(max(ratios), 3)],
            "bare_cpu_s": round(statistics.median(bare_s), 2), "seconds": told.facts["seconds"],
            "shape": read_header(scan).grid.shape,
        }  # fmt: skip
    return found


@contextlib.contextmanager
def bare() -> Iterator[None]:
    """Let predict make masks and volumes alone, as a model without limits and without an input gate would."""

    def alone(model: Model, case: Case, prepared: Prepared, *, engine: Engine, **options: object) -> Prediction:
        return predict_case(
            model, case, network=engine, prepared=prepared, **{k: v for k, v in options.items() if k != "exact"}
        )

    kept = verb.answer, gate.image_facts, verb.weigh, Trust.read
    verb.answer, gate.image_facts, verb.weigh = alone, lambda *_: {}, lambda *_: None
    Trust.read = classmethod(lambda *_: None)
    try:
        yield
    finally:
        verb.answer, gate.image_facts, verb.weigh, Trust.read = kept


def fine(work: Path) -> Path:
    table = work / "fine" / "cohort.csv"
    if not table.exists():
        phantom(table.parent, subjects=1, seed=5, spacing_mm=(1.0, 1.0, 1.0), sites=1)
    return next(iter(Cohort.open(table).cases[0].channels.values()))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for part in sys.argv[2:] or ["limits", "failures", "copies", "uncertainty", "overhead"]:
        print(json.dumps({part: globals()[part](folder)}), flush=True)
