"""`Plan`: every decision needed to train and to predict, each with its reason; a file that people read and edit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from striate import networks
from striate.core.class_set import ClassSet
from striate.core.config import Config
from striate.core.counted import counted
from striate.core.errors import FormatError, PlanError, UsageError, expected
from striate.core.files import write_text
from striate.core.targets import Targets
from striate.core.task_kind import TaskKind
from striate.data.augment import Augmentation
from striate.data.prepare import NORMALISATIONS, Preparation

VERSION = 1


class Task(Config):
    """What is learned from what.

    Attributes
    ----------
    kind
        ``segmentation``: a mask of `label_names` or `regions`. ``classification``: one of `classes` (several, with
        `multi_label`) for each image. ``sequence``: the same for each image of a sequence. ``reconstruction``: the image
        itself.
    channels
        Of the images, in order.
    label_names, regions
        Of masks.
    region_values
        The label value that is written for each of `regions`, a later one over an earlier one where its probability is above
        0.5; None: the most probable combination of regions is written.
    classes, multi_label
        Of images.
    unit
        What one sample is: a whole ``case``, or each axial ``slice`` of its scan.
    contains
        The region of the masks whose presence in a slice is its class; None where classes are given with the cases.
    """

    kind: TaskKind = "segmentation"
    channels: tuple[str, ...]
    label_names: dict[int, str] = Field(default_factory=dict)
    regions: dict[str, tuple[int, ...]] | None = None
    region_values: tuple[PositiveInt, ...] | None = None
    classes: tuple[str, ...] = ()
    multi_label: bool = False
    unit: Literal["case", "slice"] = "case"
    contains: str | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Task:
        if self.kind == "segmentation" and (self.classes or self.unit != "case" or self.contains):
            raise ValueError("segmentation has labels or regions, no classes, no unit 'slice' and no 'contains'")
        if self.kind in ("classification", "sequence") and len(self.classes) < (1 if self.multi_label else 2):
            raise ValueError(f"classes {list(self.classes)}: at least two are needed to tell apart")
        if self.contains is not None and self.contains not in (self.regions or {}):
            raise ValueError(f"contains '{self.contains}' is none of the regions {list(self.regions or {})}")
        if self.region_values is not None and len(self.region_values) != len(self.regions or {}):
            raise ValueError(
                f"region_values {list(self.region_values)}: one for each of the regions {list(self.regions or {})}"
            )
        return self

    @property
    def targets(self) -> Targets:
        """The labels or regions of masks that a network predicts, or whose presence decides the class."""
        if self.regions is None:
            return Targets.of_labels(self.label_names)
        return Targets(self.regions, exclusive=False, region_values=self.region_values)

    @property
    def outputs(self) -> Targets | ClassSet:
        """What the channels of the network's output mean."""
        if self.kind == "segmentation":
            return self.targets
        if self.kind == "reconstruction":
            return ClassSet(self.channels, exclusive=False)
        return ClassSet(self.classes, exclusive=not self.multi_label)

    @property
    def sample(self) -> str:
        """What a network sees at once, in a word: ``patch``, ``image``, ``slice`` or ``sequence``."""
        if self.kind == "segmentation":
            return "patch"
        if self.kind == "sequence":
            return "sequence"
        return "slice" if self.unit == "slice" else "image"

    @property
    def samples(self) -> str:
        """`sample` in the plural."""
        return "patches" if self.sample == "patch" else f"{self.sample}s"


class NetworkChoice(Config):
    """Which network, with its options (see ``striate.networks``)."""

    name: str
    spatial_dims: Literal[2, 3]
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_options_alone(self) -> NetworkChoice:
        try:
            networks.refuse_arguments(self.name, self.options)
        except UsageError as error:
            raise ValueError(error.message) from error
        return self


class Adversarial(Config):
    """Some of the patches are changed by an attack before the network learns from them (``striate.training.adversarial``).

    Attributes
    ----------
    epsilon
        Largest change, as a fraction of the tissue contrast; more than all of it is no attack but another image.
    contrast
        Tissue contrast of each channel after preparation (5th to 95th percentile of the object); measured on training cases
        by `plan` and `train` where None.
    steps
        Steps of the attack; 1 is the fast variant.
    share
        Of the patches that are attacked.
    begin
        Share of the schedule after which patches are attacked; before, all are clean.
    """

    epsilon: float = Field(gt=0, le=1)
    contrast: tuple[PositiveFloat, ...] | None = None
    steps: PositiveInt = 1
    share: float = Field(default=1.0, gt=0, le=1)
    begin: float = Field(default=0.5, ge=0, lt=1)


