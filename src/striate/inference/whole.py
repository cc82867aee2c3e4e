"""Whole images through a network: probabilities of classes, or reconstructions, sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from striate.core.case import Case
from striate.core.errors import DataError, MemoryLimitError
from striate.core.out_of_memory import ran_out_of_memory
from striate.core.pipeline import OF_ONE
from striate.data.prepare import Prepared
from striate.data.samples import CaseSamples, SampleForm, SampleStore, prepare_samples
from striate.data.time_points import histories
from striate.inference.penultimate import penultimate
from striate.inference.refuse_nan import refuse_nan
from striate.measure.classification import ClassEvaluation
from striate.networks.network import Network
from striate.planning.cost import seen_patch
from striate.planning.plan import Plan

Unable = DataError | MemoryLimitError | MemoryError
"""Why a case cannot be predicted."""

AT_ONCE = 32
"""Images that pass through a network together; more are not faster on a processor and take more memory."""


@dataclass(frozen=True, slots=True)
class WholePrediction:
    """What a network says of one case.

    Attributes
    ----------
    case
        What was looked at.
    probabilities
        (N, K): one row for the case, or for each axial slice that was looked at. Empty for reconstructions.
    slices
        The axial slice of each row, counted from the lowest; empty where the row is the whole case.
    images, reconstructions
        What the network saw (N, C, *size), and what it made of it; reconstructions are None for classes. N is 0 once they
        were let go.
    prepared
        The way back to the files, without the voxels; None for sequences, and where samples come from a store.
    features
        (F,) of `striate.inference.penultimate`, the mean over the samples of the case; None where nobody listened.
    """

    case: Case
    probabilities: NDArray[np.float32]
    slices: tuple[int, ...]
    images: NDArray[np.float32]
    reconstructions: NDArray[np.float32] | None = None
    prepared: Prepared | None = None
    features: NDArray[np.float32] | None = None

    def without_images(self) -> WholePrediction:
        """Return the same, images and reconstructions let go."""
        made = self.reconstructions
        return replace(self, images=self.images[:0].copy(), reconstructions=None if made is None else made[:0].copy())


def form_of(plan: Plan) -> SampleForm:
    """Return what one sample of a plan is."""
    task = plan.task
    return SampleForm(
        size=seen_patch(plan.training.patch, plan.network.spatial_dims),
        slices=task.unit == "slice",
        length=plan.training.length if task.kind == "sequence" else 0,
        classes=task.classes,
        exclusive=not task.multi_label,
        contains=task.targets.sets[task.contains] if task.contains is not None else (),
    )


def through(network: nn.Module, images: NDArray[Any]) -> NDArray[np.float32]:
    """Return what `network` gives for `images` (N, …), a few at a time; it is left in the mode that it came in."""
    was_training = network.training
    network.eval()
    device = next(iter(network.parameters())).device
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), AT_ONCE):
            part = torch.from_numpy(np.asarray(images[start : start + AT_ONCE], dtype=np.float32)).to(device)
            parts.append(network(part).float().cpu().numpy())
    network.train(was_training)
    return np.concatenate(parts)


def probabilities_of(logits: NDArray[np.float32], *, exclusive: bool) -> NDArray[np.float32]:
    """Return softmax over the last axis, or the sigmoid of each."""
    if exclusive:
        grown = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=-1, keepdims=True), dtype=np.float32)
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), dtype=np.float32)


def predict_whole(
    plan: Plan,
    network: nn.Module,
    cases: Sequence[Case],
    *,
    look: Callable[[str, Prepared], None] = lambda name, prepared: None,
    listen: bool = False,
    together: Callable[[bool], None] = lambda full: None,
    spare: Callable[[Case, Unable], None] | None = None,
    model: Path | None = None,
) -> Iterator[WholePrediction]:
    """Predict cases from their files, in order; small ones pass through the network together.

    Where the model reads the examinations of a subject in order, each case is seen after those before it among `cases`.

    Parameters
    ----------
    plan, network
        Of the model.
    cases
        With the files of all channels.
    look
        Is shown each case's name and prepared images.
    listen
        Keep the network's features of each case.
    together
        Called when all cases that passed through the network together were yielded, and the next one is asked for; with whether
        they were as many as can, so that none that comes later would have passed with them.
    spare
        Is told of a case that cannot be read or is too large for the memory, and why; it is left out then. None: that is raised.
    model
        The model's folder, for messages.

    Raises
    ------
    DataError
        When the files cannot be read or do not fit together.
    ModelError
        When the network answers NaN.
    """
    form = form_of(plan)
    before = histories(cases) if form.times else {}

    def prepared(case: Case) -> CaseSamples:
        return prepare_samples(case, plan.preparation, form, before.get(case.name, ()), partial(look, case.name))

    def pairs() -> Iterator[tuple[Case, CaseSamples]]:
        for case in cases:
            try:
                ready = prepared(case)
            except OF_ONE as error:
                if spare is None:
                    raise
                spare(case, error)
                continue
            yield case, ready
            del ready

    yield from predict_samples(plan, network, pairs(), listen=listen, together=together, spare=spare, model=model)


def predict_samples(
    plan: Plan,
    network: nn.Module,
    pairs: Iterable[tuple[Case, CaseSamples]],
    *,
    listen: bool = False,
    together: Callable[[bool], None] = lambda full: None,
    spare: Callable[[Case, Unable], None] | None = None,
    model: Path | None = None,
) -> Iterator[WholePrediction]:
    """Predict the prepared samples of cases as they come; those of small cases pass through the network together.

    With `listen` the network's features of each case are kept; `together`, `spare` and `model` as of `predict_whole`.
    """
    for some in _together(pairs):
        try:
            images = np.concatenate([samples.images for _, samples in some])
            outputs, features = _heard(network, images) if listen else (through(network, images), None)
        except (MemoryError, RuntimeError) as error:
            if spare is None or not ran_out_of_memory(error):
                raise
            for case, _ in some:
                spare(case, MemoryError(str(error)))
            continue
        start = 0
        for case, samples in some:
            own = slice(start, start + len(samples.images))
            start = own.stop
            refuse_nan(outputs[own], samples.images, case.name, model)
            told = _told(plan, case, samples, outputs[own])
            yield told if features is None else replace(told, features=features[own].mean(axis=0))
        together(len(images) >= AT_ONCE)


def _heard(network: nn.Module, images: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return what `through` gives, and the features (N, F); None of a network without a layer that has weights."""
    with penultimate(network) as heard:
        outputs = through(network, images)
    return outputs, np.concatenate(heard) if heard else None


