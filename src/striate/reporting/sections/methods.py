"""What was done and with what, as the paragraph that a methods section would hold."""

from __future__ import annotations

from typing import Any

from striate.core.counted import counted
from striate.core.machine import show_seconds
from striate.reporting.folder import Folder
from striate.reporting.numbers import compact, joined, number, product
from striate.reporting.section import Section

MOST_NAMED = 8
"""Classes that are named in a sentence."""
DONE = {
    "segmentation": "segmented",
    "classification": "classified",
    "sequence": "classified slice by slice",
    "reconstruction": "reconstructed",
}


def make(folder: Folder) -> Section:
    """Return the paragraph of a run, of a calibration or of a prediction."""
    made = _calibration if folder.calibrated else _run if folder.kind == "run" else _prediction
    sentences = made(folder)
    if not sentences:
        return Section(
            "methods",
            "What was done",
            absent="Neither a plan nor a record can be read from the folder, so it is not known what was done.",
        )
    return Section("methods", "What was done", {"sentences": sentences})


def _run(folder: Folder) -> list[str]:
    return [
        *_network(folder),
        *_start(folder),
        *_split(folder),
        *_training(folder),
        *_preparation(folder),
        *_machine(folder.record),
    ]


def _calibration(folder: Folder) -> list[str]:
    """Return what `striate calibrate` did; how the model learned is in the report of its run."""
    if not folder.record:
        return []
    name, took = _model_and_time(folder.record)
    learned = (
        "which did not learn from them" if folder.unseen else "of which it is not known whether it learned from them"
    )
    cases, cohort = _cases(len(folder.cases)), folder.model.get("calibration_cohort", "")
    true = "the true masks" if folder.task == "segmentation" else "what is true"
    return [
        f"The model {name}, {learned}, {DONE[folder.task]} {cases} of cohort {cohort}{took}; what it found was set beside"
        f" {true}.",
        "How far it can be trusted was fitted to them, and judged on subjects that were left out. Its weights are unchanged.",
        *_machine(folder.record),
    ]


def _model_and_time(record: dict[str, Any]) -> tuple[str, str]:
    """Return with which model something was done, and in what time."""
    parts = [p for p in str((record.get("options") or {}).get("model") or "").split("/") if p not in ("", ".")]
    duration = number(record.get("duration_s"))
    return "/".join(
        parts[-2:] if parts[-1:] == ["model"] else parts[-1:]
    ), f" in {show_seconds(duration)}" if duration else ""


def _network(folder: Folder) -> list[str]:
    network = folder.plan.get("network") or {}
    if not network:
        return []
    parameters = number((folder.plan.get("expected") or {}).get("parameters")) or number(folder.model.get("parameters"))
    size = f" with {compact(parameters)} parameters" if parameters else ""
    what = f"A {network.get('spatial_dims', 3)}D {network.get('name')}{size}"
    return [f"{what} was trained to {_aim(folder)}."]


def _start(folder: Folder) -> list[str]:
    """Return what an update began with, and how much of what it learned is in the model."""
    chosen = folder.model.get("update")
    if not chosen:
        return []
    share = f"{100 * chosen['share']:g} % of the way from them to what was learned"
    taken = f"{share if chosen['share'] else 'nothing of what was learned'} was taken"
    return [f"It started from the weights {chosen['from_sha256'][:12]}… of an earlier model, and {taken}."]


def _aim(folder: Folder) -> str:
    task = folder.plan.get("task") or {}
    wanted, shown = joined(folder.targets), joined(folder.channels) or "its channels"
    if len(folder.classes) > MOST_NAMED:
        wanted = f"{len(folder.classes)} classes"
    if folder.task == "reconstruction":
        return f"reconstruct {shown}"
    if folder.task == "segmentation":
        return f"outline {wanted or 'its labels'} from {shown}"
    verb = f"find {wanted or 'its classes'}" if task.get("multi_label") else f"tell {wanted or 'its classes'} apart"
    if task.get("kind") == "sequence" and task.get("unit") == "case":
        return f"{verb} from {shown} of a subject's examinations in order of time"
    where = {"slice": "in each slice of ", "case": "in "}.get(str(task.get("unit")), "in ")
    return f"{verb} {where}{shown}"


