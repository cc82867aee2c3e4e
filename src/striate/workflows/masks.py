"""A run that learns masks: patches of prepared scans, Dice on whole volumes, findings of the validation cases."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from torch import nn

from striate.core.files import filling
from striate.core.progress import Progress, each
from striate.data.cohort import Cohort
from striate.data.loader import Loader
from striate.data.patches import Sampling
from striate.data.split import Split
from striate.data.store import PatchStore
from striate.inference.predict import engine_of, predict_case, predict_classes
from striate.inference.validate import validator
from striate.io.read import read_header, read_label
from striate.io.write import write_label
from striate.measure.evaluation import CaseEvaluation, Evaluation, evaluate_pair
from striate.measure.findings import Findings
from striate.model.model import Model
from striate.networks.network import Network
from striate.planning.plan import Plan
from striate.reporting.panel import write_case_panel
from striate.training import distributed
from striate.training.loop import initialise
from striate.training.run import Run

SECONDS_PER_VOXEL = 9e-7
"""Seconds per voxel and case for reading, restoring, writing, measuring and the panel of a validation case; measured."""


class Masks:
    """See `striate.workflows.material.Material`."""

    def __init__(self, run: Run, plan: Plan, split: Split) -> None:
        self.run, self.plan, self.split = run, plan, split
        self.store = PatchStore.open(run / "cache")
        self.inputs, self.notes = self.store.inputs, self.store.notes

    @staticmethod
    def build(run: Run, plan: Plan, split: Split, cohort: Cohort, progress: Progress) -> None:
        """Prepare all cases."""
        cases = [cohort.case(name) for name in (*split.train, *split.validation)]
        PatchStore.build(cases, plan.preparation, plan.targets, run / "cache", progress)

    def loader(self, step: int, network: Network) -> Loader:
        """Open the batches from `step` on."""
        t = self.plan.training
        sampling = Sampling(self.split.train, t.patch, t.batch, t.foreground, t.seed, t.augmentation)
        return Loader(self.store, sampling, start_step=step, workers=t.workers, rank=distributed.rank())

    def organise(self, network: Network) -> None:
        """Nothing: no network that draws masks learns without a teacher."""

    def validator(self) -> Callable[[nn.Module], dict[str, float]]:
        """Return Dice on whole volumes."""
        return validator(self.plan, self.store, self.split.validation)

    def reserve_s(self) -> float:
        """Return the seconds for the validation cases; one window's pace is measured with the untrained network."""
        cohort = Cohort.open(self.run.cohort)
        network, first = initialise(self.plan).eval(), self.store[self.split.validation[0]]
        begin = time.monotonic()
        predict_classes(self.plan, network, first.images.astype("float32"))
        pace, total = (time.monotonic() - begin) / first.classes.size, 0.0
        for name in self.split.validation:
            header = read_header(next(iter(cohort.case(name).channels.values())))
            total += pace * math.prod(self.store.shape(name)) + SECONDS_PER_VOXEL * math.prod(header.grid.shape)
        return total

    def validate(self, model: Model, progress: Progress) -> Evaluation:
        """Predict the validation cases on their own grid and measure them against the truth."""
        plan, engine, names = model.plan, engine_of(model), model.plan.task.label_names
        cohort, measured, found = Cohort.open(self.run.cohort), list[CaseEvaluation](), list[Findings]()
        shutil.rmtree(self.run / "validation", ignore_errors=True)
        with filling(self.run / "validation") as folder:
            for name in each(progress, "Validation", self.split.validation, len(self.split.validation)):
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
