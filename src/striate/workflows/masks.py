"""A run that learns masks: patches of prepared scans, Dice on whole volumes, findings of the validation cases, its limits."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable

from torch import nn

from striate.core.files import filling
from striate.core.progress import Progress, each
from striate.data.cohort import Cohort
from striate.data.loader import Loader
from striate.data.patches import Sampling
from striate.data.split import Split
from striate.data.store import PatchStore
from striate.inference.engines import Engine
from striate.inference.predict import engine_of, predict_classes
from striate.inference.validate import validator
from striate.io.read import read_header
from striate.measure.evaluation import Evaluation
from striate.model.model import Model
from striate.networks.network import Network
from striate.planning.plan import Plan
from striate.training import distributed
from striate.training.loop import initialise
from striate.training.run import Run
from striate.trust.evidence import CaseEvidence
from striate.trust.reference import reference
from striate.trust.trust import Trust
from striate.workflows.held_out import HeldOut

SECONDS_PER_VOXEL = 9e-7
"""Seconds per voxel and case for reading, restoring, writing, measuring and the panel of a validation case; measured."""
REFERENCE_S_PER_VOXEL = 3e-7
"""The same for the facts of a training case that the input gate is fitted to."""
REFERENCE_S = 30.0
"""Time for these facts, but at least `LEAST_REFERENCE` cases."""
LEAST_REFERENCE, MOST_REFERENCE = 20, 60


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
        cohort, referred = Cohort.open(self.run.cohort), self._referred()
        network, first = initialise(self.plan).eval(), self.store[self.split.train[0]]
        begin = time.monotonic()
        predict_classes(self.plan, network, first.images.astype("float32"))
        pace, total = (time.monotonic() - begin) / first.classes.size, 0.0
        for name in self.split.validation:
            total += pace * math.prod(self.store.shape(name)) + SECONDS_PER_VOXEL * _voxels(cohort, name)
        return total + REFERENCE_S_PER_VOXEL * sum(_voxels(cohort, name) for name in referred)

    def validate(self, model: Model, progress: Progress) -> Evaluation | None:
        """Predict the validation cases on their own grid, measure them, and write what that says of the model's limits."""
        engine, cohort = engine_of(model), Cohort.open(self.run.cohort)
        shutil.rmtree(self.run / "validation", ignore_errors=True)
        if not self.split.validation:
            self._limits(model, engine, [], progress)
            return None
        cases = [cohort.case(name) for name in self.split.validation]
        with filling(self.run / "validation") as folder:
            found = HeldOut.predict(model, engine, cases, folder, progress)
            return found.write(folder, self._limits(model, engine, found.evidence, progress))

    def _limits(self, model: Model, engine: Engine, evidence: list[CaseEvidence], progress: Progress) -> Trust:
        """Fit and write the model's limits: to the validation cases, and to the scans of some training cases."""
        cohort, names = Cohort.open(self.run.cohort), self._referred()
        seen = reference(model.plan, engine, [cohort.case(name) for name in names])
        trust = Trust.fit(
            evidence, list(each(progress, "Reference", seen, len(names))),
            weights_sha256=str(model.facts.get("weights_sha256", "")),
        )  # fmt: skip
        trust.write(model.folder)
        for sentence in trust.limits:
            progress.note(sentence)
        return trust

    def _referred(self) -> list[str]:
        """Return training cases, one per subject, as many as time allows, spread over the cohort."""
        cohort = Cohort.open(self.run.cohort)
        firsts = list({cohort.case(name).subject: name for name in reversed(self.split.train)}.values())[::-1]
        per_case_s = REFERENCE_S_PER_VOXEL * max(1, max(_voxels(cohort, name) for name in firsts[:3]))
        count = min(len(firsts), MOST_REFERENCE, max(LEAST_REFERENCE, int(REFERENCE_S / per_case_s)))
        return [firsts[i * len(firsts) // count] for i in range(count)]


def _voxels(cohort: Cohort, name: str) -> int:
    """Return the voxels of a case's first channel."""
    return math.prod(read_header(next(iter(cohort.case(name).channels.values()))).grid.shape)
