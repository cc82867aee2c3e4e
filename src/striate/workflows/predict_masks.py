"""`predict_masks`: the masks of cases with their findings and a record; see `striate.workflows.predict`.

While the engine is made ready, the first case is read and prepared. While the network computes one case, the next one is read
and prepared, and the one before is judged and written (`striate.core.pipeline`); where memory does not suffice for three cases,
one is done after the other. What is done is kept beside the output until all is (`striate.workflows.kept`), and a case that fails
for its own data, or is too large for the memory, does not stop the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.core.case import Case
from striate.core.errors import DataError, MemoryLimitError, UsageError
from striate.core.files import hash_file
from striate.core.grouped import grouped
from striate.core.image import Grid, Image, LabelMap
from striate.core.machine import memory_available_bytes, peak_rss_bytes, resident_bytes, show_bytes
from striate.core.pipeline import OF_ONE, pipelined, sparing
from striate.core.progress import Progress
from striate.core.record import Record, Stopwatch
from striate.core.unfinished import Unfinished, unfinished
from striate.data.prepare import Prepared
from striate.inference.cascade import open_first, prepare_stage, shares_of_first
from striate.inference.engines import Engine, gpu_of, on_gpu
from striate.inference.engines.choose import AUTO, choose, macs_of
from striate.inference.engines.chosen import Chosen
from striate.inference.engines.foresee import may_spare
from striate.inference.engines.uncertainty import check_way, made_by, open_uncertain
from striate.inference.inputs import check_all_headers
from striate.inference.memory import GPU, KEPT_BYTES, Parts, check_memory, peak_bytes, ran_out
from striate.inference.predict import timed
from striate.inference.prediction import Prediction
from striate.inference.probabilities import ProbabilityWriter
from striate.inference.warn import impossible_sizes
from striate.io.read import hash_image, read_label
from striate.io.write import write_image, write_label
from striate.measure.finding import CaseFindings
from striate.measure.findings import Findings
from striate.model.model import PLAN, Model
from striate.reporting.panel import write_case_panel
from striate.trust.error_probability import error_probability
from striate.trust.examine import answer, weigh
from striate.workflows.dicom_segs import refuse_other_formats, write_dicom_seg
from striate.workflows.disk import PANELS, ending_of, refuse_prediction
from striate.workflows.folds import folds_told
from striate.workflows.judge import Judge
from striate.workflows.kept import Done, Kept, refuse_failed, telling, warn_left_out, way_of
from striate.workflows.taught import CODE, FACT, caution_of, images_of

if TYPE_CHECKING:
    from striate.inference.engines.foresee import Foreseen
    from striate.trust.image_facts import Facts

Seconds = dict[str, float]
Begun = dict[str, "Future[tuple[Prepared, Seconds]]"]
"""Name of a case → its reading, which was begun before it was asked for."""


def predict_masks(
    model: Model, cases: list[Case], out: Path, options: dict[str, Any], progress: Progress, watch: Stopwatch
) -> list[Prediction]:
    """Predict the masks of all cases and write them with their findings."""
    way, crf, exact = str(options["uncertainty"]), bool(options["crf"]), bool(options["exact"])
    headers = check_all_headers(cases, len(model.plan.preparation.spacing_mm), options["inputs"])
    refuse_other_formats(model, cases, options)
    grids = {name: grid for name, (grid, _) in headers.items()}
    for line in impossible_sizes(model.plan, grids):
        progress.note(line)
    first_shares, name = shares_of_first(model, grids), str(options["engine"])
    able, large = able_of(model, cases, headers, Unfinished(out), options)
    known = set(Unfinished(out).names)
    refuse_prediction(model, [case for case in able if case.name not in known], headers, out, options, progress.note)
    warn_left_out(large, cases, progress)
    grids = {case.name: grids[case.name] for case in able}
    with unfinished(out) as place, telling(place, cases, progress), _begun(model, able, place, options) as begun:
        others = [Model.open(path) for path in options["ensemble"]]
        chosen = None if exact else _engine(model, able[0], grids, way, others, name, progress)
        first = None if exact else _first(model, able[0], grids, way, others, name, progress)
        engine, before = (found.engine if found else None for found in (chosen, first))
        made = {"exact": True} if exact else made_by(way, crf=crf, others=others)
        judge = Judge(model, made, progress, maps=bool(options["save_uncertainty"]))
        panels = {case.name for case in cases[:PANELS]}
        kept = Kept(place, way_of((model, *others), options, (engine, before)), model.plan.targets, panels)
        done = kept.find(able, progress)
        left = [case for case in able if case.name not in done]
        fit, needs, more = fitting(model, left or able, headers, engine or "torch", crf=crf, exact=exact)
        large, left = large + (more if left else []), fit if left else []
        together, announced = announce(model, needs, progress, tta=way == "tta" or exact, held=_held(begun))
        if told := folds_told(model, way, exact=exact, others=bool(others)):
            progress.note(told)
        taught = images_of((model, *others))
        steps = _Steps(model, others, options, kept, judge, engine, before, taught, begun, first_shares)
        done |= _predicted(left, steps, progress, together=together)
        refuse_failed([*large, *steps.failed], place, cases)
        kept.place.keep_only(kept.files)
        found, findings = [done[case.name][0] for case in cases], [done[case.name][1] for case in cases]
        for line in grouped((one.case, c.code, c.message) for one in findings for c in one.warnings):
            progress.warn(line)
        Findings(tuple(findings)).write(place.files)
        memory = {"announced_bytes": announced, "neighbours_together": together}
        facts = {"memory": memory, "limits": list(judge.limits), "made_by": made, **_engines(model, chosen, first)}
        facts |= {"nnunet": told} if told else {}
        _record(options, model, found, kept, watch, facts).write(place.files / "record.json")
    return found


def _predicted(cases: list[Case], steps: _Steps, progress: Progress, *, together: bool) -> dict[str, Done]:
    """Predict cases; return by name what came of each, without those that failed for their own data or size (`_Steps.failed`)."""
    if not cases:
        return {}
    order, done = {case.name: index for index, case in enumerate(cases)}, dict[str, Done]()
    with steps.rows, progress.bar("predict", len(cases)) as bar:
        steps.tell = lambda case, share: bar.update(order[case] + share, case=case)
        each_of = sparing(steps.read), sparing(steps.look), sparing(steps.compute), sparing(steps.write)
        work = pipelined(cases, *each_of, together=together)
        with contextlib.closing(work) as results:
            for case, result in zip(cases, results, strict=True):
                if isinstance(result, OF_ONE):
                    steps.failed.append(ran_out(case.name) if isinstance(result, MemoryError) else result)
                else:
                    done[case.name] = result
    return done


@dataclass(slots=True)
class _Steps:
    """What is done with each case, and what that needs.

    Attributes
    ----------
    model, others, options, kept, judge
        As given; `others` of an ensemble.
    engine, first
        What computes the network, and the first one of a cascade; None where nnU-Net's way is followed.
    taught
        Hashes of the images that were learned from.
    begun
        What is read already; let go of once it is asked for.
    first_shares
        Name of a case → which share of the computing is done while it is read: that of a cascade's first stage.
    tell
        Is told the name of the case that is computed, and which share of it is done.
    failed
        What was wrong with the data, or the size, of cases.
    rows
        Closed at the end, so that no rows of probabilities stay where the disk is full.
    """

    model: Model
    others: Sequence[Model]
    options: Mapping[str, Any]
    kept: Kept
    judge: Judge
    engine: Engine | None
    first: Engine | None
    taught: frozenset[str]
    begun: Begun
    first_shares: Mapping[str, float]
    tell: Callable[[str, float], None] = lambda case, share: None
    failed: list[DataError | MemoryLimitError] = field(default_factory=list)
    rows: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def folder(self) -> Path:
        """What is being filled."""
        return self.kept.place.files

    def read(self, case: Case) -> tuple[Prepared, Seconds]:
        """Read a case and prepare it; of a cascade, its first stage is computed here."""
        begun = self.begun.pop(case.name, None)
        if begun is not None:
            return begun.result()
        share = self.first_shares[case.name]
        return _read(
            self.model, case, self.options, self.first,
            tell=lambda done, total: self.tell(case.name, share * done / total),
        )  # fmt: skip

    def look(self, ready: tuple[Prepared, Seconds]) -> tuple[dict[str, Facts], Seconds]:
        """Measure what the input gate asks of the images."""
        prepared, seconds = ready
        with timed(seconds, "facts"):
            from striate.trust.image_facts import image_facts  # slow to import

            return image_facts(prepared, self.model.plan.task.channels), seconds

    def compute(self, case: Case, ready: tuple[Prepared, Seconds]) -> tuple[Prediction, ProbabilityWriter | None]:
        """Let the network answer."""
        maps, before = None, self.first_shares[case.name]
        if self.options["save_probabilities"]:
            maps = ProbabilityWriter(self.folder / "probabilities", case.name, self.model.plan.targets)
            self.rows.enter_context(maps)
        prediction = answer(
            self.model, case, ready[0], engine=self.engine, tta=self.options["uncertainty"] == "tta",
            crf=self.options["crf"], exact=self.options["exact"], maps=maps,
            tell=lambda done, total: self.tell(case.name, before + (1 - before) * done / total),
        )  # fmt: skip
        return prediction, maps

    def write(
        self, case: Case, made: tuple[Prediction, ProbabilityWriter | None], seen: tuple[dict[str, Facts], Seconds]
    ) -> tuple[Prediction, CaseFindings]:
        """Judge an answer and write its mask, panel and maps; the prediction returned holds no voxels."""
        (prediction, maps), (facts, seconds), storing = made, seen, Seconds()
        with ThreadPoolExecutor(1, "striate-store") as crew:
            stored_at = crew.submit(self._store, prediction, storing)  # needs no verdict
            with timed(seconds, "judge"):
                judged = self.judge.findings(prediction, weigh(prediction, facts))
            with timed(seconds, "hash"):
                judged = self._recognised(case, judged)
            files = stored_at.result()
        with timed(seconds, "write"):
            if self.options["save_uncertainty"]:
                wrong = Image(error_probability(prediction, self.judge.fitted)[None], prediction.label.affine)
                ending = ".nii.gz" if wrong.array.ndim == 4 else ".npz"
                files.append(self.folder / "uncertainty" / f"{case.name}{ending}")
                write_image(files[-1], wrong)
            if self.options["dicom_seg"]:  # takes less memory than judging, which is over by now
                files.append(write_dicom_seg(self.folder, self.model, prediction, self.others))
            written = maps.finish() if maps else {}
        seconds["write"] = round(seconds["write"] + storing["store"], 3)
        spent = {"prepare": seconds["prepare"], **prediction.facts["seconds"], **seconds}
        stored = prediction.stored(self._later(files[0]), {name: self._later(path) for name, path in written.items()})
        stored = replace(stored, observed=None, warnings=judged.warnings, facts={**stored.facts, "seconds": spent})
        self.kept.keep(stored, judged, [*files, *written.values()])
        return stored, judged

    def _recognised(self, case: Case, judged: CaseFindings) -> CaseFindings:
        """Return the findings of a case with a warning where it was learned from."""
        self.kept.inputs.update({f"{case.name}/{name}": hash_image(path) for name, path in case.channels.items()})
        caution = caution_of(case, self.kept.inputs, self.taught)
        return judged if caution is None else replace(judged, warnings=(*judged.warnings, caution))

    def _later(self, path: Path) -> Path:
        """Return what a path in the folder being filled will be called."""
        return self.kept.place.out / path.relative_to(self.folder)

    def _store(self, prediction: Prediction, seconds: Seconds) -> list[Path]:
        """Write the mask of one case, and its panel; return the paths, the mask's first."""
        case, names = prediction.case, self.model.plan.task.label_names
        paths = [self.folder / f"{case.name}{ending_of(case)}"]
        with timed(seconds, "store"):
            write_label(paths[0], prediction.label)
            if case.name in self.kept.panels:
                paths.append(self.folder / "panels" / f"{case.name}.npz")
                write_case_panel(paths[1], case, prediction.label, prediction.targets, _truth(prediction), names)
        return paths


