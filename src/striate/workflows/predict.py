"""`predict`: a model and images → masks on the images' own grid, findings in units, and a record; whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.core.case import Case
from striate.core.errors import DataError, UsageError
from striate.core.files import filling, hash_file
from striate.core.image import Image, LabelMap
from striate.core.machine import memory_available_bytes, peak_rss_bytes, show_bytes
from striate.core.progress import Progress, Silent
from striate.core.record import Record, Stopwatch
from striate.inference.engines.choose import AUTO, Chosen, choose, macs_of
from striate.inference.engines.uncertainty import check_way, made_by, open_uncertain, way_of
from striate.inference.inputs import check_headers, gather
from striate.inference.memory import check_memory
from striate.inference.prediction import Prediction
from striate.io.read import extension, read_label
from striate.io.write import write_image, write_label
from striate.measure.finding import CaseFindings
from striate.measure.findings import Findings
from striate.model.model import PLAN, Model
from striate.reporting.panel import write_case_panel
from striate.trust.error_probability import error_probability
from striate.trust.examine import examine
from striate.workflows.judge import Judge

if TYPE_CHECKING:
    from striate.inference.whole import WholePrediction

PANELS = 12
"""Panels are written for this many cases; a report of more would not be looked at."""
LOSSY = {".jpg": ".png", ".jpeg": ".png"}


def predict(
    model: Model | Path | str,
    inputs: Sequence[Path | str] | Path | str,
    out: Path | str,
    *,
    save_probabilities: bool = False,
    uncertainty: str | None = None,
    ensemble: Sequence[Path | str] = (),
    save_uncertainty: bool = False,
    tta: bool = False,
    crf: bool = False,
    exact: bool = False,
    engine: str = AUTO,
    progress: Progress | None = None,
) -> list[Prediction] | list[WholePrediction]:
    """Predict all cases in `inputs` and write masks and findings, or classes, into the new folder `out`.

    Parameters
    ----------
    model
        A model, or the folder of one or of a run.
    inputs
        Image files, folders, cohorts; see `striate.inference.inputs`.
    out
        Gets ``CASE.nii.gz`` (or the format of the images), ``findings.json``, ``findings.csv``, ``record.json``,
        ``panels/`` and, where asked for, ``probabilities/CASE_LABEL.nii.gz`` and ``uncertainty/CASE.nii.gz``. A model of
        whole images writes ``predictions.csv`` instead of masks and findings.
    save_probabilities
        Also write one probability map per label or region.
    uncertainty
        ``none``, ``tta``, ``dropout`` or ``ensemble`` (`striate.inference.engines.uncertainty`); by default ``ensemble`` where
        other models are given, else ``none``. Intervals and calibrated numbers are given where the model was calibrated
        that way.
    ensemble
        Further models of the same task, whose answers are averaged with the model's.
    save_uncertainty
        Also write a map of the probability that a voxel's label is wrong.
    tta
        The same as ``uncertainty="tta"``: average over mirrored copies along the axes that the plan allows.
    crf
        Let a fully connected CRF refine the masks: slower, and more memory (docs/concepts/inference.md).
    exact
        Give the masks that nnU-Net itself would (`striate.inference.exact`), for a model that was imported from it. No
        probabilities are kept, so that nothing which needs them can be asked for or told.
    engine
        ``auto``, ``torch`` or ``openvino`` (`striate.inference.engines.choose`); which one it was, and why, is in the record.
    progress
        Who listens; by default nobody.

    Raises
    ------
    ModelError
        When the model is broken or meant for other channels.
    DataError
        When an image cannot be read or fits not.
    UsageError
        When two things were asked for that exclude each other, or the model cannot do one.
    MemoryLimitError
        When a case would not fit into the free memory.
    """
    progress, watch, out = progress or Silent(), Stopwatch(), Path(out)
    model = model if isinstance(model, Model) else Model.open(model)
    given = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    cases = gather([Path(p) for p in given], model.channels)
    asked = {
        "model": model.folder, "inputs": given, "out": out, "save_probabilities": save_probabilities, "tta": tta, "crf": crf,
    }  # fmt: skip
    of_masks = {"uncertainty": uncertainty, "ensemble": ensemble, "save_uncertainty": save_uncertainty, "exact": exact}
    if model.plan.task.kind != "segmentation":
        _refuse_for_whole(model, {**of_masks, "engine": engine != AUTO})
        from striate.workflows.predict_whole import predict_whole_cases

        return predict_whole_cases(model, cases, out, asked, progress, watch)
    ways = {"uncertainty": way_of(uncertainty, ensemble, tta=tta), "ensemble": [Path(p) for p in ensemble]}
    asked |= {**of_masks, **ways, "engine": engine}
    if exact:
        _refuse_beside_exact(model, asked)
    return predict_masks(model, cases, out, asked, progress, watch)


def _refuse_for_whole(model: Model, asked: Mapping[str, object]) -> None:
    for name, given in asked.items():
        if given:
            raise UsageError(
                f"{_option(name)}: the model does {model.plan.task.kind}; only models that draw masks can do that. Leave it away."
            )


def _refuse_beside_exact(model: Model, asked: Mapping[str, Any]) -> None:
    from striate.inference.exact import facts_of_nnunet

    facts_of_nnunet(model)  # refuses a model that was not imported
    for name in ("save_probabilities", "save_uncertainty", "ensemble", "tta", "crf"):
        if asked[name]:
            raise UsageError(
                f"{_option(name)}: --exact gives the mask that nnU-Net gives, mirrored as its training allows,"
                f" and keeps no probabilities; leave one of them away."
            )
    if asked["engine"] not in (AUTO, "torch"):
        raise UsageError(
            f"--engine {asked['engine']}: --exact computes as nnU-Net does, by torch; leave one of them away."
        )
    if asked["uncertainty"] != "none":
        raise UsageError(
            f"--uncertainty {asked['uncertainty']}: --exact averages all folds already and keeps no probabilities;"
            f" leave one of them away."
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def predict_masks(
    model: Model, cases: list[Case], out: Path, options: dict[str, Any], progress: Progress, watch: Stopwatch
) -> list[Prediction]:
    """Predict the masks of all cases and write them with their findings; see `predict`."""
    way, crf, exact = str(options["uncertainty"]), bool(options["crf"]), bool(options["exact"])
    _announce(model, cases, progress, tta=way == "tta" or exact, crf=crf, exact=exact)
    found, findings = list[Prediction](), list[CaseFindings]()
    with filling(out) as folder, progress.bar("predict", len(cases)) as bar:
        others = [Model.open(path) for path in options["ensemble"]]
        chosen = None if exact else _engine(model, cases, way, others, str(options["engine"]), progress)
        judge = Judge(model, {"exact": True} if exact else made_by(way, crf=crf, others=others), progress)
        engine = chosen.engine if chosen else None
        maps_in = folder / "probabilities" if options["save_probabilities"] else None
        for index, case in enumerate(cases):
            prediction, evidence = examine(
                model, case, engine=engine, tta=way == "tta", crf=crf, exact=exact, save_probabilities=maps_in,
                tell=lambda done, total, i=index, c=case: bar.update(i + done / total, case=c.name),  # type: ignore[misc]
            )  # fmt: skip
            judged = judge.findings(prediction, evidence)
            for caution in judged.warnings:
                progress.warn(caution.message)
            findings.append(judged)
            mask = _store(prediction, folder, model, panel=index < PANELS)
            if options["save_uncertainty"]:
                wrong = Image(error_probability(prediction, judge.trust)[None], prediction.label.affine)
                write_image(
                    folder / "uncertainty" / f"{case.name}{'.nii.gz' if wrong.array.ndim == 4 else '.npz'}", wrong
                )
            maps = {name: out / path.relative_to(folder) for name, path in prediction.probabilities.items()}
            found.append(replace(prediction.stored(out / mask.name, maps), observed=None, warnings=judged.warnings))
        Findings(tuple(findings)).write(folder)
        _record(options, model, found, folder, watch, judge.limits, chosen).write(folder / "record.json")
    return found


def _engine(model: Model, cases: list[Case], way: str, others: list[Model], name: str, progress: Progress) -> Chosen:
    """Return what computes the network, or networks."""
    if way not in ("none", "tta"):
        if name not in (AUTO, "torch"):
            raise UsageError(f"--engine {name}: --uncertainty {way} is computed by torch; leave one of them away.")
        return Chosen(open_uncertain(model, way, others), f"--uncertainty {way} is computed by it", {})
    check_way(model, way, others)
    copies = 2 ** len(model.plan.inference.mirror_axes) if way == "tta" else 1
    grids = [check_headers(case, len(model.plan.preparation.spacing_mm))[0] for case in cases]
    return choose(model, cases[0], name, macs=lambda: copies * macs_of(model, grids), tell=progress.note)


def _announce(model: Model, cases: list[Case], progress: Progress, *, tta: bool, crf: bool, exact: bool) -> None:
    """Check all headers and the memory before anything is computed, and say what is about to happen."""
    plan, needed = model.plan, 0
    for case in cases:
        grid, channels = check_headers(case, len(plan.preparation.spacing_mm))
        where = model.folder / PLAN
        name = f"case {case.name}"
        needed = max(needed, check_memory(plan, grid, channels, model.facts, name, where, crf=crf, exact=exact))
    copies = f", {2 ** len(plan.inference.mirror_axes)} mirrored copies" if tta and plan.inference.mirror_axes else ""
    progress.note(
        f"{len(cases)} case{'s' if len(cases) > 1 else ''}, labels {', '.join(plan.targets.names)}{copies};"
        f" memory: about {show_bytes(needed)} needed, {show_bytes(memory_available_bytes())} free"
    )


def _store(prediction: Prediction, folder: Path, model: Model, *, panel: bool) -> Path:
    """Write the mask of one case, and its panel; return the mask's path."""
    case, task = prediction.case, model.plan.task
    ending = extension(next(iter(case.channels.values()))) or ".nii.gz"
    path = folder / f"{case.name}{LOSSY.get(ending, ending)}"
    write_label(path, prediction.label)
    if panel:
        where = folder / "panels" / f"{case.name}.npz"
        write_case_panel(where, case, prediction.label, prediction.targets, _truth(prediction), task.label_names)
    return path


