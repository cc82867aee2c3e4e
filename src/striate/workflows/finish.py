"""What follows learning: the model, its predictions on the validation cases, their measures, the record and the report."""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from striate.core.files import filling, hash_file, read_json
from striate.core.machine import peak_rss_bytes, show_bytes
from striate.core.progress import Progress, each
from striate.core.record import Record, Stopwatch
from striate.data.cohort import Cohort
from striate.data.split import Split
from striate.data.store import PatchStore
from striate.inference.predict import engine_of, predict_case, predict_classes
from striate.io.read import read_header, read_label
from striate.io.write import write_label
from striate.measure.evaluation import CaseEvaluation, Evaluation, evaluate_pair
from striate.measure.findings import Findings
from striate.model.model import Model
from striate.planning.plan import Plan
from striate.reporting.panel import write_case_panel
from striate.training import distributed
from striate.training.loop import Learned, initialise
from striate.training.run import Run

REPORT_S = 8.0
"""Seconds kept for the model, the report and leaving, whatever the data."""

SECONDS_PER_VOXEL = 9e-7
"""Seconds per voxel and case for reading, restoring, writing, measuring and the panel of a validation case; measured."""


@dataclass(frozen=True)
class Finished:
    """What `train` ends with.

    Attributes
    ----------
    folder
        The run folder.
    model
        The model, or None in processes that do not write.
    evaluation
        Measures on the validation cases; None without validation cases.
    report
        The HTML page.
    waiting_share
        Share of the time that the network waited for data.
    steps
        Updates that were done.
    """

    folder: Path
    model: Model | None
    evaluation: Evaluation | None
    report: Path | None
    waiting_share: float
    steps: int


def reserve_s(run: Run, plan: Plan, split: Split, store: PatchStore) -> float:
    """Return the seconds to keep for what follows learning; one window's pace is measured with the untrained network."""
    if not split.validation:
        return REPORT_S
    cohort = Cohort.open(run.cohort)
    network, first = initialise(plan).eval(), store[split.validation[0]]
    begin = time.monotonic()
    predict_classes(plan, network, first.images.astype("float32"))
    pace = (time.monotonic() - begin) / first.classes.size
    total = REPORT_S
    for name in split.validation:
        header = read_header(next(iter(cohort.case(name).channels.values())))
        total += pace * math.prod(store.shape(name)) + SECONDS_PER_VOXEL * math.prod(header.grid.shape)
    return total


def finish(run: Run, plan: Plan, split: Split, learned: Learned, progress: Progress, watch: Stopwatch) -> Finished:
    """Write model, validation, record and report; each is replaced whole when a run is finished a second time."""
    if distributed.rank() != 0:
        return Finished(run.folder, None, None, None, learned.waiting_share, learned.steps)
    cohort = Cohort.open(run.cohort)
    facts = _model_facts(run, plan, split, cohort, learned)
    model = Model.save(run / "model", plan, learned.network.state_dict(), facts)
    evaluation = _validate(run, model, split, cohort, progress) if split.validation else None
    if evaluation is not None:
        summary = {"validation": evaluation.to_dict()["summary"], "validation_cases": len(split.validation)}
        model = Model.save(run / "model", plan, learned.network.state_dict(), facts | summary)
    _record(run, plan, learned, watch, progress.warnings).write(run / "record.json")
    from striate.workflows.report import report

    page = report(run.folder)
    progress.note(
        f"{learned.steps} steps; the network waited for data {100 * learned.waiting_share:.1f} % of the time;"
        f" peak memory {show_bytes(peak_rss_bytes())}"
    )
    return Finished(run.folder, model, evaluation, page, learned.waiting_share, learned.steps)


def _validate(run: Run, model: Model, split: Split, cohort: Cohort, progress: Progress) -> Evaluation:
    """Predict the validation cases on their own grid and measure them against the truth."""
    plan, engine, names = model.plan, engine_of(model), model.plan.task.label_names
    measured, found = [], []
    shutil.rmtree(run / "validation", ignore_errors=True)
    with filling(run / "validation") as folder:
        for name in each(progress, "Validation", split.validation, len(split.validation)):
            case = cohort.case(name)
            prediction = predict_case(model, case, network=engine)
            truth = read_label(Path(str(case.label)))
            values = evaluate_pair(prediction.label, truth, plan.targets, case_name=name)
            measured.append(CaseEvaluation(name, values, case.subject))
            found.append(Findings.of(name, prediction.label, plan.targets, prediction.warnings))
            write_label(folder / f"{name}{'.nii.gz' if truth.array.ndim == 3 else '.png'}", prediction.label)
            write_case_panel(folder / "panels" / f"{name}.npz", case, prediction.label, plan.targets, truth, names)
        evaluation = Evaluation.of(measured)
        evaluation.write(folder / "evaluation.json")
        Findings.join(found).write(folder)
    return evaluation


def _model_facts(run: Run, plan: Plan, split: Split, cohort: Cohort, learned: Learned) -> dict[str, Any]:
    """Collect what must travel with the model: whom it learned from, the ranges of their images."""
    seen = {f["case"]: f for f in read_json(run / "check.json")["facts"] if f["case"] in split.train}
    return {
        "cohort": cohort.name,
        "training_cases": len(split.train),
        "training_subjects": len({cohort.case(name).subject for name in split.train}),
        "steps": learned.steps,
        "training_s": round(learned.training_s, 1),
        "reference_ranges": _ranges(list(seen.values())),
    }


def _ranges(facts: list[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Return channel → measure → [smallest, largest] over the training cases, for the input gate of a prediction."""
    ranges: dict[str, dict[str, list[float]]] = {}
    for case in facts:
        for channel, measures in case.get("channels", {}).items():
            numbers = {**measures, **(measures.get("quality") or {})}
            for key, value in numbers.items():
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    low, high = ranges.setdefault(channel, {}).get(key, [value, value])
                    ranges[channel][key] = [min(low, value), max(high, value)]
    return ranges


def _record(run: Run, plan: Plan, learned: Learned, watch: Stopwatch, warned: list[str]) -> Record:
    store = PatchStore.open(run / "cache")
    written = {
        str(p.relative_to(run.folder)): hash_file(p)
        for p in sorted(run.folder.rglob("*"))
        if p.is_file() and p.parts[len(run.folder.parts)] in ("model", "validation", "plan.yaml", "split.json")
    }
    record = Record(
        "train",
        options={**run.options, "cohort": str(run.cohort)},
        seed=plan.training.seed,
        inputs=store.inputs,
        outputs=written,
        facts={
            "steps": learned.steps,
            "training_s": round(learned.training_s, 2),
            "waiting_share": round(learned.waiting_share, 4),
            "peak_rss_bytes": peak_rss_bytes(),
            "processes": distributed.world_size(),
            **({"regions": plan.task.regions} if plan.task.regions else {}),
        },
        warnings=list(dict.fromkeys((*warned, *store.notes))),
    )
    return replace(record, **watch.fields())
