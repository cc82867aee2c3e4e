"""`Folder`: what a run, a prediction, an explanation or an inspection left on disk; what is missing is named, not guessed."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast, get_args

from striate.core.errors import DataError, FormatError, expected
from striate.core.files import read_json
from striate.core.task_kind import TaskKind
from striate.measure import classification, reconstruction
from striate.measure.class_table import FILE as PREDICTIONS
from striate.measure.class_table import ClassTable
from striate.measure.forgetting import FILE as UPDATE
from striate.reporting.numbers import number
from striate.reporting.sample_panel import FILE as SAMPLES
from striate.reporting.sample_panel import Samples

Kind = Literal["run", "prediction", "explanation", "inspection"]
EXPLANATIONS = "explanations.json"
INSPECTION, INSPECTION_KIND, INSPECTION_VERSION = "inspection.json", "striate-inspection", 1
TRIAGE = "triage.json"
_RUN_MARKS = ("plan.yaml", "metrics.csv", "validation", "model")
_PREDICTION_MARKS = ("findings.json", PREDICTIONS, "panels")


class Folder:
    """A RUN folder (as `train` and `calibrate` write it), or that of a prediction, an explanation or an inspection.

    Every document is a plain dict that is empty where its file is missing or broken; `why` then holds the reason, by
    file name, so that a section can state it. `live` says where a page of an inspection asks for more, while it is served.

    Raises
    ------
    DataError
        When the folder does not exist or is none of them.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.why: dict[str, str] = {}
        self.live: dict[str, Any] | None = None
        if not self.path.is_dir():
            raise DataError(
                expected(
                    self.path,
                    "there is no such folder",
                    "a run or a prediction folder is needed",
                    "Make one: striate train COHORT --out RUN",
                ),
                path=self.path,
            )
        self.kind: Kind = self._recognise()

    def _recognise(self) -> Kind:
        if sum((self.path / mark).exists() for mark in _RUN_MARKS) >= 2:
            return "run"
        if (self.path / EXPLANATIONS).exists():
            return "explanation"
        if (self.path / INSPECTION).exists():
            return "inspection"
        if any((self.path / mark).exists() for mark in _PREDICTION_MARKS):
            return "prediction"
        found = ", ".join(sorted(p.name for p in self.path.iterdir())[:8]) or "nothing"
        raise DataError(
            expected(
                self.path,
                f"holds {found}",
                "a run folder (plan.yaml, metrics.csv, validation/) or a prediction folder"
                " (findings.json, predictions.csv) is needed",
                "striate train and striate predict make them.",
            ),
            path=self.path,
        )

    @property
    def calibrated(self) -> bool:
        """Whether `striate calibrate` made it: nothing was learned here, the limits of a finished model were measured."""
        return self.kind == "run" and self.record.get("verb") == "calibrate"

    @property
    def unseen(self) -> bool:
        """Whether the cases of a run or a calibration are known not to have taught the model."""
        return bool(self.model.get("validation_is_unseen", True))

    @property
    def results(self) -> Path:
        """Where masks, findings and panels lie: the folder itself, or ``validation/`` of a run."""
        return self.path / "validation" if self.kind == "run" else self.path

    def _guarded(self, path: Path, read: Callable[[Path], Any], empty: Any) -> Any:
        name = path.relative_to(self.path).as_posix()
        if not path.exists():
            self.why[name] = f"{name} is not in the folder."
            return empty
        try:
            return read(path)
        except (DataError, OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
            text = str(error).replace(f"{self.path}/", "")
            self.why[name] = text if text.startswith(name) else f"{name} cannot be read: {text}"
            return empty

    def _json(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = self._guarded(path, read_json, {})
        return found

    @cached_property
    def record(self) -> dict[str, Any]:
        """The record of the run (``record.json``)."""
        return self._json(self.path / "record.json")

    @cached_property
    def check(self) -> dict[str, Any]:
        """What `check` found before training (``check.json``)."""
        return self._json(self.path / "check.json")

    @cached_property
    def split(self) -> dict[str, Any]:
        """Which cases were trained on and which were held out (``split.json``)."""
        return self._json(self.path / "split.json")

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """Measures against the truth (``evaluation.json`` beside the masks)."""
        return self._json(self.results / "evaluation.json")

    @cached_property
    def findings(self) -> dict[str, Any]:
        """Volumes and lesions (``findings.json`` beside the masks)."""
        return self._json(self.results / "findings.json")

    @cached_property
    def plan(self) -> dict[str, Any]:
        """The plan as plain YAML, of the run or of the model in it."""
        first = self.path / "plan.yaml"
        found: dict[str, Any] = self._guarded(first if first.exists() else self.path / "model" / "plan.yaml", _yaml, {})
        return found

    @cached_property
    def model(self) -> dict[str, Any]:
        """Facts of the trained model (``model/model.json``)."""
        return self._json(self.path / "model" / "model.json")

    @cached_property
    def trust(self) -> dict[str, Any]:
        """What the trained model knows of its limits (``model/trust.json``)."""
        return self._json(self.path / "model" / "trust.json")

    @cached_property
    def update(self) -> dict[str, Any]:
        """What an update learned and forgot (``update.json``)."""
        return self._json(self.path / UPDATE)

    @cached_property
    def explanations(self) -> dict[str, Any]:
        """Why the model said so (``explanations.json``)."""
        return self._json(self.path / EXPLANATIONS)

    @cached_property
    def inspection(self) -> dict[str, Any]:
        """The network's steps on one scan, and the sums that were opened (``inspection.json``)."""
        found: dict[str, Any] = self._guarded(
            self.path / INSPECTION, lambda path: read_json(path, INSPECTION_KIND, INSPECTION_VERSION), {}
        )
        return found

    @cached_property
    def metrics(self) -> list[dict[str, float | None]]:
        """One row per logged training step (``metrics.csv``); cells that are no numbers are None."""
        found: list[dict[str, float | None]] = self._guarded(self.path / "metrics.csv", _rows, [])
        return found

    @cached_property
    def validations(self) -> list[dict[str, float | None]]:
        """One row per validation (``validation.csv``)."""
        found: list[dict[str, float | None]] = self._guarded(self.path / "validation.csv", _rows, [])
        return found

    @cached_property
    def panels(self) -> list[Path]:
        """Panel files, by case name."""
        return sorted((self.results / "panels").glob("*.npz"))

    @cached_property
    def predictions(self) -> ClassTable | None:
        """Predicted classes (``predictions.csv``); None where the file is missing or broken."""
        task = self._task
        exclusive = not task["multi_label"] if isinstance(task.get("multi_label"), bool) else None
        found: ClassTable | None = self._guarded(
            self.results / PREDICTIONS, lambda path: ClassTable.read(path, exclusive=exclusive), None
        )
        return found

    @cached_property
    def samples(self) -> Samples | None:
        """Pictures of whole images (``panels/samples.npz``); None where the file is missing or broken."""
        found: Samples | None = self._guarded(self.results / SAMPLES, Samples.read, None)
        return found

    @cached_property
    def task(self) -> TaskKind:
        """What the network was asked to do, by the plan or the record, else by what lies in the folder."""
        kind = str(self._task.get("kind"))
        told = next((k for k in get_args(TaskKind) if k == kind), None)
        if told is not None:
            return cast("TaskKind", told)
        measured = self.evaluation.get("kind")
        if measured == reconstruction.KIND:
            return "reconstruction"
        if measured == classification.KIND or (self.results / PREDICTIONS).exists():
            return "classification"
        if not (self.results / "findings.json").exists() and self.samples is not None:
            return "reconstruction" if self.samples.form == "triples" else "classification"
        return "segmentation"

    @property
    def classes(self) -> list[str]:
        """Names of the classes: of the plan, else of the measures, else of the predictions."""
        for named in (self._task.get("classes"), self.evaluation.get("classes")):
            if isinstance(named, list) and named:
                return [str(n) for n in named]
        return list(self.predictions.classes) if self.predictions is not None else []

    @property
    def cases(self) -> list[dict[str, Any]]:
        """Findings of each case."""
        found = self.findings.get("cases")
        return [c for c in found if isinstance(c, dict)] if isinstance(found, list) else []

    @cached_property
    def said(self) -> dict[tuple[str, int | None], dict[str, Any]]:
        """Case and slice (None: the whole case) → ``called``, calibrated ``probabilities`` and ``set`` by a classifier's limits.

        Empty where nothing was calibrated.
        """
        found: dict[tuple[str, int | None], dict[str, Any]] = {}
        for case in self.cases:
            slices = case.get("slices")
            for one in slices if isinstance(slices, list) else [case]:
                if isinstance(one, dict) and isinstance(one.get("probabilities"), dict):
                    place = number(one.get("slice"))
                    found[str(case.get("case")), None if place is None else int(place)] = one
        return found

    @property
    def changes(self) -> list[dict[str, Any]]:
        """What changed between visits, one per pair of cases; only `striate change` writes some."""
        found = self.findings.get("changes")
        return [c for c in found if isinstance(c, dict)] if isinstance(found, list) else []

    @cached_property
    def triage(self) -> dict[str, Any]:
        """Whose changes to look at first (``triage.json``)."""
        return self._json(self.path / TRIAGE)

    @property
    def limits(self) -> list[str]:
        """What is not known or not guaranteed of the results, in sentences: of the record, else of the trained model."""
        known = self.model.get("trust") if self.kind == "run" else self.record.get("facts")
        found = known.get("limits") if isinstance(known, dict) else None
        return [str(text) for text in found] if isinstance(found, list) else []

    @property
    def targets(self) -> list[str]:
        """Names of the regions or labels: of the plan, else of the findings; of the classes where images are classified."""
        task = self._task
        if self.task in ("classification", "sequence"):
            return self.classes
        if isinstance(task.get("regions"), dict):
            return [str(n) for n in task["regions"]]
        if isinstance(task.get("label_names"), dict):
            return [str(n) for v, n in task["label_names"].items() if str(v) != "0"]
        per_case = [c["labels"] for c in self.cases if isinstance(c.get("labels"), dict)]
        return list(dict.fromkeys(str(n) for labels in per_case for n in labels))

    @property
    def channels(self) -> list[str]:
        """Names of the channels in the plan."""
        found = self._task.get("channels")
        return [str(n) for n in found] if isinstance(found, list) else []

    @property
    def _task(self) -> dict[str, Any]:
        facts = self.record.get("facts")
        named = (self.plan.get("task"), facts.get("task") if isinstance(facts, dict) else None)
        return next((task for task in named if isinstance(task, dict)), {})


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise FormatError(f"{path}: not readable as YAML ({' '.join(str(error).split())}).", path=path) from error
    if not isinstance(document, dict):
        raise FormatError(f"{path}: holds a {type(document).__name__}, a mapping is needed.", path=path)
    return document


def _rows(path: Path) -> list[dict[str, float | None]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [{str(k): number(v) for k, v in row.items() if k is not None} for row in csv.DictReader(stream)]
