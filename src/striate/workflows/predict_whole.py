"""`predict` with a model of whole images: classes of cases or slices, or reconstructions; whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from striate.core.case import Case
from striate.core.errors import DataError, MemoryLimitError, UsageError, expected
from striate.core.files import hash_file
from striate.core.grouped import grouped
from striate.core.image import Grid
from striate.core.machine import peak_rss_bytes
from striate.core.progress import Progress, Silent
from striate.core.record import Record, Stopwatch
from striate.core.unfinished import Unfinished, unfinished
from striate.data.samples import CaseSamples, prepare_samples, truths_of
from striate.inference.inputs import check_all_headers
from striate.inference.memory import ran_out, refuse_unheld, unheld
from striate.inference.warn import impossible_sizes
from striate.inference.whole import Unable, WholePrediction, form_of, predict_whole
from striate.io.read import hash_image
from striate.measure.reconstruction import CaseReconstruction
from striate.model.model import Model
from striate.planning.plan import Plan
from striate.workflows.anomaly import Anomalies
from striate.workflows.class_limits import ClassJudge
from striate.workflows.disk import refuse_prediction
from striate.workflows.kept import refuse_failed, telling, warn_left_out
from striate.workflows.kept_classes import KeptClasses, Told, names_in
from striate.workflows.taught import CODE, FACT, caution_of, images_of
from striate.workflows.whole import class_table, measure_case, names_of, write_gallery, write_reconstructions


def predict_whole_cases(
    model: Model, cases: list[Case], out: Path, options: dict[str, Any], progress: Progress, watch: Stopwatch
) -> list[WholePrediction]:
    """Predict all cases and write ``predictions.csv`` (or reconstructions' measures and anomaly maps), pictures, the record.

    Of a classifier, a case that cannot be read or is too large for the memory costs no other: what it says of these waits in
    ``OUT.unfinished``.

    Of a classifier that knows its limits ``findings.json`` and ``findings.csv`` too: calibrated probabilities, sets, review.
    What comes back is without images: they are let go case by case. Classes that were told before a call was stopped are taken
    (`striate.workflows.kept_classes`).

    Raises
    ------
    UsageError
        When an option is asked for that only masks have.
    DataError, ModelError
        When an image cannot be read or fits not.
    MemoryLimitError, DiskFullError
        When images are larger than the memory, or the disk has less room than may be written; before anything is computed.
    """
    wrong = next((name for name in ("tta", "crf", "save_probabilities") if options.get(name)), None)
    if wrong is not None:
        raise UsageError(f"--{wrong.replace('_', '-')}: the model gives no masks; leave it away.")
    plan, network = model.plan, model.network()
    headers = check_all_headers(cases, len(plan.preparation.spacing_mm), options["inputs"])
    for line in impossible_sizes(plan, {name: grid for name, (grid, _) in headers.items()}):
        progress.note(line)
    able, large = held_of(plan, cases, headers, Unfinished(out))
    known = set(names_in(Unfinished(out)))
    refuse_prediction(model, [case for case in able if case.name not in known], headers, out, options)
    warn_left_out(large, cases, progress)
    progress.note(f"{len(cases)} case{'s' if len(cases) > 1 else ''}, {_told(plan)}")
    with unfinished(out) as place:
        if any((place.get(name) or {}).get("files") for name in place.names):
            raise DataError(
                expected(place.folder, "masks lie there, of a call that was stopped", "a place of its own is needed",
                         "Go on with the model that drew them, or give another --out."), path=place.folder,
            )  # fmt: skip
        place.keep_only(())  # what a killed process left
        kept = KeptClasses.of(model, place) if keeps(plan) else None
        with telling(place, cases, progress, lambda: 0 if kept is None else kept.count):
            return _filled(model, network, cases, place.files, kept, large, options, progress, watch)


def keeps(plan: Plan) -> bool:
    """Tell whether cases that are done wait for the others, so that one that fails costs no other."""
    return plan.task.kind != "reconstruction" and not form_of(plan).times


def held_of(
    plan: Plan, cases: list[Case], headers: Mapping[str, tuple[Grid, int]], place: Unfinished
) -> tuple[list[Case], list[MemoryLimitError]]:
    """Return the cases whose images the memory can hold, or that are done; and why others do not fit.

    Raises
    ------
    MemoryLimitError
        When there is none, or the model's cases do not wait for one another (`keeps`).
    """
    if not keeps(plan):
        refuse_unheld(headers)
        return cases, []
    known = set(names_in(place))
    large = unheld({name: header for name, header in headers.items() if name not in known})
    able = [case for case in cases if case.name not in {error.case for error in large}]
    if not able:
        refuse_failed(large, place, cases)
    return able, large


def _filled(
    model: Model,
    network: nn.Module,
    cases: list[Case],
    folder: Path,
    kept: KeptClasses | None,
    large: list[MemoryLimitError],
    options: dict[str, Any],
    progress: Progress,
    watch: Stopwatch,
) -> list[WholePrediction]:
    """Predict all cases that are not kept, and write what came of all into `folder`; those that are too `large` are left out."""
    plan, by_name = model.plan, {case.name: case for case in cases}
    failed: list[DataError | MemoryLimitError] = [*large]
    able = [case for case in cases if case.name not in {error.case for error in large}]

    def samples_of(name: str) -> CaseSamples:
        return prepare_samples(by_name[name], plan.preparation, form_of(plan).changed(length=0))

    anomalies = Anomalies.of(model, folder, progress) if plan.task.kind == "reconstruction" else None
    judge = ClassJudge(model, progress) if anomalies is None else None

    def spare(case: Case, error: Unable) -> None:
        failed.append(ran_out(case.name) if isinstance(error, MemoryError) else error.with_traceback(None))

    there = [] if kept is None else kept.find(able, progress)
    found, measured = [told.prediction for told in there], list[CaseReconstruction]()
    hashes = {name: digest for told in there for name, digest in told.hashes.items()}
    cautions, taught = {told.prediction.case.name: told.cautions for told in there}, images_of((model,))
    if judge is not None:
        judge.cases += [told.judged for told in there if told.judged is not None]
    with progress.bar("predict", len(cases)) as bar:
        for prediction in _predicted(model, network, able[len(there) :], judge, kept, spare):
            case = prediction.case
            own = {f"{case.name}/{name}": hash_image(path) for name, path in case.channels.items()}
            caution = caution_of(case, own, taught)
            cautions[case.name] = () if caution is None else (caution,)
            if anomalies is not None:
                measured.append(measure_case(prediction))
                anomalies.add(prediction)
            if judge is not None:
                cautions[case.name] = judge.add(prediction, cautions[case.name])
            hashes |= own
            found.append(prediction.without_images())
            if kept is not None:
                judged = judge.cases[-1] if judge is not None and judge.trust is not None else None
                kept.add(Told(found[-1], judged, cautions[case.name], own))
            bar.update(len(found) + len(failed), case=case.name)
    if kept is not None:
        refuse_failed(failed, kept.place, cases, lambda: kept.count)
    if anomalies is not None:
        anomalies.finish(progress)
        write_reconstructions(folder, measured, found, plan, network, samples_of)
    else:
        truths = truths_of_cases(plan, found, progress)
        table = class_table(plan, found, lambda name, plane: truths[name].get(plane))
        table.write(folder)
        write_gallery(folder, table, samples_of)
    if judge is not None and judge.findings is not None:
        judge.findings.write(folder)
    warnings = [*progress.warnings, *(c.message for told in cautions.values() for c in told)]
    for line in grouped((name, c.code, c.message) for name, told in cautions.items() for c in told):
        progress.warn(line)
    trained = [name for name, told in cautions.items() if any(c.code == CODE for c in told)]
    more = {"warnings": warnings, "inputs": hashes}
    facts = {} if judge is None else {"limits": judge.limits}
    _record(model, folder, options, trained, facts, more, watch).write(folder / "record.json")
    return found


def _predicted(
    model: Model,
    network: nn.Module,
    cases: list[Case],
    judge: ClassJudge | None,
    kept: KeptClasses | None,
    spare: Callable[[Case, Unable], None],
) -> Iterator[WholePrediction]:
    """Predict the cases; a judge is shown their images, and hears the network's features where it needs them."""
    plan, folder = model.plan, model.folder
    look, listen = (judge.look, judge.listens) if judge is not None else (lambda name, prepared: None, False)
    if kept is None:
        return predict_whole(plan, network, cases, look=look, listen=listen, model=folder)
    return predict_whole(plan, network, cases, look=look, listen=listen, together=kept.keep, spare=spare, model=folder)


def truths_of_cases(
    plan: Plan, found: list[WholePrediction], progress: Progress
) -> dict[str, dict[int | None, tuple[str, ...]]]:
    """Return case → slice → its true classes; what cannot be understood is told once for many cases."""
    truths, unknown = {}, list[tuple[str, str, str]]()
    for one in found:
        quiet = Silent()
        truths[one.case.name] = truths_by_slice(plan, one.case, one.slices, quiet)
        unknown += [(one.case.name, "truth", text) for text in quiet.warnings]
    for line in grouped(unknown):
        progress.warn(line)
    return truths


def truths_by_slice(
    plan: Plan, case: Case, slices: tuple[int, ...], progress: Progress
) -> dict[int | None, tuple[str, ...]]:
    """Return slice (None: the whole case) → its true classes; nothing where the case does not tell them.

    A truth that cannot be understood is as good as none: `progress` is warned.
    """
    form = form_of(plan).changed(length=0)
    if not ((form.contains and case.label is not None) or (not form.contains and case.classes is not None)):
        return {}
    planes = slices or (None,)
    samples = CaseSamples(np.empty((len(planes), 0), np.float32), tuple(() if k is None else (k,) for k in planes))
    try:
        truth = truths_of(case, samples, form)
    except DataError as error:
        progress.warn(f"{error} Its truth counts as unknown.")
        return {}
    return {plane: names_of(plan, row) for plane, row in zip(planes, truth, strict=True)}


def _told(plan: Plan) -> str:
    if plan.task.kind == "reconstruction":
        return "reconstructions"
    return f"classes {', '.join(plan.task.classes)} of each {plan.task.unit}"


def _record(
    model: Model,
    folder: Path,
    options: dict[str, Any],
    trained: list[str],
    known: dict[str, Any],
    more: dict[str, Any],
    watch: Stopwatch,
) -> Record:
    written = {str(p.relative_to(folder)): hash_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    facts = {
        "peak_rss_bytes": peak_rss_bytes(), "weights_sha256": model.facts.get("weights_sha256"),
        "task": model.plan.task.model_dump(mode="json"), "network": model.plan.network.name,
        **({FACT: trained} if trained else {}), **known,
    }  # fmt: skip
    return replace(Record("predict", options=options, outputs=written, facts=facts, **more), **watch.fields())
