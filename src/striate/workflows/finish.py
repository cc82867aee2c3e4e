"""What follows learning: the model, its predictions on the validation cases, their measures, the record and the report."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from striate.core.counted import counted
from striate.core.files import hash_file, read_json
from striate.core.machine import peak_rss_bytes, show_bytes
from striate.core.progress import Progress
from striate.core.record import Record, Stopwatch
from striate.data.cohort import Cohort
from striate.data.split import Split
from striate.inference.engines.choose import FITTED
from striate.measure.forgetting import FILE as UPDATE
from striate.model.model import Model
from striate.model.weights import SNAPSHOTS
from striate.planning.plan import Plan
from striate.training import distributed, laps
from striate.training.gpu import gpu_facts
from striate.training.log import read_rows
from striate.training.loop import Learned
from striate.training.run import COHORT, EARLIER, Run
from striate.trust.class_trust import ClassTrust
from striate.trust.trust import Trust
from striate.workflows.anomaly import usual_of
from striate.workflows.class_limits import NAMING
from striate.workflows.encoder import taught_by
from striate.workflows.forgetting import facts_of
from striate.workflows.material import Material, Measured

WRITTEN = ("model", "validation", "plan.yaml", "split.json", COHORT, EARLIER, UPDATE)
"""Files and folders of a run whose hashes its record holds."""
REPORT_S = 8.0
"""Seconds kept for the model, the report and leaving, whatever the data."""


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
        Share of the time of the updates that the network waited for data; None in processes that do not write.
    steps
        Updates that were done.
    seconds
        Seconds of learning by part: those of the updates (see `striate.training.laps`), and ``validation``, which is
        validations and checkpoints together.
    """

    folder: Path
    model: Model | None
    evaluation: Measured | None
    report: Path | None
    waiting_share: float | None
    steps: int
    seconds: dict[str, float]


def finish(
    run: Run, plan: Plan, split: Split, material: Material, learned: Learned, progress: Progress, watch: Stopwatch
) -> Finished:
    """Write model, validation, record and report; each is replaced whole when a run is finished a second time."""
    if distributed.rank() != 0:
        return Finished(run.folder, None, None, None, None, learned.steps, {})
    cohort = Cohort.open(run.cohort)
    facts = _model_facts(run, plan, split, cohort, learned)
    facts |= (
        _training_images(run, plan, split, cohort, material)
        | facts_of(run)
        | usual_of(plan, run, split, learned.network)
    )
    model = Model.save(run / "model", plan, learned.network.state_dict(), facts)
    evaluation = material.validate(model, progress) if split.validation or plan.task.kind != "reconstruction" else None
    if evaluation is not None:
        facts |= {"validation": evaluation.to_dict()["summary"], "validation_cases": len(split.validation)}
    trust = ClassTrust.read(model.folder) if plan.task.kind in NAMING else Trust.read(model.folder)
    if trust is not None:
        facts |= {"trust": trust.summary()}
    if isinstance(trust, Trust):
        facts |= {FITTED: material.fitted_by}
    model = Model.save(run / "model", plan, learned.network.state_dict(), facts)
    if trust is not None:
        trust.write(model.folder)
    if (run / SNAPSHOTS).is_dir():
        shutil.copytree(run / SNAPSHOTS, model.folder / SNAPSHOTS)
    rows = read_rows(run / "metrics.csv")
    seconds, share = _seconds(rows, learned), laps.waiting_share(rows)
    _record(run, plan, material, learned, seconds, share, watch, progress.warnings).write(run / "record.json")
    from striate.workflows.report import report

    page = report(run.folder)
    of_gpu = gpu_facts().get("gpu", {}).get("peak_memory_bytes")
    more = "" if of_gpu is None else f", {show_bytes(of_gpu)} of the GPU"
    progress.note(
        f"{counted(learned.steps, 'step')}; of their time the network waited {100 * share:.1f} % for data"
        f" ({counted(learned.workers, 'data worker')}); peak memory {show_bytes(peak_rss_bytes())}{more}"
    )
    return Finished(run.folder, model, evaluation, page, share, learned.steps, seconds)


def _seconds(rows: list[dict[str, str]], learned: Learned) -> dict[str, float]:
    """Return where the seconds of learning went, earlier parts of a resumed run included."""
    between_s = learned.training_s - sum(float(row["step_s"]) for row in rows)
    return {part: round(s, 3) for part, s in {**laps.total(rows), "validation": max(0.0, between_s)}.items()}


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


def _training_images(run: Run, plan: Plan, split: Split, cohort: Cohort, material: Material) -> dict[str, list[str]]:
    """Return the hashes of the images learned from, those of the model that was the start among them.

    Nothing where those are not known.
    """
    files = {str(p) for name in split.train for p in cohort.case(name).channels.values()}
    start = run / EARLIER if (run / EARLIER).is_dir() else plan.training.encoder
    before = taught_by(start) if start else frozenset[str]()
    if before is None:
        return {}
    return {"training_images": sorted(before | {digest for path, digest in material.inputs.items() if path in files})}


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


def _record(
    run: Run,
    plan: Plan,
    material: Material,
    learned: Learned,
    seconds: dict[str, float],
    share: float,
    watch: Stopwatch,
    warned: list[str],
) -> Record:
    written = {
        str(p.relative_to(run.folder)): hash_file(p)
        for p in sorted(run.folder.rglob("*"))
        if p.is_file() and p.parts[len(run.folder.parts)] in WRITTEN
    }
    record = Record(
        "update" if (run / EARLIER).is_dir() else "train",
        options={**run.options, "cohort": str(run.cohort)},
        seed=plan.training.seed,
        inputs=material.inputs,
        outputs=written,
        facts={
            "steps": learned.steps,
            "training_s": round(learned.training_s, 2),
            "waiting_share": round(share, 4),
            "workers": learned.workers,
            "seconds": seconds,
            "peak_rss_bytes": peak_rss_bytes(),
            **gpu_facts(),
            "processes": distributed.world_size(),
            **({"regions": plan.task.regions} if plan.task.regions else {}),
            **facts_of(run),
        },
        warnings=list(dict.fromkeys((*warned, *material.notes))),
    )
    return replace(record, **watch.fields())
