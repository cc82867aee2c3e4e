"""`calibrate` for a classifier: its limits on cases with known classes that it never saw."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from striate.core.case import Case
from striate.core.errors import DataError, ModelError, expected
from striate.core.files import filling, hash_file
from striate.core.machine import peak_rss_bytes
from striate.core.progress import Progress, each
from striate.core.record import Record, Stopwatch
from striate.data.cohort import Cohort
from striate.data.samples import prepare_samples
from striate.inference.inputs import check_all_headers, match
from striate.inference.whole import WholePrediction, form_of, predict_whole
from striate.measure.classification import ClassEvaluation
from striate.model.model import Model
from striate.trust.class_evidence import ClassEvidence
from striate.trust.class_trust import ClassTrust
from striate.workflows.class_limits import Looking, evidence_of, findings_of
from striate.workflows.predict_whole import truths_of_cases
from striate.workflows.unseen import unseen
from striate.workflows.whole import class_table, write_gallery


def calibrate_classes(
    model: Model, cohort: Path, out: Path, *, coverage: float, progress: Progress, watch: Stopwatch
) -> tuple[ClassTrust, ClassEvaluation]:
    """Measure a classifier's limits on all cases of known class that it did not learn from; write them into `out`.

    Raises
    ------
    DataError
        When no case has a known class, or the model learned from all of them.
    """
    plan, sha = model.plan, str(model.facts.get("weights_sha256", ""))
    try:
        known = ClassTrust.read(model.folder, sha)
    except ModelError as error:
        progress.warn(f"{error} They are made anew; without training images there is no input gate and no likeness.")
        known = None
    ClassTrust.fit((), plan.task.classes, coverage=coverage)  # refuses a coverage before hours of work
    opened = Cohort.open(cohort)
    cases, read = unseen(model, opened, progress)
    shown = _with_history(model, opened, cases)
    check_all_headers(shown, len(plan.preparation.spacing_mm), [cohort], done="measured")
    looking, found, facts = Looking(plan.task.channels), list[WholePrediction](), dict[str, Any]()
    wanted = {case.name for case in cases}
    with filling(out) as folder:
        (folder / "validation").mkdir()
        told = predict_whole(plan, model.network(), shown, look=looking, listen=True)
        for one in each(progress, "Calibration", told, len(shown)):
            facts[one.case.name] = looking.facts.pop(one.case.name)
            if one.case.name in wanted:
                found.append(one.without_images())
        truths = truths_of_cases(plan, found, progress)
        evidence = [
            evidence_of(plan, p, lambda name, plane: truths[name].get(plane), facts[p.case.name]) for p in found
        ]
        if all(one.truth is None for one in evidence):
            classes = ", ".join(plan.task.classes)
            raise DataError(
                expected(
                    f"cohort {opened.name}", "no case with a class that the model knows", f"one of {classes} is needed"
                )
            )
        trust = ClassTrust.fit(
            evidence, plan.task.classes, exclusive=not plan.task.multi_label, coverage=coverage, weights_sha256=sha,
            known=known,
        )  # fmt: skip
        for sentence in trust.limits:
            progress.note(sentence)
        evaluation = _measured(model, trust, found, evidence, folder / "validation")
        trust = _save(model, folder, trust, evaluation, len(cases), opened.name)
        options = {"model": model.folder, "cohort": cohort, "out": out, "coverage": coverage}
        written = {str(p.relative_to(folder)): hash_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}
        kept = {"weights_sha256": trust.weights_sha256, "peak_rss_bytes": peak_rss_bytes(), "limits": trust.limits}
        record = Record(
            "calibrate", options=options, inputs=read, outputs=written, facts=kept, warnings=list(progress.warnings)
        )
        replace(record, **watch.fields()).write(folder / "record.json")
    return trust, evaluation


def _with_history(model: Model, cohort: Cohort, cases: Sequence[Case]) -> list[Case]:
    """Return the cases and, for a model that reads the examinations of a subject in order, the others of their subjects."""
    if not form_of(model.plan).times:
        return list(cases)
    subjects = {case.subject for case in cases}
    return [match(case, model.channels) for case in cohort.cases if case.subject in subjects]


def _measured(
    model: Model, trust: ClassTrust, found: list[WholePrediction], evidence: Sequence[ClassEvidence], folder: Path
) -> ClassEvaluation:
    """Write findings, table, measures and pictures of the cases; return the measures."""
    plan, by_name = model.plan, {one.case.name: one.case for one in found}
    asked = trust.training.asks
    findings_of(trust, [trust.assess(one, images=asked) for one in evidence]).write(folder)
    truths = {
        (one.case, place): row for one in evidence for place, row in zip(one.slices, _names(one, trust), strict=True)
    }
    table = class_table(plan, found, lambda name, plane: truths[name, plane])
    table.write(folder)
    evaluation = table.evaluate(seed=plan.training.seed)
    evaluation.write(folder)
    form = form_of(plan).changed(length=0)
    write_gallery(folder, table, lambda name: prepare_samples(by_name[name], plan.preparation, form))
    return evaluation


def _names(one: ClassEvidence, trust: ClassTrust) -> list[tuple[str, ...] | None]:
    if one.truth is None:
        return [None] * len(one.slices)
    return [tuple(name for name, there in zip(trust.classes, row, strict=True) if there) for row in one.truth]


def _save(
    model: Model, folder: Path, trust: ClassTrust, evaluation: ClassEvaluation, cases: int, cohort: str
) -> ClassTrust:
    """Write plan and model with the new limits and whatever else lay beside its weights; return the limits as written."""
    facts = {
        **model.facts, "trust": trust.summary(), "validation": evaluation.to_dict()["summary"],
        "validation_is_unseen": "training_images" in model.facts, "validation_cases": cases,
        "calibration_cohort": cohort,
    }  # fmt: skip
    model.plan.write(folder / "plan.yaml")
    saved = Model.save(folder / "model", model.plan, model.network().state_dict(), facts)
    trust = replace(trust, weights_sha256=str(saved.facts["weights_sha256"]))
    trust.write(saved.folder)
    for path in model.folder.iterdir():
        target = saved.folder / path.name
        if path.is_file() and not target.exists() and not path.name.startswith("."):
            shutil.copyfile(path, target)
    return trust