def _split(folder: Folder) -> list[str]:
    train, held = folder.split.get("train") or [], folder.split.get("validation") or []
    if not train:
        return []
    if not held:
        return [f"It learned from {_cases(len(train))}; none was held out, so nothing is known of other cases."]
    judged = f"was judged on {_cases(len(held))} that it never saw{_list(held)}"
    return [f"It learned from {_cases(len(train))} and {judged}; cases of one subject were kept together."]


def _preparation(folder: Folder) -> list[str]:
    preparation = folder.plan.get("preparation") or {}
    if not preparation:
        return []
    schemes = ", ".join(dict.fromkeys(preparation.get("normalisation") or []))
    spacing = [round(float(v), 2) for v in preparation.get("spacing_mm") or []]
    cut = "cut to their non-zero part, " if preparation.get("crop") else ""
    return [f"Images were {cut}normalised ({schemes}) and resampled to {product(spacing)} mm."]


def _training(folder: Folder) -> list[str]:
    training = folder.plan.get("training") or {}
    if not training:
        return []
    rows = [r for r in folder.metrics if r.get("step") is not None]
    steps = len(rows) or training.get("steps")
    duration = number(folder.record.get("duration_s")) or (rows[-1].get("elapsed_s") if rows else None)
    count = counted(int(steps), "update") if steps else "its updates"
    time = f" in {show_seconds(duration)}, all included" if duration else ""
    seen = f"patches of {product(training.get('patch'))} voxels"
    if folder.task != "segmentation":
        axes = [n for n in training.get("patch") or [] if n != 1]
        seen = f"images of {product(axes)} {'voxels' if len(axes) == 3 else 'pixels'}"
    if folder.task == "sequence":
        seen = f"sequences of {training.get('length')} {seen}"
    text = (
        f"Training took {count}{time}: {seen},"
        f" {training.get('batch')} per update,"
        f" loss {training.get('loss')}, optimiser {training.get('optimiser')},"
        f" largest learning rate {training.get('learning_rate')},"
        f" precision {training.get('precision')}, seed {training.get('seed')}."
    )
    return [text]


def _prediction(folder: Folder) -> list[str]:
    record = folder.record
    if not record:
        return []
    options, count = record.get("options") or {}, _count(folder)
    name, took = _model_and_time(record)
    was, model = "was" if count == 1 else "were", f" with the model {name}" if name else ""
    text = f"{_cases(count).capitalize()} {was} {DONE[folder.task]}{model}{took}."
    extra = [] if not options.get("tta") else ["Predictions over mirrored copies of the image were averaged."]
    return [text, *extra, *_machine(record)]


def _count(folder: Folder) -> int:
    if folder.task in ("classification", "sequence") and folder.predictions is not None:
        return len(set(folder.predictions.cases))
    if folder.task == "reconstruction":
        return len(folder.evaluation.get("cases") or []) or (folder.samples.total if folder.samples is not None else 0)
    return len(folder.cases) or len(folder.panels)


def _machine(record: dict[str, Any]) -> list[str]:
    machine, versions = record.get("machine") or {}, record.get("versions") or {}
    if not machine:
        return []
    shown = [f"{name} {versions[name]}" for name in ("striate", "torch") if name in versions]
    tools = f" with {' and '.join(shown)}" if shown else ""
    used = counted(machine.get("cores") or 0, "core")
    return [f"It ran on {used} of {machine.get('processor')}, {machine.get('memory_gb')} GB memory{tools}."]


def _cases(count: int) -> str:
    return "one case" if count == 1 else f"{count} cases"


def _list(names: list[Any]) -> str:
    return f" ({', '.join(map(str, names))})" if 0 < len(names) <= 5 else ""
