"""`calibrate`: a model and cases with masks that it never saw → the same model, knowing its limits on such cases."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from striate.core.counted import counted
from striate.core.errors import ModelError, UsageError
from striate.core.files import filling, hash_file
from striate.core.kinds import kinds
from striate.core.machine import peak_rss_bytes
from striate.core.progress import Progress, Silent
from striate.core.record import Record, Stopwatch
from striate.data.cohort import Cohort
from striate.inference.cascade import open_first
from striate.inference.engines import Engine
from striate.inference.engines.choose import FITTED
from striate.inference.engines.int8 import Int8
from striate.inference.engines.uncertainty import made_by, open_uncertain, way_of
from striate.measure.classification import ClassEvaluation
from striate.measure.evaluation import Evaluation
from striate.model.model import Model
from striate.trust.class_trust import ClassTrust
from striate.trust.intervals import COVERAGE, Intervals
from striate.trust.trust import Trust
from striate.workflows.class_limits import NAMING
from striate.workflows.disk import PANELS
from striate.workflows.held_out import HeldOut
from striate.workflows.int8 import check_int8, measure_int8, settle
from striate.workflows.unseen import check_cases, check_labels, unseen


@dataclass(frozen=True)
class Calibrated:
    """What `calibrate` ends with.

    Attributes
    ----------
    folder
        Holds ``model``, ``validation`` (masks or classes, measures, findings) and ``record.json``; `report` shows it.
    model
        The model with its new limits.
    trust
        The limits.
    evaluation
        Measures of the cases.
    """

    folder: Path
    model: Model
    trust: Trust | ClassTrust
    evaluation: Evaluation | ClassEvaluation


@kinds
def calibrate(
    model: Model | Path | str,
    cohort: Path | str,
    out: Path | str,
    *,
    uncertainty: str | None = None,
    ensemble: Sequence[Path | str] = (),
    crf: bool = False,
    coverage: float = COVERAGE,
    int8: bool = False,
    progress: Progress | None = None,
) -> Calibrated:
    """Measure a model's limits on all cases of `cohort` that have a mask, or a class, and that it did not learn from.

    A case with a mask is predicted with an artefact put in too (not by a cascade): review learns what failure is.

    Parameters
    ----------
    model
        A model, or the folder of one or of a run; it is left as it is.
    cohort
        Cases with masks or, of a classifier, with classes, in any layout.
    out
        New folder for the model and what was measured.
    uncertainty, ensemble, crf
        How masks are made, as for `predict`; what is measured holds for masks made in this way.
    coverage
        Of the intervals, or of the sets of classes.
    int8
        Also bring the network to int8, where Dice does not fall (`striate.inference.engines.int8`).
    progress
        Who listens; by default nobody.

    Raises
    ------
    UsageError
        When the model reconstructs, a classifier is given an option of masks, or the coverage is not from 0.5 to 1.
    DataError
        When no case has a mask (or class), the models learned from all of them, a mask does not lie on the grid of its
        image, or the cohort gives another value to a label of the model.
    MemoryLimitError
        When a case would not fit into the free memory.
    """
    progress, watch, out = progress or Silent(), Stopwatch(), Path(out)
    model = model if isinstance(model, Model) else Model.open(model)
    if model.plan.task.kind in NAMING:
        of_masks = {"uncertainty": uncertainty, "ensemble": ensemble, "crf": crf, "int8": int8}
        return _classes(model, Path(cohort), out, coverage, of_masks, progress, watch)
    way = way_of(uncertainty, ensemble)
    _refuse(model, way, coverage, int8)
    others = [Model.open(path) for path in ensemble]
    engine, told = open_uncertain(model, way, others, progress.note), made_by(way, crf=crf, others=others)
    made = {"tta": way == "tta", "crf": crf}
    opened, sha = Cohort.open(Path(cohort)), str(model.facts.get("weights_sha256", ""))
    known = _known(model, sha, progress)
    check_labels(model, opened, progress)
    cases, read = unseen(model, opened, progress, others)
    check_cases(model, cases, [cohort], crf=crf)
    with filling(out) as folder:
        (folder / "validation").mkdir()
        found = HeldOut.predict(
            model, engine, cases, folder / "validation", progress, first=open_first(model, way, others, progress.note),
            title="Calibration", panels=PANELS, spoil=True, **made,
        )  # fmt: skip
        trust = Trust.fit(
            found.evidence, spoilt=found.spoilt, coverage=coverage, weights_sha256=sha, made_by=told, known=known
        )
        _tell(trust, known, progress)
        evaluation = found.write(folder / "validation", trust)
        rounded = measure_int8(model, cases, found.measured, folder, progress, **made) if int8 else None
        facts = {**_facts([model, *others], engine, trust, evaluation, rounded), "calibration_cohort": opened.name}
        trust = _save(model, folder, facts, trust, rounded)
        options = {
            "model": model.folder, "cohort": cohort, "out": out, "uncertainty": way, "crf": crf,
            "ensemble": [m.folder for m in others], "coverage": coverage, "int8": int8,
        }  # fmt: skip
        record = _record(folder, model, trust, options, read, found, progress.warnings)
        replace(record, **watch.fields()).write(folder / "record.json")
    return _reported(out, trust, evaluation)


def _reported(out: Path, trust: Trust | ClassTrust, evaluation: Evaluation | ClassEvaluation) -> Calibrated:
    """Write the page of a finished calibration."""
    from striate.workflows.report import report

    report(out)
    return Calibrated(out, Model.open(out), trust, evaluation)


def _classes(
    model: Model,
    cohort: Path,
    out: Path,
    coverage: float,
    of_masks: Mapping[str, object],
    progress: Progress,
    watch: Stopwatch,
) -> Calibrated:
    """Calibrate a classifier, for which no option of masks may be given."""
    from striate.workflows.calibrate_classes import calibrate_classes

    for name, given in of_masks.items():
        if given:
            raise UsageError(
                f"--{name}: the model does {model.plan.task.kind}; only models that draw masks can do that. Leave it away."
            )
    return _reported(out, *calibrate_classes(model, cohort, out, coverage=coverage, progress=progress, watch=watch))


def _refuse(model: Model, way: str, coverage: float, int8: bool) -> None:
    """Refuse what cannot be, before hours of work."""
    if model.plan.task.kind != "segmentation":
        raise UsageError(
            f"calibrate: the model does {model.plan.task.kind}; a model that draws masks or names classes is needed."
        )
    Intervals.fit((), {}, coverage)
    if int8:
        check_int8(model, way)


def _facts(
    models: Sequence[Model], engine: Engine, trust: Trust, evaluation: Evaluation, int8: Int8 | None
) -> dict[str, Any]:
    """Return what is known of the first of `models`, with what was measured now."""
    return {
        **models[0].facts, "trust": trust.summary(), "validation": evaluation.to_dict()["summary"],
        "validation_is_unseen": all("training_images" in m.facts for m in models),
        "validation_cases": len(evaluation.cases), FITTED: {"name": engine.name, "precision": engine.precision},
        **({"int8": int8.summary()} if int8 else {}),
    }  # fmt: skip


def _record(
    folder: Path,
    model: Model,
    trust: Trust,
    options: dict[str, Any],
    read: dict[str, str],
    found: HeldOut,
    warned: Sequence[str],
) -> Record:
    """Return what was done, with the hashes of all files in `folder`."""
    written = {str(p.relative_to(folder)): hash_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    facts = {
        "weights_sha256": trust.weights_sha256, "peak_rss_bytes": peak_rss_bytes(), "limits": trust.limits,
        "cases": found.facts,
        **({"regions": model.plan.task.regions} if model.plan.task.regions else {}),
    }  # fmt: skip
    return Record("calibrate", options=options, inputs=read, outputs=written, facts=facts, warnings=list(warned))


def _known(model: Model, sha: str, progress: Progress) -> Trust | None:
    """Return the earlier limits, whose input gate stays; None where they are broken or those of other weights."""
    try:
        return Trust.read(model.folder, sha)
    except ModelError as error:
        progress.warn(f"{error} They are made anew; without training scans there is no input gate and no likeness.")
        return None


def _tell(trust: Trust, known: Trust | None, progress: Progress) -> None:
    """Tell what limits cannot say; warn where they rest on a single subject, or on fewer than the earlier ones, `known`."""
    for sentence in trust.limits:
        progress.note(sentence)
    now, before = trust.n_subjects, known.n_subjects if known else 0
    if now == 1 or now < before:
        than = f", those before on {before}" if before > now else ""
        told = f"These limits rest on {counted(now, 'subject')}{than}; the fewer, the less they can be trusted."
        kept = " What the earlier ones flag stays flagged." if trust.review.earlier else ""
        progress.warn(told + kept)


def _save(model: Model, folder: Path, facts: dict[str, Any], trust: Trust, int8: Int8 | None) -> Trust:
    """Write the model, its new limits and whatever else lay beside its weights, and the plan; return the limits as written."""
    model.plan.write(folder / "plan.yaml")
    folder = folder / "model"
    saved = Model.save(folder, model.plan, model.network().state_dict(), facts)
    trust = replace(trust, weights_sha256=str(saved.facts["weights_sha256"]))  # another version may write other bytes
    trust.write(folder)
    for path in model.folder.iterdir():
        target = folder / path.name
        if target.exists() or path.name.startswith("."):
            continue
        if path.is_dir():
            shutil.copytree(path, target)
        else:
            shutil.copyfile(path, target)
    if int8 is not None:
        settle(int8, folder, trust.weights_sha256)
    return trust