def _read(
    model: Model,
    case: Case,
    options: Mapping[str, Any],
    first: Engine | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Prepared, Seconds]:
    """Read a case and prepare it, and say how long that took; `tell` hears of the windows of a cascade's first stage."""
    seconds, exact = Seconds(), bool(options["exact"])
    with timed(seconds, "prepare"):
        mirror = exact or options["uncertainty"] == "tta"
        return prepare_stage(model, case, first=first, mirror=mirror, exact=exact, tell=tell), seconds


@contextlib.contextmanager
def _begun(model: Model, cases: Sequence[Case], place: Unfinished, options: Mapping[str, Any]) -> Iterator[Begun]:
    """Read the first case that is not done in a thread of its own, which is not left behind.

    None of a cascade, whose reading waits for an engine.
    """
    known = set(place.names)
    case = next((case for case in cases if case.name not in known), None)
    if case is None or model.previous is not None:
        yield {}
        return
    with ThreadPoolExecutor(1, "striate-begun") as crew:
        yield {case.name: crew.submit(_read, model, case, options)}


def _held(begun: Begun) -> int:
    """Return the bytes that is held of what was begun, once it is read; what went wrong is told when it is its turn."""
    return sum(reading.result()[0].array.nbytes for reading in begun.values() if reading.exception() is None)


