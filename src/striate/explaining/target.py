"""`Target`: what of a prediction is explained: a lesion, a whole label or region, or a class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.errors import DataError, UsageError, expected
from striate.core.image import LabelMap, to_ras
from striate.core.names import lookup
from striate.data.prepare import Prepared, prepare
from striate.explaining.scene import Scene, on_working_grid
from striate.inference.cascade import prepare_stage
from striate.inference.engines import Engine
from striate.inference.whole import WholePrediction
from striate.io.read import read_header
from striate.measure.components import components
from striate.measure.finding import Lesion
from striate.measure.findings import Findings
from striate.model.model import Model
from striate.planning.plan import Plan


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What is explained.

    Attributes
    ----------
    kind
        ``lesion``, ``label`` (a whole label or region) or ``class``.
    label
        Name of the label, region or class.
    facts
        ``lesion`` and ``lesions`` (number and how many), ``volume_ml``, ``centroid_mm``; ``slice`` and ``probability`` of a
        class.
    mask
        (*files' grid) bool; None of a class.
    """

    kind: Literal["lesion", "label", "class"]
    label: str
    facts: dict[str, Any]
    mask: NDArray[np.bool_] | None = None

    @property
    def told(self) -> str:
        """What it is, in words."""
        if self.kind == "lesion":
            many = self.facts["lesions"]
            which = f"lesion {self.facts['lesion']} of {many}, the largest first" if many > 1 else "the only lesion"
            return f"{self.label}, {which}, {self.facts['volume_ml']:.2f} mL"
        if self.kind == "label":
            return f"all of {self.label}, {self.facts['volume_ml']:.2f} mL"
        where = "" if self.facts.get("slice") is None else f", slice {self.facts['slice']}"
        return f"class {self.label}{where}, uncalibrated probability {self.facts['probability']:.2f}"

    @property
    def stem(self) -> str:
        """What can be part of a file name."""
        extra = {"lesion": f"_lesion{self.facts.get('lesion')}", "label": "", "class": ""}[self.kind]
        if self.kind == "class" and self.facts.get("slice") is not None:
            extra = f"_slice{self.facts['slice']}"
        return plain_name(self.label) + extra

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"kind": self.kind, "label": self.label, "told": self.told, **self.facts}

    def scene(self, plan: Plan, network: nn.Module, prepared: Prepared) -> Scene:
        """Return the scene of it."""
        if self.mask is not None:
            return Scene.of_mask(plan, network, prepared, on_working_grid(self.mask, prepared), self.label)
        plane = self.facts.get("slice")
        below = prepared.crop[2].start if plane is not None else 0
        return Scene.of_class(plan, network, prepared, self.label, None if plane is None else plane - below)


def plain_name(text: str) -> str:
    """Return `text` as part of a file name."""
    return re.sub(r"[^\w.+-]+", "-", text).strip("-.") or "target"


def prepared_for(model: Model, case: Case, first: Engine | None = None) -> Prepared:
    """Prepare `case` as the model sees it; slices keep the scan's own distance, as `striate.data.samples` cuts them.

    `first` is the engine of a cascade's first stage, whose mask is drawn here and is then an input like the images.
    """
    plan, preparation = model.plan, model.plan.preparation
    if plan.task.kind == "segmentation":
        return prepare_stage(model, case, first=first)
    if plan.task.unit == "slice":
        _, turned = to_ras(read_header(next(iter(case.channels.values()))).grid)
        if len(turned.shape) == 3:
            preparation = preparation.changed(spacing_mm=(*preparation.spacing_mm[:2], turned.spacing_mm[2]))
    return prepare(case, preparation)


def mask_targets(
    plan: Plan, case: str, label: LabelMap, asked: str | None = None, lesion: int | None = None, *, whole: bool = False
) -> list[Target]:
    """Return what of a predicted mask is explained: of each label, or the one that is asked for, a lesion or all of it.

    Parameters
    ----------
    plan
        Of the model.
    case
        Name of the case.
    label
        The predicted label map, on the grid of the files.
    asked
        Name of a label or region; None: each that was predicted.
    lesion
        Its number, 1 being the largest, as in the findings; None: the largest.
    whole
        All lesions together instead.

    Raises
    ------
    UsageError
        When there is no such label or lesion.
    DataError
        When nothing was predicted that could be explained.
    """
    known = {name: name for name in plan.targets.names}
    names = list(known) if asked is None else [lookup("label", asked, known)]
    measured = Findings.of(case, label, plan.targets).cases[0].labels
    found = []
    for name in names:
        mask = plan.targets.mask(label.array, name)
        if mask.any() and whole:
            facts = {"lesions": len(measured[name].lesions), "volume_ml": measured[name].volume_ml.value}
            found.append(Target("label", name, facts, mask))
        elif mask.any():
            found.append(_lesion(case, name, mask, measured[name].lesions, lesion))
    if not found:
        raise DataError(
            expected(f"case {case}", f"no voxel of {', '.join(names)} was predicted",
                     "only what a model finds can be explained", "Try another --label, or another case."), case=case,
        )  # fmt: skip
    return found


def _lesion(case: str, name: str, mask: NDArray[np.bool_], measured: Sequence[Lesion], number: int | None) -> Target:
    """Return the lesion of that number in the findings."""
    if number is not None and not 1 <= number <= len(measured):
        count = counted(len(measured), "lesion")
        raise UsageError(f"--lesion {number}: case {case} has {count} of '{name}', the largest is number 1.", case=case)
    chosen = measured[(number or 1) - 1]
    box = tuple(slice(*ends) for ends in chosen.bbox)
    numbers, _ = components(mask[box])  # of the lesions in its box it alone fills it and has its size
    sizes, full = np.bincount(numbers.ravel()), tuple(slice(0, n) for n in numbers.shape)
    objects = enumerate(ndimage.find_objects(numbers), start=1)
    which = next(n for n, found in objects if found == full and sizes[n] == chosen.voxels)
    whole = np.zeros(mask.shape, dtype=bool)
    whole[box] = numbers == which
    facts = {
        "lesion": number or 1, "lesions": len(measured),
        "volume_ml": chosen.volume_ml, "centroid_mm": [round(v, 1) for v in chosen.centroid_mm],
    }  # fmt: skip
    return Target("lesion", name, facts, whole)


def class_target(plan: Plan, found: WholePrediction, asked: str | None = None, plane: int | None = None) -> Target:
    """Return the class that is explained: the one asked for, else the most probable one.

    Parameters
    ----------
    plan
        Of the model.
    found
        What it said.
    asked
        Name of a class. None: the structure that slices were searched for, or the class of the highest probability.
    plane
        The axial slice, counted from the lowest, where slices were looked at; None: the one where the class is likeliest.

    Raises
    ------
    UsageError
        When there is no such class or slice.
    """
    classes, case = list(plan.task.classes), found.case.name
    if plane is not None and plane not in found.slices:
        looked = f"slices {min(found.slices)} to {max(found.slices)}" if found.slices else "the image as a whole"
        raise UsageError(f"--slice {plane}: of case {case} the model looks at {looked}.", case=case)
    rows = found.probabilities if plane is None else found.probabilities[[found.slices.index(plane)]]
    if asked is not None:
        column = classes.index(lookup("class", asked, {name: name for name in classes}))
    elif plan.task.contains is not None:
        column = 1
    else:
        column = int(rows.max(axis=0).argmax())
    row = int(rows[:, column].argmax())
    place = plane if plane is not None or not found.slices else found.slices[row]
    facts = {"slice": place, "probability": float(rows[row, column])}
    return Target("class", classes[column], facts)
