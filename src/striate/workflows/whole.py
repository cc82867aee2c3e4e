"""A run that learns from whole images: classes, sequences of slices, reconstructions."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from striate.core.files import filling
from striate.core.progress import Progress, each
from striate.data.cohort import Cohort
from striate.data.draw_samples import SampleSampling
from striate.data.loader import Loader
from striate.data.samples import CaseSamples, SampleStore
from striate.data.split import Split
from striate.data.time_points import histories
from striate.inference.whole import (
    WholePrediction,
    form_of,
    predict_samples,
    through,
    whole_validator,
)
from striate.measure.class_table import ClassTable
from striate.measure.reconstruction import CaseReconstruction, ReconstructionEvaluation, reconstruction_measures
from striate.model.model import Model
from striate.networks.network import Network
from striate.planning.plan import Plan
from striate.reporting.sample_panel import choose, spread, upright, write_samples, write_triples
from striate.training import distributed
from striate.training.features import feature_store, organise
from striate.training.gpu import device
from striate.training.loop import initialise
from striate.training.run import Run
from striate.trust.class_evidence import ClassEvidence
from striate.trust.class_trust import ClassTrust
from striate.workflows.class_limits import LIMITS_S, NAMING, evidence_of, findings_of, seen_cases, seen_in_training
from striate.workflows.material import Measured
from striate.workflows.referred import reference_s


class WholeImages:
    """See `striate.workflows.material.Material`."""

    def __init__(self, run: Run, plan: Plan, split: Split) -> None:
        self.run, self.plan, self.split = run, plan, split
        self.store = SampleStore.open(run / "cache")
        self.inputs, self.notes, self.fitted_by = self.store.inputs, self.store.notes, dict[str, str]()
        self._features: SampleStore | None = None

    @staticmethod
    def build(run: Run, plan: Plan, split: Split, cohort: Cohort, progress: Progress) -> None:
        """Prepare all cases."""
        cases = [cohort.case(name) for name in (*split.train, *split.validation)]
        form = form_of(plan)
        before = histories(cohort.cases) if form.times else {}
        SampleStore.build(cases, plan.preparation, form, run / "cache", progress, before)

    def loader(self, step: int, network: Network) -> Loader:
        """Open the batches from `step` on: images, or the features that a read-out learns from."""
        t, store, augmentation = self.plan.training, self.store, self.plan.training.augmentation
        if network.fixed_features:
            store = self._features = feature_store(network, self.store, self.run / "features")
        sampling = SampleSampling(
            self.split.train, t.batch, t.balanced, t.seed, None if network.fixed_features else augmentation
        )
        most = distributed.cores_each()
        return Loader(store, sampling, start_step=step, workers=t.workers, rank=distributed.rank(), most=most)

    def organise(self, network: Network) -> None:
        """Let a fresh network learn what it learns without a teacher."""
        organise(network, self.store, self.split.train, self.plan.training.seed)

    def validator(self) -> Callable[[nn.Module], dict[str, float]]:
        """Return the function that measures a network while it learns."""

        def validate(network: nn.Module) -> dict[str, float]:
            return whole_validator(self.plan, self._features or self.store, self.split.validation)(network)

        return validate

    def reserve_s(self) -> float:
        """Return the seconds for the validation cases; the pace is measured with the untrained network."""
        rows = self.store.of(self.split.validation)
        network, some = initialise(self.plan).eval(), rows[: min(8, len(rows))]
        if device().type == "cuda":  # its first images take longer than all others
            through(network, self.store.images[some])
        begin = time.monotonic()
        through(network, self.store.images[some])
        pace, cohort = (time.monotonic() - begin) / max(1, len(some)), Cohort.open(self.run.cohort)
        if self.plan.task.kind not in NAMING:
            return pace * len(rows)
        seen = [case.name for case in seen_cases(self.plan, cohort, self.split.train)]
        limits_s = reference_s(cohort, seen) + LIMITS_S * len(seen) ** 2 * self.store.channels
        return pace * (len(rows) + len(self.store.of(seen))) + limits_s

    def validate(self, model: Model, progress: Progress) -> Measured | None:
        """Predict the validation cases from the prepared images, measure them, and write the limits of a classifier."""
        network, cohort = model.network(), Cohort.open(self.run.cohort)
        pairs = ((cohort.case(name), self._samples(name)) for name in self.split.validation)
        told = predict_samples(self.plan, network, pairs)
        found, measured = [], []
        for prediction in each(progress, "Validation", told, len(self.split.validation)):
            if self.plan.task.kind == "reconstruction":
                measured.append(measure_case(prediction))
            found.append(prediction.without_images())
        shutil.rmtree(self.run / "validation", ignore_errors=True)
        if self.plan.task.kind == "reconstruction":
            with filling(self.run / "validation") as folder:
                return write_reconstructions(folder, measured, found, self.plan, network, self._samples)
        evidence = [evidence_of(self.plan, one, self._truth) for one in found]
        trust = self._limits(model, network, evidence, progress)
        if not found:
            return None
        with filling(self.run / "validation") as folder:
            findings_of(trust, [trust.assess(one, images=False) for one in evidence]).write(folder)
            table = class_table(self.plan, found, self._truth)
            table.write(folder)
            evaluation = table.evaluate(seed=self.plan.training.seed)
            evaluation.write(folder)
            write_gallery(folder, table, self._shown)
        return evaluation

    def _limits(
        self, model: Model, network: nn.Module, evidence: list[ClassEvidence], progress: Progress
    ) -> ClassTrust:
        """Fit and write the limits of a classifier: to the validation cases, and to the images of some training cases."""
        task, cohort = self.plan.task, Cohort.open(self.run.cohort)
        seen = seen_cases(self.plan, cohort, self.split.train)
        trust = ClassTrust.fit(
            evidence, task.classes,
            seen_in_training(self.plan, network, seen, progress), exclusive=not task.multi_label,
            weights_sha256=str(model.facts.get("weights_sha256", "")),
        )  # fmt: skip
        trust.write(model.folder)
        for sentence in trust.limits:
            progress.note(sentence)
        return trust

    def _samples(self, case: str) -> CaseSamples:
        """Return the prepared samples of a case."""
        rows = self.store.rows[case]
        images = np.asarray(self.store.images[rows.start : rows.stop], dtype=np.float32)
        return CaseSamples(images, tuple(self.store.slices[row] for row in rows))

    def _shown(self, case: str) -> CaseSamples:
        """Return what pictures show: of the examinations of a subject the last."""
        samples = self._samples(case)
        return replace(samples, images=samples.images[:, -1]) if self.store.form.times else samples

    def _truth(self, case: str, plane: int | None) -> tuple[str, ...]:
        """Return the true classes of a case, or of one of its slices."""
        for row in self.store.rows[case]:
            planes, truth = self.store.slices[row], self.store.truth[row]
            if plane is None or plane in planes:
                if self.store.form.length:
                    truth = truth[-1 if plane is None else planes.index(plane)]
                return names_of(self.plan, truth)
        return ()


def names_of(plan: Plan, truth: NDArray[np.uint8]) -> tuple[str, ...]:
    """Return the classes that the stored truth of one image means."""
    names = plan.task.classes
    return tuple(n for n, t in zip(names, truth, strict=True) if t) if plan.task.multi_label else (names[int(truth)],)


def class_table(
    plan: Plan, found: list[WholePrediction], truth: Callable[[str, int | None], tuple[str, ...] | None]
) -> ClassTable:
    """Return one row for each case, or for each slice of it.

    Parameters
    ----------
    plan
        Of the model.
    found
        What it said.
    truth
        Tells the classes of a case (and slice); None where they are not known.
    """
    rows = [(p, plane) for p in found for plane in (p.slices or (None,))]
    return ClassTable(
        plan.task.classes,
        not plan.task.multi_label,
        tuple(p.case.name for p, _ in rows),
        tuple(p.case.subject for p, _ in rows),
        tuple(plane for _, plane in rows),
        tuple(truth(p.case.name, plane) for p, plane in rows),
        np.concatenate([p.probabilities for p in found]).astype(np.float64),
    )


def write_gallery(folder: Path, table: ClassTable, samples_of: Callable[[str], CaseSamples]) -> None:
    """Write the pictures that the report shows: mistakes and typical right ones.

    Parameters
    ----------
    folder
        Where they go.
    table
        What was said.
    samples_of
        Gives the prepared samples of a case by its name; those of the pictures are asked for, one case at a time.
    """
    rows = [int(row) for row in choose(table)]
    pictures: dict[int, NDArray[np.float32]] = {}
    for case in dict.fromkeys(table.cases[row] for row in rows):
        samples = samples_of(case)
        for row in rows:
            if table.cases[row] == case:
                pictures[row] = _picture(_image_of(samples, table.slices[row]), table.slices[row])
    write_samples(folder, [pictures[row] for row in rows], table, rows, chosen=True)


def write_reconstructions(
    folder: Path,
    measured: list[CaseReconstruction],
    found: list[WholePrediction],
    plan: Plan,
    network: nn.Module,
    samples_of: Callable[[str], CaseSamples],
) -> ReconstructionEvaluation:
    """Write the measures of reconstructions, and pictures; the few cases that are shown are reconstructed again.

    Parameters
    ----------
    folder
        Where they go.
    measured, found
        One for each case; `found` may be without images.
    plan, network
        Of the model.
    samples_of
        Gives the prepared samples of a case by its name.
    """
    evaluation = ReconstructionEvaluation.of(measured)
    evaluation.write(folder)
    rows = [(p.case, place, plane) for p in found for place, plane in enumerate(p.slices or (None,))]
    shown = [rows[row] for row in spread(len(rows))]
    images, made, captions = [], [], []
    for case in dict.fromkeys(case.name for case, _, _ in shown):
        own = [row for row in shown if row[0].name == case]
        again = next(predict_samples(plan, network, [(own[0][0], samples_of(case))]))
        for _, place, plane in own:
            images.append(_picture(again.images[place], plane))
            if again.reconstructions is not None:
                made.append(_picture(again.reconstructions[place], plane))
            captions.append(f"{case}{'' if plane is None else f', slice {plane}'}")
    write_triples(folder, images, made, captions, total=len(rows))
    return evaluation


def measure_case(prediction: WholePrediction) -> CaseReconstruction:
    """Measure the reconstruction of a case: the mean over its samples, for each channel."""
    made = prediction.reconstructions
    channels = {}
    for index, name in enumerate(prediction.case.channels):
        each_one = [
            reconstruction_measures(image[index], again[index])
            for image, again in zip(prediction.images, [] if made is None else made, strict=True)
        ]
        known = {m: [v for v in (one[m] for one in each_one) if v is not None] for m in each_one[0]}
        channels[name] = {m: float(np.mean(values)) if values else None for m, values in known.items()}
    return CaseReconstruction(prediction.case.name, channels, prediction.case.subject)


def _image_of(samples: CaseSamples, plane: int | None) -> NDArray[np.float32]:
    """Return the image (C, *size) of a case, or of one of its slices; any window of a sequence that shows it will do."""
    place = next(n for n, planes in enumerate(samples.slices) if plane is None or plane in planes)
    image: NDArray[np.float32] = samples.images[place]
    if plane is not None and image.ndim == 4:
        image = image[samples.slices[place].index(plane)]
    return image


def _picture(image: NDArray[np.float32], plane: int | None) -> NDArray[np.float32]:
    """Return the first channel of (C, *S), upright; of a volume the middle axial slice."""
    scan = plane is not None or image.ndim == 4
    flat = image[0] if image.ndim == 3 else image[0, ..., image.shape[3] // 2]
    return np.asarray(upright(flat, oriented=scan), dtype=np.float32)