def _truth(prediction: Prediction) -> LabelMap | None:
    """Return the truth of a case, to be shown beside its prediction; None where there is none that fits."""
    if prediction.case.label is None:
        return None
    try:
        truth = read_label(prediction.case.label)
    except DataError:
        return None
    return truth if truth.grid.matches(prediction.label.grid) else None


def _engine(
    model: Model, case: Case, grids: Mapping[str, Grid], way: str, others: list[Model], name: str, progress: Progress
) -> Chosen:
    """Return what computes the network, or networks, on these grids; engines are compared on `case`."""
    if way not in ("none", "tta"):
        if name not in (AUTO, "torch"):
            raise UsageError(f"--engine {name}: --uncertainty {way} is computed by torch; leave one of them away.")
        said = list[str]()
        engine = open_uncertain(model, way, others, said.append)
        return _torch(engine, way, said, progress)
    check_way(model, way, others)
    copies = 2 ** len(model.plan.inference.mirror_axes) if way == "tta" else 1
    chosen = choose(model, case, name, macs=lambda: copies * macs_of(model, grids.values()), tell=progress.note)
    if chosen.caution:
        progress.warn(chosen.caution)
    return chosen


def _torch(engine: Engine, way: str, said: Sequence[str], progress: Progress) -> Chosen:
    """Return PyTorch, with the GPU that computes it, or what was `said` of one that cannot, which is noted too, in the reason."""
    for text in said:
        progress.note(text)
    by = gpu_of(engine)
    there = [f"{by} computes it"] if by and not said else []
    return Chosen(engine, "; ".join((f"--uncertainty {way} is computed by it", *there, *said)), {})


