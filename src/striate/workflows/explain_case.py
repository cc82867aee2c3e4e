"""What of one case is explained: the case is prepared and predicted once, and each target becomes a scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from striate.core.case import Case
from striate.data.prepare import Prepared
from striate.explaining.layers import layer_named
from striate.explaining.scene import Scene, on_working_grid
from striate.explaining.score import not_in_place
from striate.explaining.target import Target, class_target, mask_targets, prepared_for
from striate.inference.cascade import open_first
from striate.inference.engines import Engine
from striate.inference.predict import predict_case
from striate.inference.whole import predict_whole
from striate.model.model import Model
from striate.planning.plan import Plan
from striate.workflows.explain_time import UNLIMITED, Allowance


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A model that is explained, made ready.

    Attributes
    ----------
    model
        Which.
    network
        Its own; of a cascade that of the second stage.
    first
        Engine of a cascade's first stage; None for other models.
    """

    model: Model
    network: nn.Module
    first: Engine | None

    @classmethod
    def of(cls, model: Model, tell: Callable[[str], None] = lambda note: None) -> Opened:
        """Load what computes `model`; `tell` is told where a GPU is there that cannot.

        Raises
        ------
        ModelError
            When its weights are broken or not there.
        """
        return cls(model, not_in_place(model.network()), open_first(model, "none", tell=tell))

    @property
    def plan(self) -> Plan:
        """The model's."""
        return self.model.plan

    def prepared(self, case: Case) -> Prepared:
        """Return `case` as the network sees it."""
        return prepared_for(self.model, case, self.first)


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One case with what is explained of it.

    Attributes
    ----------
    case
        Which.
    prepared
        As the network sees it.
    masks
        Names of its channels that are no images: one per label of a cascade's first stage, the last ones.
    targets, scenes
        What is explained; one scene each.
    predicted
        Label → (*grid) bool on the working grid, all that was predicted of it; empty for classes.
    notes
        What a reader should know, as sentences.
    """

    case: Case
    prepared: Prepared
    masks: tuple[str, ...]
    targets: list[Target]
    scenes: list[Scene]
    predicted: dict[str, NDArray[np.bool_]]
    notes: list[str]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of all channels that the network sees."""
        return (*self.case.channels, *self.masks)


@dataclass(frozen=True, slots=True)
class Ask:
    """What of a case is to be explained; see `striate.workflows.explain.explain`."""

    label: str | None = None
    lesion: int | None = None
    whole: bool = False
    plane: int | None = None
    layer: str | None = None


def look_at(opened: Opened, case: Case, ask: Ask, allowance: Allowance = UNLIMITED) -> Look:
    """Predict a case and choose what is explained.

    Raises
    ------
    UsageError
        When there is no such label, lesion, slice or layer.
    DataError
        When the case cannot be read, or nothing was found in it.
    TimeLimitError
        As soon as it is known that `allowance` does not suffice.
    """
    plan, network, prepared = opened.plan, opened.network, opened.prepared(case)
    allowance.refuse()
    notes, predicted = list(prepared.notes), {}
    if plan.task.kind == "segmentation":
        mask = predict_case(plan, case, network=network, prepared=prepared, tell=allowance.telling()).label
        targets = mask_targets(plan, case.name, mask, ask.label, ask.lesion, whole=ask.whole)
        for target in targets:
            predicted[target.label] = on_working_grid(plan.targets.mask(mask.array, target.label), prepared)
        left = [name for name in plan.targets.names if ask.label is None and name not in predicted]
        notes += [f"{case.name}: no voxel of {name} was predicted; it is not explained." for name in left]
    else:
        targets = [class_target(plan, next(iter(predict_whole(plan, network, [case]))), ask.label, ask.plane)]
    scenes = [target.scene(plan, network, prepared).looking_at(ask.layer) for target in targets]
    allowance.refuse(sum(len(scene.score.tiles) for scene in scenes))
    if ask.layer is not None:
        layer_named(network, ask.layer, scenes[0].first_tile)
    masks = tuple(f"previous label {value}" for value in plan.preparation.previous_labels)
    return Look(case, prepared, masks, targets, scenes, predicted, notes)