RANDOM = "random"
"""In the place of an encoder: its weights are random ones."""


class Training(Config):
    """How the network is trained.

    Attributes
    ----------
    patch
        Voxels along each axis of the prepared image; one axis of 1 means that a 2D network sees slices of 3D scans.
    steps
        Number of updates; None where `budget_s` decides.
    budget_s
        Wall-clock seconds of the whole run (preparation, training, validation, report); None where `steps` decides.
    learning_rate, weight_decay, momentum
        Of the optimiser; `momentum` is β₁ of AdamW and the Nesterov momentum of SGD and RMSProp.
    warmup
        Share of the schedule with a rising learning rate; polynomial decay (power `decay_power`) follows.
    ema
        Decay per step of the moving average of the weights that is used for prediction; 0 switches it off.
    foreground
        Share of the patches of a batch that are centred on a labelled voxel (segmentation).
    length
        Images of a sequence (tasks of kind sequence).
    balanced
        Draw each class equally often, however rare it is (classes of images).
    encoder
        Folder of a trained model of the same network, whose weights are the start; None or `RANDOM`: random weights.
    frozen
        What was taken from the encoder stays as it is; of random weights all but the last layer's.
    snapshots
        Number of earlier moments whose weights are kept with the model, for ``striate predict --uncertainty ensemble``.
    adversarial
        How patches are attacked, so that the network becomes harder to mislead; None: they are not.
    """

    patch: tuple[PositiveInt, ...]
    batch: PositiveInt
    steps: PositiveInt | None = None
    budget_s: PositiveFloat | None = None
    seed: int = 0
    loss: str = "dice_ce"
    optimiser: Literal["adamw", "sgd", "rmsprop"] = "adamw"
    learning_rate: PositiveFloat = 2e-3
    weight_decay: float = Field(default=3e-5, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    decay_power: float = Field(default=0.9, ge=0)
    clip_norm: PositiveFloat = 12.0
    ema: float = Field(default=0.99, ge=0, lt=1)
    foreground: float = Field(default=0.5, ge=0, le=1)
    length: PositiveInt = 8
    balanced: bool = True
    precision: Literal["bf16", "fp32"] = "fp32"
    workers: int = Field(default=1, ge=0, le=64)
    encoder: str | None = None
    frozen: bool = False
    snapshots: int = Field(default=0, ge=0, le=16)
    adversarial: Adversarial | None = None
    augmentation: Augmentation = Augmentation()

    @model_validator(mode="after")
    def _one_clock(self) -> Training:
        if (self.steps is None) == (self.budget_s is None):
            raise ValueError("exactly one of steps and budget_s is needed")
        return self


class Inference(Config):
    """How the network is applied to a whole image."""

    patch: tuple[PositiveInt, ...]
    overlap: float = Field(default=0.5, ge=0, lt=1)
    mirror_axes: tuple[int, ...] = ()


class Expected(Config):
    """What the plan expects of itself; measured or computed when it was made, for the reader and for `train`."""

    parameters: int | None = None
    macs_per_patch: int | None = None
    receptive_field_mm: tuple[float, ...] | None = None
    object_mm: tuple[float, ...] | None = None
    samples_per_parameter: float | None = None
    step_s: float | None = None
    steps: int | None = None
    training_flops_by_operations: float | None = None
    training_flops_by_time: float | None = None
    peak_memory_bytes: int | None = None
    disk_bytes: int | None = None
    time_s: float | None = None


class Plan(Config):
    """Every decision needed to train and predict."""

    schema_version: Literal[1] = 1
    task: Task
    preparation: Preparation
    network: NetworkChoice
    training: Training
    inference: Inference
    expected: Expected = Expected()
    reasons: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Plan:
        dims = len(self.preparation.spacing_mm)
        for name, patch in (("training.patch", self.training.patch), ("inference.patch", self.inference.patch)):
            if len(patch) != dims:
                raise ValueError(f"{name} {patch} has {counted(len(patch), 'axis', 'axes')}, the images have {dims}")
            if len([n for n in patch if n > 1]) != self.network.spatial_dims and self.network.spatial_dims != dims:
                raise ValueError(
                    f"{name} {patch} needs exactly one axis of 1 for a {self.network.spatial_dims}D network"
                )
        if self.training.loss == "squared" and self.task.kind != "reconstruction":
            raise ValueError(f"training.loss 'squared' compares images, {self.task.kind} does not learn any")
        if self.training.loss != "squared" and self.task.kind == "reconstruction":
            raise ValueError(f"training.loss '{self.training.loss}' compares classes, reconstruction needs 'squared'")
        if len(self.preparation.normalisation) != len(self.task.channels):
            raise ValueError(
                f"preparation.normalisation has {counted(len(self.preparation.normalisation), 'entry', 'entries')} for"
                f" {counted(len(self.task.channels), 'channel')} {self.task.channels}"
            )
        attack = self.training.adversarial
        if attack is not None and self.task.kind != "segmentation":
            raise ValueError(f"training.adversarial attacks patches with masks, the task is {self.task.kind}")
        if attack is not None and attack.contrast is not None and len(attack.contrast) != len(self.task.channels):
            raise ValueError(
                f"training.adversarial.contrast has {counted(len(attack.contrast), 'entry', 'entries')} for"
                f" {counted(len(self.task.channels), 'channel')}"
            )
        unknown = [n for n in self.preparation.normalisation if n not in NORMALISATIONS]
        if unknown:
            raise ValueError(f"preparation.normalisation holds {unknown[0]!r}, known are {', '.join(NORMALISATIONS)}")
        return self

    @property
    def targets(self) -> Targets:
        """The labels or regions that the network predicts."""
        return self.task.targets

    @property
    def in_channels(self) -> int:
        """Channels that the network sees: those of the images, and in a cascade one per label of the previous stage."""
        return len(self.task.channels) + len(self.preparation.previous_labels)

    def write(self, path: Path) -> None:
        """Write the plan as YAML, the reason of each decision as a comment beside it."""
        write_text(Path(path), self.to_yaml())

    def to_yaml(self) -> str:
        """Return the plan as YAML with comments."""
        document = self.model_dump(mode="json")
        reasons = document.pop("reasons")
        text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
        lines: list[str] = []
        path: list[str] = []
        for line in text.splitlines():
            key = line.strip().split(":")[0]
            depth = (len(line) - len(line.lstrip())) // 2
            path = [*path[:depth], key]
            reason = reasons.get(".".join(path))
            lines.append(f"{line}  # {reason}" if reason else line)
        head = (
            "# A plan of Striate: read it, edit it, train with it (striate train COHORT --plan THIS.yaml).\n"
            "# The comments give the reason of each decision; they are kept under `reasons` for machines.\n"
        )
        tail = yaml.dump({"reasons": reasons}, sort_keys=False, allow_unicode=True, width=10_000)
        return head + "\n".join(lines) + "\n" + tail

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read and validate a plan.

        Raises
        ------
        PlanError
            When it is missing, not YAML, of a newer version, or holds an unknown key (with the nearest name) or an
            impossible value.
        """
        try:
            document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            hint = "Make one: striate plan COHORT --out plan.yaml"
            raise PlanError(
                expected(path, "there is no such file", "a plan.yaml is needed", hint), path=path
            ) from error
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problem = " ".join(str(error).split())
            raise PlanError(
                expected(path, f"not readable as YAML ({problem})", "a plan.yaml is needed"), path=path
            ) from error
        if (
            isinstance(document, dict)
            and isinstance(document.get("schema_version"), int)
            and document["schema_version"] > VERSION
        ):
            raise PlanError(
                expected(path, f"schema version {document['schema_version']}", f"this Striate reads up to {VERSION}",
                         "Upgrade Striate: pip install -U striate"), path=path,
            )  # fmt: skip
        try:
            plan = cls.parse(document, path)
            plan.task.outputs  # noqa: B018  (regions are checked here too)
        except (FormatError, UsageError) as error:
            raise PlanError(f"{path}: {error}", path=path) from error
        return plan


class _Dumper(yaml.SafeDumper):
    """Lists of numbers on one line."""


def _sequence(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
    return dumper.represent_sequence(
        "tag:yaml.org,2002:seq", value, flow_style=all(not isinstance(v, dict) for v in value)
    )


_Dumper.add_representer(list, _sequence)