def _truth(prediction: Prediction) -> LabelMap | None:
    """Return the truth of a case, to be shown beside its prediction; None where there is none that fits."""
    if prediction.case.label is None:
        return None
    try:
        truth = read_label(prediction.case.label)
    except DataError:
        return None
    return truth if truth.grid.matches(prediction.label.grid) else None


def _record(
    options: dict[str, object],
    model: Model,
    found: list[Prediction],
    folder: Path,
    watch: Stopwatch,
    limits: Sequence[str],
    chosen: Chosen | None,
) -> Record:
    read = {f"{p.case.name}/{name}": hash_file(path) for p in found for name, path in p.case.channels.items()}
    written = {str(p.relative_to(folder)): hash_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    facts = {
        "peak_rss_bytes": peak_rss_bytes(), "weights_sha256": model.facts.get("weights_sha256"),
        "limits": list(limits),
        **({"engine": chosen.to_dict()} if chosen else {}),
        "cases": {p.case.name: p.facts for p in found},
        **({"regions": model.plan.task.regions} if model.plan.task.regions else {}),
    }  # fmt: skip
    warnings = [caution.message for p in found for caution in p.warnings]
    record = Record("predict", options=options, inputs=read, outputs=written, facts=facts, warnings=warnings)
    return replace(record, **watch.fields())