def _first(
    model: Model, case: Case, grids: Mapping[str, Grid], way: str, others: list[Model], name: str, progress: Progress
) -> Chosen | None:
    """Return what computes the first stage of a cascade; None where there is none."""
    stage = model.previous
    if stage is None:
        return None
    if others or way not in ("none", "tta"):
        said = list[str]()
        first = open_first(model, way, others, said.append)
        return _torch(first, way, said, progress) if first else None
    return _engine(stage, case, grids, "none", [], name, progress)


def able_of(
    model: Model,
    cases: list[Case],
    headers: Mapping[str, tuple[Grid, int]],
    place: Unfinished,
    options: Mapping[str, Any],
) -> tuple[list[Case], list[MemoryLimitError]]:
    """Return the cases that fit into the memory with the engine that takes least, or are done; and why others do not.

    Raises
    ------
    MemoryLimitError
        When there is none.
    """
    exact, name = bool(options["exact"]), str(options["engine"])
    by_torch = exact or options["uncertainty"] not in ("none", "tta")
    least = "torch" if by_torch else "openvino" if name in (AUTO, "int8") else name
    least = GPU if not exact and name in (AUTO, "torch") and may_spare() else least
    known = set(place.names)
    waiting = [case for case in cases if case.name not in known]
    large = fitting(model, waiting, headers, least, crf=bool(options["crf"]), exact=exact)[2]
    able = [case for case in cases if case.name not in {error.case for error in large}]
    if not able:
        refuse_failed(large, place, cases)
    return able, large


