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
from striate.measure.evaluation import Evaluation
from striate.measure.forgetting import MOST
from striate.model.model import Model
from striate.networks.network import Network
from striate.planning.plan import Plan
from striate.training import distributed
from striate.training.gpu import device
from striate.training.loop import initialise
from striate.training.run import EARLIER, Run
from striate.trust.evidence import CaseEvidence
from striate.trust.reference import reference
from striate.trust.trust import Trust
from striate.workflows.held_out import HeldOut
from striate.workflows.referred import reference_s, referred, voxels

SECONDS_PER_VOXEL = 9e-7
"""Seconds per voxel and case for reading, restoring, writing, measuring and the panel of a validation case; measured."""


class Masks:
    """See `striate.workflows.material.Material`."""

    def __init__(self, run: Run, plan: Plan, split: Split) -> None:
        self.run, self.plan, self.split = run, plan, split
        self.store = PatchStore.open(run / "cache")
        self.inputs, self.notes, self.fitted_by = self.store.inputs, self.store.notes, dict[str, str]()

    @staticmethod
    def build(run: Run, plan: Plan, split: Split, cohort: Cohort, progress: Progress) -> None:
        """Prepare all cases."""
        cases = [cohort.case(name) for name in (*split.train, *split.validation)]
        PatchStore.build(cases, plan.preparation, plan.targets, run / "cache", progress)

    def loader(self, step: int, network: Network) -> Loader:
        """Open the batches from `step` on."""
        t = self.plan.training
        known = set(self.split.earlier)
        fresh, rehearsed = (tuple(n for n in self.split.train if (n in known) == old) for old in (False, True))
        sampling = Sampling(fresh, t.patch, t.batch, t.foreground, t.seed, t.augmentation, rehearsed)
        most = distributed.cores_each()
        return Loader(
            self.store,
            sampling,
            start_step=step,
            workers=t.workers,
            rank=distributed.rank(),
            most=most,
        )

    def organise(self, network: Network) -> None:
        """Nothing: no network that draws masks learns without a teacher."""

    def validator(self) -> Callable[[nn.Module], dict[str, float]]:
        """Return Dice on whole volumes."""
        return validator(self.plan, self.store, self.split.validation)

    def reserve_s(self) -> float:
        """Return the seconds for the validation cases; one window's pace is measured with the untrained network."""
        cohort = Cohort.open(self.run.cohort)
        network, first = initialise(self.plan).eval(), self.store[self.split.train[0]]
        if device().type == "cuda":  # its first windows take longer than all others
            predict_classes(self.plan, network, first.images.astype("float32"))
        begin = time.monotonic()
        predict_classes(self.plan, network, first.images.astype("float32"))
        pace, total = (time.monotonic() - begin) / first.classes.size, 0.0
        for name in self.split.validation:
            total += pace * math.prod(self.store.shape(name)) + SECONDS_PER_VOXEL * voxels(cohort, name)
        if (self.run / EARLIER).is_dir():
            total *= 1 + MOST
        return total + reference_s(cohort, referred(cohort, self.split.train))

    def validate(self, model: Model, progress: Progress) -> Evaluation | None:
        """Predict the validation cases on their own grid, measure them, and write what that says of the model's limits."""
        engine, cohort = engine_of(model, tell=progress.note), Cohort.open(self.run.cohort)
        self.fitted_by = {"name": engine.name, "precision": engine.precision}
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
        cohort = Cohort.open(self.run.cohort)
        names = referred(cohort, self.split.train)
        seen = reference(model.plan, engine, [cohort.case(name) for name in names])
        trust = Trust.fit(
            evidence, list(each(progress, "Reference", seen, len(names))),
            weights_sha256=str(model.facts.get("weights_sha256", "")),
        )  # fmt: skip
        trust.write(model.folder)
        for sentence in trust.limits:
            progress.note(sentence)
        return trust
