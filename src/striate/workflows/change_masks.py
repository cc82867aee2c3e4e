"""Where `change` has its masks from: a model draws them, an earlier `predict` drew them, or they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from striate.core.case import Case
from striate.core.errors import GeometryError, ModelError, UsageError, expected
from striate.core.files import hash_file
from striate.core.image import LabelMap
from striate.core.progress import Progress
from striate.core.record import Record
from striate.core.targets import Targets
from striate.inference.cascade import open_first
from striate.inference.engines.uncertainty import made_by, open_uncertain
from striate.io.read import is_image, read_header, read_label, stem
from striate.measure.finding import CaseFindings
from striate.measure.findings import Findings
from striate.model.model import Model
from striate.trust.belief import beliefs
from striate.trust.examine import examine
from striate.workflows.judge import Judge

KEPT = 2
"""Examinations that are held in memory: a later one is the earlier one of the next pair."""


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """One examination with its mask.

    Attributes
    ----------
    label
        On the grid of its images.
    findings
        With intervals and need for review, where they are known.
    belief
        Label or region → probability (*grid); empty where the mask was not drawn here.
    """

    label: LabelMap
    findings: CaseFindings
    belief: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


class Masks(Protocol):
    """Where masks come from.

    Attributes
    ----------
    targets
        What their values mean.
    limits
        What is not known of them, in sentences.
    read
        Name → SHA-256 of each file of masks that was read.
    """

    targets: Targets
    limits: list[str]
    read: dict[str, str]

    def of(self, case: Case) -> Masked:
        """Return the mask of a case."""
        ...


class DrawnMasks:
    """Masks of a model; those that `predict` wrote into a folder are taken from there."""

    def __init__(self, model: Model, progress: Progress, predictions: Path | None = None) -> None:
        self.model, self.targets, self.read = model, model.plan.targets, dict[str, str]()
        sha = str(model.facts.get("weights_sha256", ""))
        self.engine = open_uncertain(model, "none", tell=progress.note)
        self.first = open_first(model, "none", tell=progress.note)
        self.judge = Judge(model, made_by("none"), progress)
        self.limits = self.judge.limits
        self.stored = {} if predictions is None else _stored(predictions, sha)
        self._held: dict[str, Masked] = {}

    def of(self, case: Case) -> Masked:
        """Return the mask of a case."""
        if case.name not in self._held:
            while len(self._held) >= KEPT:
                del self._held[next(iter(self._held))]
            self._held[case.name] = self._stored(case) or self._drawn(case)
        return self._held[case.name]

    def _drawn(self, case: Case) -> Masked:
        prediction, evidence = examine(self.model, case, engine=self.engine, first=self.first)
        return Masked(
            prediction.label, self.judge.findings(prediction, evidence), beliefs(prediction, self.judge.fitted)
        )

    def _stored(self, case: Case) -> Masked | None:
        path, findings = self.stored.get(case.name, (None, None))
        if path is None or findings is None:
            return None
        label = _on_grid(path, case)
        self.read[f"{case.name}/mask"] = hash_file(path)
        return Masked(label, findings)


def _stored(folder: Path, sha: str) -> dict[str, tuple[Path, CaseFindings]]:
    """Return case → its mask and findings in a folder of `predict`, of the same weights.

    Raises
    ------
    FormatError
        When the folder is none of `predict`.
    ModelError
        When another model drew the masks.
    """
    record = Record.read(folder / "record.json")
    drew = str(record.facts.get("weights_sha256") or "")
    if drew != sha:
        raise ModelError(
            expected(folder, f"masks of a model with weights {drew[:12] or 'unknown'}…",
                     f"masks of this model ({sha[:12]}…) are needed", "Leave --predictions away."), path=folder,
        )  # fmt: skip
    files = {stem(path): path for path in sorted(folder.iterdir()) if path.is_file() and is_image(path)}
    return {case.case: (files[case.case], case) for case in Findings.read(folder).cases if case.case in files}


class GivenMasks:
    """Masks that the user has: of a person, or of another program."""

    def __init__(self, masks: Mapping[str, Path], cases: Mapping[str, Case]) -> None:
        self.read = {f"{name}/mask": hash_file(path) for name, path in masks.items()}
        self.limits = ["The masks were given, so nothing is known of how far they can be relied on."]
        others = list(cases.values())
        self._labels = {name: _on_grid(path, cases[name], others) for name, path in masks.items()}
        values = sorted({value for label in self._labels.values() for value in label.values()})
        names = {1: "lesion"} if values in ([], [1]) else {value: f"label {value}" for value in values}
        self.targets = Targets.of_labels(names)

    def of(self, case: Case) -> Masked:
        """Return the mask of a case."""
        label = self._labels[case.name]
        return Masked(label, Findings.of(case.name, label, self.targets).cases[0])


def _on_grid(path: Path, case: Case, others: Any = ()) -> LabelMap:
    """Read a mask that lies on the grid of its images.

    Raises
    ------
    GeometryError
        When it lies elsewhere; when that is another examination's place, that is said.
    """
    label = read_label(path)
    grid = read_header(next(iter(case.channels.values()))).grid
    if label.grid.matches(grid):
        return label
    hint = "Give the mask that was drawn on this image."
    for other in others:
        if other.name != case.name and label.grid.matches(read_header(next(iter(other.channels.values()))).grid):
            hint = f"It lies on the grid of {other.name}: are the masks exchanged?"
    raise GeometryError(
        expected(f"case {case.name}", f"mask {path.name} of shape {label.grid.shape}, axes {label.grid.axes}",
                 f"the grid of its image is needed (shape {grid.shape}, axes {grid.axes}, same place)", hint),
        case=case.name, path=path,
    )  # fmt: skip


def refuse_other_models(model: Model) -> None:
    """Refuse a model that draws no masks in 3D scans.

    Raises
    ------
    UsageError
        With what it does.
    """
    dims, kind = len(model.plan.preparation.spacing_mm), model.plan.task.kind
    if kind != "segmentation" or dims != 3:
        told = f"the model does {kind} of {dims}D images"
        raise UsageError(expected("change", told, "one that draws masks in 3D scans is needed"))