def _together(pairs: Iterable[tuple[Case, CaseSamples]]) -> Iterator[list[tuple[Case, CaseSamples]]]:
    """Yield as many cases at a time as it takes to have `AT_ONCE` samples."""
    waiting: list[tuple[Case, CaseSamples]] = []
    for pair in pairs:
        waiting.append(pair)
        if sum(len(samples.images) for _, samples in waiting) >= AT_ONCE:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _told(plan: Plan, case: Case, samples: CaseSamples, found: NDArray[np.float32]) -> WholePrediction:
    """Return what the outputs of a network say of a case."""
    images, planes = samples.images, tuple(p[0] for p in samples.slices if p)
    if plan.task.kind == "reconstruction":
        return WholePrediction(case, np.zeros((len(found), 0), np.float32), planes, images, found, samples.prepared)
    chances = probabilities_of(found, exclusive=not plan.task.multi_label)
    if plan.task.kind == "sequence" and plan.task.unit == "case":  # examinations: the last is the case
        return WholePrediction(case, chances[:, -1], (), images[:, -1])
    if plan.task.kind == "sequence":
        images, chances, planes = _merged(images, chances, samples.slices)
    return WholePrediction(case, chances, planes, images)


def _merged(
    images: NDArray[np.float32], chances: NDArray[np.float32], slices: Sequence[tuple[int, ...]]
) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, ...]]:
    """Average, for each slice, what the windows that hold it say (N, T, K) → (D, K)."""
    sums: dict[int, list[NDArray[np.float32]]] = {}
    seen: dict[int, NDArray[np.float32]] = {}
    for window, said, planes in zip(images, chances, slices, strict=True):
        for image, row, plane in zip(window, said, planes, strict=True):
            sums.setdefault(plane, []).append(row)
            seen[plane] = image
    order = tuple(sorted(sums))
    return np.stack([seen[k] for k in order]), np.stack([np.mean(sums[k], axis=0) for k in order]), order


def whole_validator(plan: Plan, store: SampleStore, cases: Sequence[str]) -> Callable[[nn.Module], dict[str, float]]:
    """Return a function from a network to measures on `cases` while it learns; without cases it returns nothing.

    Classes: ``balanced_accuracy``, ``accuracy`` and ``macro_auc`` over all samples. Reconstructions: ``mse`` and ``psnr_db``
    against the range of the images. `store` holds images, or fixed features that a read-out takes.
    """
    rows = store.of(cases)
    parts = [rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)]

    def validate(network: nn.Module) -> dict[str, float]:
        if len(rows) == 0:
            return {}
        learned: nn.Module = network
        if isinstance(network, Network) and network.fixed_features:
            learned = network.readout
        if plan.task.kind == "reconstruction":
            return _errors(learned, (np.asarray(store.images[part], dtype=np.float32) for part in parts))
        found = np.concatenate([through(learned, store.images[part]) for part in parts])
        chances = probabilities_of(found, exclusive=not plan.task.multi_label)
        truth = store.truth[rows]
        if plan.task.kind == "sequence" and plan.task.unit == "case":
            chances, truth = chances[:, -1], truth[:, -1]
        elif plan.task.kind == "sequence":
            chances, truth = chances.reshape(-1, chances.shape[-1]), truth.reshape(-1, *truth.shape[2:])
        wanted = truth.astype(bool) if plan.task.multi_label else truth
        measured = ClassEvaluation.of(plan.task.classes, wanted, chances, ["all"] * len(truth), draws=0)
        overall = measured.summary["overall"]
        values = {name: overall[name].value for name in ("balanced_accuracy", "accuracy", "macro_auc")}
        return {name: float(value) for name, value in values.items() if value is not None}

    return validate


def _errors(network: nn.Module, parts: Iterable[NDArray[np.float32]]) -> dict[str, float]:
    """Return ``mse`` and ``psnr_db`` over all images, which come in parts (N, C, *size)."""
    squares, count, low, high = 0.0, 0, np.inf, -np.inf
    for images in parts:
        squares += float(np.sum((images - through(network, images)) ** 2, dtype=np.float64))
        count += images.size
        low, high = min(low, float(images.min())), max(high, float(images.max()))
    mse, width = squares / count, max(high - low, 1e-12)
    return {"mse": mse, "psnr_db": float(10 * np.log10(width**2 / max(mse, 1e-12)))}