def fitting(
    model: Model,
    cases: Sequence[Case],
    headers: Mapping[str, tuple[Grid, int]],
    engine: Engine | Foreseen | str,
    *,
    crf: bool,
    exact: bool,
) -> tuple[list[Case], list[list[Parts]], list[MemoryLimitError]]:
    """Return the cases that by themselves fit into the memory, what they need (`needs_of`), and why others do not."""
    fit, needs, large = list[Case](), list[list[list[Parts]]](), list[MemoryLimitError]()
    for case in cases:
        try:
            needs.append(needs_of(model, [case], headers, engine, crf=crf, exact=exact))
            fit.append(case)
        except MemoryLimitError as error:
            large.append(error)
    stages = 1 if model.previous is None else 2
    return fit, [[found[stage][0] for found in needs] for stage in range(stages)], large


def needs_of(
    model: Model,
    cases: list[Case],
    headers: Mapping[str, tuple[Grid, int]],
    engine: Engine | Foreseen | str,
    *,
    crf: bool,
    exact: bool,
) -> list[list[Parts]]:
    """Return what each case needs, of a cascade in each stage; refuse what by itself does not fit."""
    name, precision = (engine, None) if isinstance(engine, str) else (engine.name, engine.precision)
    name = GPU if on_gpu(engine) else name
    return [
        [
            check_memory(
                stage.plan, *headers[case.name], stage.facts, f"case {case.name}", stage.folder / PLAN,
                engine=name, precision=precision, crf=crf, exact=exact,
            )
            for case in cases
        ]
        for stage in ((model,) if model.previous is None else (model.previous, model))
    ]  # fmt: skip


def announce(
    model: Model, needs: Sequence[Sequence[Parts]], progress: Progress, *, tta: bool, held: int
) -> tuple[bool, int]:
    """Say what is about to happen; return whether neighbouring cases are worked on at one time, and the memory in all.

    `held` bytes of what is needed are taken already.
    """
    if not needs[0]:
        return False, resident_bytes()
    plan, count, free = model.plan, len(needs[0]), memory_available_bytes() + held
    alone, most = (max(peak_bytes(stage, together=b) for stage in needs) for b in (False, True))
    together = model.previous is None and most <= free  # reading a case of a cascade computes too
    announced = resident_bytes() - held + (most if together else alone) + KEPT_BYTES * count
    copies = f", {2 ** len(plan.inference.mirror_axes)} mirrored copies" if tta and plan.inference.mirror_axes else ""
    short = f"; neighbouring cases at one time would need {show_bytes(most)}, so that one is done after the other"
    short = short if count > 1 and most > free else ""
    progress.note(
        f"{count} case{'s' if count > 1 else ''}, labels {', '.join(plan.targets.names)}{copies};"
        f" memory: up to about {show_bytes(announced)} in all, {show_bytes(free)} free{short}"
    )
    return together, announced


def _record(
    options: dict[str, object],
    model: Model,
    found: list[Prediction],
    kept: Kept,
    watch: Stopwatch,
    more: Mapping[str, Any],
) -> Record:
    folder, known, hashes = kept.place.files, kept.files, kept.inputs
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    written = {name: known.get(name) or hash_file(path) for name, path in paths.items()}
    trained = [p.case.name for p in found if any(caution.code == CODE for caution in p.warnings)]
    facts = {
        "peak_rss_bytes": peak_rss_bytes(), "weights_sha256": model.facts.get("weights_sha256"), **more,
        "cases": {p.case.name: p.facts for p in found},
        **({"regions": model.plan.task.regions} if model.plan.task.regions else {}),
        **({FACT: trained} if trained else {}),
    }  # fmt: skip
    warnings = [caution.message for p in found for caution in p.warnings]
    read = {f"{p.case.name}/{name}": hashes[f"{p.case.name}/{name}"] for p in found for name in p.case.channels}
    record = Record("predict", options=options, inputs=read, outputs=written, facts=facts, warnings=warnings)
    return replace(record, **watch.fields())


def _engines(model: Model, chosen: Chosen | None, first: Chosen | None) -> dict[str, Any]:
    """Return the facts of what computed the network, of a cascade in both stages."""
    return {**({"engine": chosen.to_dict()} if chosen else {}), **_of_first(model, first)}


def _of_first(model: Model, first: Chosen | None) -> dict[str, Any]:
    """Return the facts of a cascade's first stage."""
    if model.previous is None:
        return {}
    known = {"weights_sha256": model.previous.facts.get("weights_sha256")}
    return {"first_stage": {**known, **({"engine": first.to_dict()} if first else {})}}
