"""`Model`: plan, weights and the facts of its making, as a folder that is whole or does not exist.

A model folder holds ``plan.yaml`` (for people to read), ``weights.safetensors`` (never a pickle: opening a model runs
no code), ``model.json`` (label names, reference ranges of the training data, validation measures, hash of the weights)
and ``card.md``; of networks that draw masks or name classes also ``trust.json``, what is known of their limits (`striate.trust`).
`Model.open` reads no weights and needs no torch; `Model.network` does. A model that was exported (`striate.workflows.export`) has
its network in `EXPORTED` or `ONNX` and no weights. The second stage of a cascade holds the model of the first in `PREVIOUS`.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from striate.core.errors import FormatError, ModelError, PlanError, UsageError, expected
from striate.core.files import filling, hash_file, plain, read_json, write_json, write_text
from striate.core.record import versions
from striate.model.card import write_card
from striate.model.weights import check_weights, load_weights, save_weights
from striate.planning.cost import window_cost
from striate.planning.plan import Plan

if TYPE_CHECKING:
    from torch import Tensor, nn

KIND, VERSION = "striate-model", 1
PLAN, WEIGHTS, FACTS, CARD = "plan.yaml", "weights.safetensors", "model.json", "card.md"
EXPORTED = Path("openvino", "exported")
"""Folder of a network that was converted to run without its weights."""
ONNX = "network.onnx"
"""The same as a file for ONNX Runtime."""
PREVIOUS = "previous"
"""Folder of the model whose mask this one also sees: the previous stage of a cascade."""
AGAIN = "Import the cascade again."
TRAIN = "Train one: striate train COHORT --out RUN"


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model on disk.

    Attributes
    ----------
    folder
        Where it lies.
    plan
        Every decision that training and prediction follow.
    facts
        What is known of its making: ``training_subjects``, ``training_cases``, ``reference_ranges`` (channel → measured
        values of the training images), ``validation`` (label → measure → value or summary), ``weights_sha256`` and
        whatever else `save` was given.
    """

    folder: Path
    plan: Plan
    facts: Mapping[str, Any] = field(default_factory=dict)
    _stages: list[Model | None] = field(default_factory=list, init=False, repr=False, compare=False)
    """`previous`, once it was read."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the input channels, in order."""
        return self.plan.task.channels

    @property
    def exported(self) -> bool:
        """Whether there is a converted network in the place of weights."""
        return not (self.folder / WEIGHTS).is_file()

    @property
    def previous(self) -> Model | None:
        """The model of a cascade's first stage, where this one is the second; else None. It is read once.

        Raises
        ------
        ModelError
            When it is missing, broken or of another task, or does not draw the labels that this one sees.
        """
        if not self._stages:
            self._stages.append(self._first_stage())
        return self._stages[0]

    def _first_stage(self) -> Model | None:
        known, folder = self.plan.preparation.previous_labels, self.folder / PREVIOUS
        if not known:
            return None
        found = Model._read(folder, "the first stage of the cascade is needed there", AGAIN)
        if found.plan.task != self.plan.task or found.plan.preparation.previous_labels:
            raise ModelError(
                expected(folder, f"a model that draws {', '.join(found.plan.targets.names)} from {', '.join(found.channels)}",
                         f"the first stage of {self.folder} is needed, which sees and draws the same",
                         AGAIN), path=folder,
            )  # fmt: skip
        drawn = [value for value in sorted(found.plan.task.label_names) if value]
        if known != tuple(value for value in drawn if value in known):
            raise PlanError(
                expected(self.folder / PLAN, f"previous_labels {list(known)}",
                         f"labels that the first stage draws are needed, rising: {', '.join(map(str, drawn))}", AGAIN),
                path=self.folder / PLAN,
            )  # fmt: skip
        return found

    @classmethod
    def open(cls, path: Path | str) -> Model:
        """Open a model folder, or the model inside a run folder.

        Raises
        ------
        ModelError
            When it is missing, incomplete, truncated, of a newer version, or its plan is not valid; likewise its `previous`.
        """
        model = cls._read(Path(path))
        model.previous  # noqa: B018  (refuses a cascade without its first stage)
        return model

    @classmethod
    def _read(cls, path: Path, want: str = "a model or run folder is needed", hint: str = TRAIN) -> Model:
        """Open a model without a look at `previous`; where none is there, say what is wanted and what to do."""
        folder = _find(path, want, hint)
        plan = Plan.read(folder / PLAN)
        try:
            facts = read_json(folder / FACTS, KIND, VERSION)
        except FormatError as error:
            raise ModelError(str(error), path=folder / FACTS) from error
        if not _exported(folder):
            check_weights(folder / WEIGHTS)
        known = {k: v for k, v in facts.items() if k not in ("kind", "schema_version")}
        return cls(folder, plan, known)

    @classmethod
    def save(cls, folder: Path | str, plan: Plan, state_dict: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Model:
        """Write a model folder, whole or not at all; a model that lies there already is replaced.

        Parameters
        ----------
        folder
            Made here; when it exists it must be empty or hold a model.
        plan
            The plan that was followed.
        state_dict
            Name → tensor of the network that ``plan.network`` describes.
        facts
            See `Model.facts`; ``weights_sha256`` and ``label_names`` are added here.

        Raises
        ------
        DataError
            When the folder holds something that is not a model.
        DiskFullError
            When the disk is full.
        """
        folder = Path(folder)
        replaced = (folder / FACTS).is_file()
        target = folder.with_name(f".{os.getpid()}.new.{folder.name}") if replaced else folder
        with filling(target) as beside:
            plan.write(beside / PLAN)
            save_weights(beside / WEIGHTS, state_dict)
            names = {str(value): name for value, name in sorted(plan.task.label_names.items())}
            known = {
                "channels": plan.task.channels, "label_names": names, "regions": plan.task.regions,
                "network": plan.network.name, **_cost(plan),
                "striate_version": versions().get("striate", "unknown"), "date": datetime.now(UTC).date().isoformat(),
                **plain(facts),
                "weights_sha256": hash_file(beside / WEIGHTS),
            }  # fmt: skip
            write_json(beside / FACTS, {"kind": KIND, "schema_version": VERSION, **known})
            write_text(beside / CARD, write_card(plan, known))
        if replaced:
            _replace(folder, target)
        return cls._read(folder)

    def network(self) -> nn.Module:
        """Return the network with its weights, in evaluation mode.

        Raises
        ------
        ModelError
            When the weights are broken or belong to another network than the plan says.
        """
        if self.exported:
            engine = "ONNX Runtime" if (self.folder / ONNX).is_file() else "OpenVINO"
            raise ModelError(
                expected(self.folder, f"{WEIGHTS} is not there: it was exported for {engine}", "the weights are needed",
                         "It serves striate predict alone; for everything else use the model that it was exported from."),
                path=self.folder,
            )  # fmt: skip
        from striate import networks

        choice = self.plan.network
        try:
            network = networks.create(
                choice.name, spatial_dims=choice.spatial_dims, in_channels=self.plan.in_channels,
                out_channels=self.plan.task.outputs.out_channels, **choice.options,
            )  # fmt: skip
        except UsageError as error:
            raise PlanError(f"{self.folder / PLAN}: {error}", path=self.folder / PLAN) from error
        load_weights(self.folder / WEIGHTS, network, str(self.facts.get("weights_sha256", "")))
        return network.eval()


def _cost(plan: Plan) -> dict[str, float]:
    """Return the parameters, and what all layers put out and multiply per voxel of a patch: memory and time go by these."""
    cost, voxels = window_cost(plan), math.prod(plan.inference.patch)
    return {
        "parameters": cost.parameters,
        "activations_per_voxel": round(cost.activations / voxels, 3),
        "macs_per_voxel": round(cost.macs / voxels, 1),
    }


def _exported(folder: Path) -> bool:
    return (folder / EXPORTED).is_dir() or (folder / ONNX).is_file()


def _find(path: Path, want: str, hint: str) -> Path:
    """Return the model folder that `path` is or holds."""
    if not path.exists():
        raise ModelError(expected(path, "there is no such folder", want, hint), path=path)
    if path.is_file():
        raise ModelError(
            expected(path, "it is a file", "a model or run folder is needed", f"Give its folder, {path.parent}.")
        )
    folder = path / "model" if not (path / FACTS).exists() and (path / "model").is_dir() else path
    needed = (PLAN, FACTS) if _exported(folder) else (PLAN, WEIGHTS, FACTS)
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) or "nothing"
        if hint == TRAIN:
            want = f"a model has {PLAN}, {WEIGHTS} and {FACTS}"
            hint = "A run has its model once training has validated for the first time."
        if any((place / "plans.json").is_file() for place in (folder, *folder.glob("*/"))):
            hint = f"It is nnU-Net's: striate import nnunet {shlex.quote(str(folder))} --out MODEL makes a model of it."
        raise ModelError(expected(folder, f"{' and '.join(missing)} missing (found: {found})", want, hint), path=folder)
    return folder


def _replace(old: Path, new: Path) -> None:
    """Put `new` in the place of the model `old`: two renames, then the old one is removed; it stays where the second fails."""
    aside = Path(tempfile.mkdtemp(prefix=f".{old.name}.old.", dir=old.parent)) / old.name
    try:
        old.replace(aside)
        new.replace(old)
    except BaseException:
        if aside.exists() and not old.exists():
            aside.replace(old)
        shutil.rmtree(new, ignore_errors=True)
        raise
    finally:
        if old.exists():
            shutil.rmtree(aside.parent, ignore_errors=True)
