"""`audit`: a model and a cohort → one report that answers the lecture's list of cons with numbers measured on it.

DIR/  audit.json    everything; keys `quality`, `annotation`, `learning_curve` … each with `n_subjects`
      card.md       the model card with what was found
      record.json   what was run
      report.html
      parts/        parts that are finished, so that an interrupted audit goes on; `--resume` does

The budget is shared over the parts, the cheap ones first; what does not fit is named as not done.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from striate.core.errors import DataError, Interrupted, ModelError, StriateError, UsageError, expected
from striate.core.files import hash_file, plain, read_json, write_json, write_text
from striate.core.kinds import kinds
from striate.core.machine import peak_rss_bytes, seconds_of, show_seconds
from striate.core.progress import Progress, Silent
from striate.core.record import Record, Stopwatch
from striate.data.cohort import Cohort
from striate.model.model import PREVIOUS, Model
from striate.reporting.audit import Audit
from striate.training.run import alone
from striate.trust.requirements import Requirement, check, parse
from striate.trust.trust import Trust
from striate.workflows.audit_answers import answers, numbers
from striate.workflows.audit_card import card_part, read_part, text_of
from striate.workflows.audit_cases import Sides
from striate.workflows.audit_cheap import annotation, calibration, cost, coverage, groups, performance
from striate.workflows.unseen import check_labels

DEFAULT_BUDGET = "20m"
LEAST_BUDGET_S = 20.0
SHARES = {
    "measured": 0.3, "explanations": 0.25, "quality": 0.2, "label_errors": 0.2, "learning_curve": 0.2, "adversarial": 0.2,
}  # fmt: skip
"""Parts that take time, in order → share of what is left, relative to the parts that are still to come."""
OVER, LEAST_OVER_S = 1.1, 2.0
"""A part that takes more than this many times its share, and so many seconds, is named with how much that was."""
KEYS = (
    "quality", "annotation", "learning_curve", "cost", "calibration", "coverage", "explanations", "subgroups", "adversarial",
    "card",
)  # fmt: skip
"""Keys of the document that each have ``n_subjects``."""

Part = dict[str, Any]


@dataclass(frozen=True)
class Audited:
    """What `audit` ends with.

    Attributes
    ----------
    folder
        Where everything lies.
    document
        As in ``audit.json``; for a dry run what would be done.
    broken
        Requirements that are not met, in sentences.
    report
        The HTML page; None for a dry run.
    """

    folder: Path
    document: dict[str, Any]
    broken: tuple[str, ...]
    report: Path | None


@kinds
def audit(
    model: Model | Path | str,
    cohort: Path | str,
    *,
    out: Path | str,
    budget: str | None = None,
    require: str | None = None,
    hardened: Model | Path | str | None = None,
    resume: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Audited:
    """Audit a model on cases of a cohort that it has not seen.

    Parameters
    ----------
    model
        A model that draws masks, or the folder of one or of a run.
    cohort
        Cases with masks and whatever is known of them, in any layout. Cases that taught the model are left out of every
        measurement; they are used to refit it, and to judge their masks.
    out
        New folder.
    budget
        Wall-clock time of all parts together, 20 minutes by default.
    require
        Limits such as ``ece<=0.05, coverage>=0.87`` (`striate.trust.requirements.NAMES`).
    hardened
        A model trained with ``--adversarial``, whose curve under attack is set beside the model's.
    resume
        Go on with the audit in `out`: finished parts are kept, others are done with the budget that is left.
    dry_run
        Say what would be done, and do nothing.
    progress
        Who listens; by default nobody.

    Raises
    ------
    UsageError
        When the model draws no masks, a requirement cannot be read, or `resume` does not fit.
    ModelError
        When the channels of the cohort are others than the model's.
    DataError
        When the cohort has no masks or gives another value to a label of the model, or `out` holds something else.
    Interrupted
        After SIGINT or SIGTERM; `resume` goes on.
    """
    progress, watch, out = progress or Silent(), Stopwatch(), Path(out)
    limits = parse(require) if require is not None else ()
    budget_s = seconds_of(budget or DEFAULT_BUDGET)
    if budget_s < LEAST_BUDGET_S:
        raise UsageError(f"--budget {budget}: at least {show_seconds(LEAST_BUDGET_S)} are needed to measure anything.")
    model, other = _models(model, hardened)
    trust = Trust.read(model.folder, str(model.facts.get("weights_sha256", "")))
    opened = Cohort.open(Path(cohort))
    asked = {
        "model": str(model.folder.resolve()), "weights_sha256": model.facts.get("weights_sha256"),
        "cohort": str(Path(cohort).resolve()), "hardened": None if other is None else str(other.folder.resolve()),
    }  # fmt: skip
    _place(out, asked, resume=resume)
    check_labels(model, opened, progress)
    sides = Sides.of(model, opened, progress)
    for note in sides.notes:
        progress.note(note)
    if dry_run:
        return Audited(out, _foreseen(sides, budget_s), (), None)
    out.mkdir(parents=True, exist_ok=True)
    with alone(out):
        work = _Work(model, other, trust, opened, sides, out, budget_s, progress, asked)
        try:
            work.run()
        except (KeyboardInterrupt, Interrupted) as error:
            options = {"--out": out, "--hardened": other and other.folder, "--budget": budget, "--require": require}
            given = [word for name, value in options.items() if value is not None for word in (name, str(value))]
            on = shlex.join(["striate", "audit", str(model.folder), str(cohort), *given, "--resume"])
            raise Interrupted(f"stopped; finished parts are kept, go on with: {on}") from error
        return _finish(work.document(limits), sides, out, watch, progress, budget_s)


def _finish(
    document: dict[str, Any], sides: Sides, out: Path, watch: Stopwatch, progress: Progress, budget_s: float
) -> Audited:
    """Write the document, the card, the record and the page."""
    from striate.workflows.report import report

    write_json(out / Audit.FILE, document)
    title = f"Model card: {', '.join(document['model']['labels'])} from {', '.join(document['model']['channels'])}"
    write_text(out / "card.md", text_of(title, document["card"]["sections"]))
    _record(document, sides, out, watch, progress, budget_s).write(out / "record.json")
    broken = tuple(v["sentence"] for v in document["requirements"] if not v["met"])
    return Audited(out, document, broken, report(out))


def _models(model: Model | Path | str, hardened: Model | Path | str | None) -> tuple[Model, Model | None]:
    """Open the model and the hardened one, and refuse those that cannot be audited.

    Raises
    ------
    UsageError
        When one draws no masks, or is a cascade.
    ModelError
        When the hardened one is of another task.
    """
    first = model if isinstance(model, Model) else Model.open(model)
    other = None if hardened is None else hardened if isinstance(hardened, Model) else Model.open(hardened)
    for one in (first, *([other] if other else [])):
        if one.plan.task.kind != "segmentation":
            raise UsageError(f"audit: the model does {one.plan.task.kind}; a model that draws masks is needed.")
        if one.plan.preparation.previous_labels:
            raise UsageError(
                f"audit: {one.folder} is a cascade; gradients of attacks do not pass through the mask of its first stage, and"
                f" refits train one network. Audit the first stage, which sees images alone: {one.folder / PREVIOUS}"
            )
    if other is not None and (other.channels, other.plan.targets) != (first.channels, first.plan.targets):
        got = f"channels {', '.join(other.channels)}, labels {', '.join(other.plan.targets.names)}"
        raise ModelError(expected(f"--hardened {other.folder}", got, "a model of the same task is needed"))
    return first, other


def _place(out: Path, asked: Mapping[str, Any], *, resume: bool) -> None:
    """Refuse a folder that cannot be written into, or an audit of something else.

    Raises
    ------
    DataError
        When the folder is taken, or there is nothing to go on with.
    UsageError
        When another audit is in it.
    """
    known = (out / "parts" / "asked.json").exists()
    if resume and not known:
        raise DataError(expected(out, "no audit is in it", "the folder of an audit is needed to go on with"), path=out)
    if not resume and out.exists() and (not out.is_dir() or any(out.iterdir())):
        on = " or go on with it: --resume" if known else " or remove it"
        raise DataError(
            expected(out, "it exists and is not empty", "output never overwrites what is there",
                     f"Choose another --out{on}."), path=out,
        )  # fmt: skip
    if resume:
        before = read_json(out / "parts" / "asked.json")
        for key, value in asked.items():
            if before.get(key) != value:
                raise UsageError(f"--resume: the audit in {out} has {key} {before.get(key)}, now it is {value}.")


class _Work:
    """The parts of one audit: each is read where it is finished, else made with its share of the budget."""

    def __init__(
        self, model: Model, hardened: Model | None, trust: Trust | None, cohort: Cohort, sides: Sides, out: Path,
        budget_s: float, progress: Progress, asked: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.model, self.hardened, self.trust, self.cohort, self.sides = model, hardened, trust, cohort, sides
        self.out, self.budget_s, self.progress, self.asked = out, budget_s, progress, asked
        self.places, self.began = out / "parts", time.monotonic()
        self.parts: dict[str, Part] = {}
        self.seconds: dict[str, float] = {}

    def run(self) -> None:
        """Do every part that takes time."""
        self.places.mkdir(exist_ok=True)
        if not (self.places / "asked.json").exists():
            write_json(self.places / "asked.json", dict(self.asked))
        makers = self._makers()
        names = list(SHARES)
        todo = [name for name in names if not self._known(name)]
        for name in names:
            if name not in todo:
                continue
            left = self.budget_s - (time.monotonic() - self.began)
            coming = todo[todo.index(name) :]
            share = max(0.0, left) * SHARES[name] / sum(SHARES[n] for n in coming)
            self.progress.note(
                f"{name.replace('_', ' ')}: up to {show_seconds(share)} of the {show_seconds(max(left, 0.0))} left"
            )
            self._make(name, makers[name], share)
        shutil.rmtree(self.out / "refits", ignore_errors=True)

    def _known(self, name: str) -> bool:
        """Tell whether a part was finished by an earlier call; it is read then."""
        path = self.places / f"{name}.json"
        if not path.exists():
            return False
        found = read_part(path)
        if found.get("status", "done") == "not done":
            return False
        self.parts[name], self.seconds[name] = found, float(found.get("took_s", 0.0))
        return True

    def _make(self, name: str, maker: Callable[[float], Part], seconds: float) -> None:
        start = time.monotonic()
        try:
            found = plain(maker(seconds))
        except Interrupted:
            raise
        except StriateError as error:
            self.progress.warn(f"{name.replace('_', ' ')}: {error}")
            found = {"n_subjects": 0, "absent": str(error), "status": "not done"}
        took = time.monotonic() - start
        over = took - seconds if took > OVER * seconds + LEAST_OVER_S else 0.0
        if over:
            self.progress.note(
                f"{name.replace('_', ' ')}: took {show_seconds(over)} more than its share of {show_seconds(seconds)}"
            )
        self.seconds[name] = round(took, 1)
        self.parts[name] = {**found, "took_s": self.seconds[name], "over_s": over}
        write_json(self.places / f"{name}.json", self.parts[name])

    def _makers(self) -> dict[str, Callable[[float], Part]]:
        from striate.workflows.audit_dear import adversarial, explanations_of, quality, runs_folder
        from striate.workflows.audit_measured import measure_cases
        from striate.workflows.audit_refit import curve, suspects

        unseen, refits = list(self.sides.unseen), runs_folder(self.out)
        fresh = {c.name for c in self.sides.fresh}
        why: Part = {"n_subjects": 0, "absent": self.sides.why_none}

        def seen(make: Callable[[float], Part]) -> Callable[[float], Part]:
            return make if unseen else lambda seconds: dict(why)

        model, trust, progress = self.model, self.trust, self.progress
        return {
            "measured": seen(lambda s: measure_cases(model, trust, unseen, fresh, s, progress)),
            "explanations": seen(lambda s: explanations_of(model, unseen, self._rows, s, progress)),
            "quality": seen(lambda s: quality(model, unseen, trust, s, progress)),
            "adversarial": seen(lambda s: adversarial(model, unseen, self.hardened, s, progress)),
            "label_errors": lambda s: suspects(model, self.cohort, self.sides, self._rows, s, refits, progress),
            "learning_curve": lambda s: curve(model, self.cohort, self.sides, s, refits, progress),
        }

    @property
    def _rows(self) -> list[dict[str, Any]]:
        return list(self.parts["measured"].get("rows") or [])

    def document(self, limits: tuple[Requirement, ...]) -> dict[str, Any]:
        """Return ``audit.json``."""
        measured, rows, model = self.parts["measured"], self._rows, self.model
        why: Part = {
            "n_subjects": 0,
            "absent": measured.get("absent") or self.sides.why_none or "No case could be read.",
        }
        trained = [dict(c.metadata) for c in self.sides.trained]
        columns = list(dict.fromkeys([*self.cohort.columns, *(k for c in self.cohort.cases for k in c.metadata)]))
        columns = [c for c in columns if c not in _NO_GROUPS]
        cheap: dict[str, Part] = {
            "performance": performance(rows) if rows else dict(why),
            "calibration": calibration(rows, self.trust, model) if rows else dict(why),
            "coverage": coverage(rows, self.trust, model) if rows else dict(why),
            "subgroups": groups(rows, columns, trained) if rows else dict(why),
            "cost": cost(measured, model) if rows else dict(why),
            "annotation": annotation(rows)
            if rows
            else {"n_subjects": 0, "sensitivity": {}, "raters": [], "no_raters": ""},
        }
        cheap["annotation"]["label_errors"] = self.parts["label_errors"]
        cheap["annotation"]["n_subjects"] = max(
            cheap["annotation"]["n_subjects"], self.parts["label_errors"]["n_subjects"]
        )
        plan = model.plan
        document: dict[str, Any] = {
            "kind": Audit.KIND, "schema_version": Audit.VERSION,
            "model": {
                **self.asked, "network": plan.network.name, "channels": list(model.channels), "labels": list(plan.targets.names),
                "calibrated": self.trust is not None,
            },
            "cohort": {"name": self.cohort.name, "path": self.asked["cohort"], **self.sides.to_dict()},
            "budget_s": self.budget_s, "spent_s": round(time.monotonic() - self.began, 1), "parts": self._told(),
            "notes": list(measured.get("notes") or []), **cheap,
            **{key: self.parts[key] for key in ("quality", "adversarial", "explanations", "learning_curve")},
            "forgetting": _forgetting(model),
            "card": {"n_subjects": 0, "under_represented": cheap["subgroups"].get("under_represented") or []},
        }  # fmt: skip
        document["answers"] = answers(document)
        document["card"] = card_part(model, self.cohort, document)
        document["answers"] = answers(document)
        document["numbers"] = {
            name: {"value": m.value, "n_subjects": m.n_subjects, "why": m.why if m.value is None else ""}
            for name, m in numbers(document).items()
        }
        document["requirements"] = [v.to_dict() for v in check(limits, numbers(document))]
        return document

    def _told(self) -> dict[str, dict[str, Any]]:
        """Return part → what became of it, and how long it took."""
        told = {}
        for name in SHARES:
            part = self.parts[name]
            status = part.get("status") or ("not done" if part.get("absent") else "done")
            if status == "done" and name == "measured" and len(self._rows) < len(self.sides.unseen):
                status = "partial"
            told[name] = {
                "status": status,
                "seconds": self.seconds[name],
                "over_s": float(part.get("over_s") or 0.0),
                "reason": part.get("absent") or _first(part, status),
            }
        return told


def _forgetting(model: Model) -> dict[str, Any]:
    """Return what the model forgot when it was updated; an audit teaches nothing, so it measures none."""
    known = model.facts.get("update") or {}
    count = (known.get("earlier") or {}).get("subjects", 0)
    return {"n_subjects": count, "verb": "update", "done": count > 0, **known}


def _first(part: Part, status: str) -> str:
    """Return what a part that is not whole says first."""
    return "" if status == "done" else str(next(iter(part.get("notes") or []), ""))


_NO_GROUPS = ("seed", "time", "lesion_ml", "new", "grown", "vanished", "session", "visit", "date")
"""Columns that number examinations or say how a phantom was made, and are no groups of people or scanners."""


def _foreseen(sides: Sides, budget_s: float) -> dict[str, Any]:
    """Return what would be done."""
    left, parts = budget_s, {}
    for name in SHARES:
        coming = list(SHARES)[list(SHARES).index(name) :]
        share = left * SHARES[name] / sum(SHARES[n] for n in coming)
        parts[name] = {"seconds": round(share, 1)}
        left -= share
    return {"cohort": sides.to_dict(), "budget_s": budget_s, "parts": parts}


def _record(
    document: Mapping[str, Any], sides: Sides, out: Path, watch: Stopwatch, progress: Progress, budget_s: float
) -> Record:
    written = {name: hash_file(out / name) for name in (Audit.FILE, "card.md")}
    facts = {
        "peak_rss_bytes": peak_rss_bytes(), "weights_sha256": document["model"]["weights_sha256"],
        "parts": document["parts"], "requirements": document["requirements"],
    }  # fmt: skip
    options = {**document["model"], "budget_s": budget_s, "require": [r["text"] for r in document["requirements"]]}
    record = Record(
        "audit", options=options, seed=0, inputs=sides.hashes, outputs=written, facts=facts, warnings=progress.warnings
    )
    return replace(record, **watch.fields())
