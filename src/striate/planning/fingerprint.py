"""`Fingerprint`: the facts of a cohort that a plan is a function of; measured once, reading each case once."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from striate.core.case import Case
from striate.core.config import Config
from striate.core.counted import counted
from striate.core.errors import DataError, LabelError, expected
from striate.core.files import read_json, write_json
from striate.core.image import to_ras
from striate.core.in_threads import in_threads
from striate.core.progress import Progress, Silent, each
from striate.core.targets import Targets
from striate.data.background import background_value
from striate.data.cohort import Cohort
from striate.io.read import largest, read_channels, read_label

VERSION = 1
FACTS_BYTES = 16
"""Memory of a case while it is measured, of each channel, per voxel (measured: 4 to 8)."""
CEILING_FACTORS = (2, 3)
"""By how much a label map is made coarser to see what would be lost."""


class Intensity(Config):
    """Intensities of one channel inside labelled voxels, pooled over cases (as nnU-Net does), and whether zero is background."""

    mean: float
    std: float
    p005: float
    median: float
    p995: float


class ObjectFacts(Config):
    """Sizes of what is looked for, per label or region.

    Attributes
    ----------
    cases
        In how many cases it occurs.
    volume_ml
        Median volume per case that has it.
    extent_mm
        Median bounding box of the largest connected object, along RAS axes.
    diameter_mm
        Diameter of a ball as large as the typical object: half of the labelled volume lies in larger ones.
    left_share
        Share of its voxels in the left half of the image, per case that has it.
    ceiling
        Factor → mean Dice that remains when the truth itself is stored that much coarser and brought back.
    """

    cases: int
    volume_ml: float
    extent_mm: tuple[float, ...]
    diameter_mm: float
    left_share: tuple[float, ...]
    ceiling: dict[int, float]


class CaseShape(Config):
    """Geometry of one case along RAS axes: voxels, voxels after cropping to what is not zero, spacing."""

    name: str
    subject: str
    shape: tuple[int, ...]
    cropped: tuple[int, ...]
    spacing_mm: tuple[float, ...]


class Fingerprint(Config):
    """Measured facts of the cases that are learned from.

    Attributes
    ----------
    objects
        Label or region → its sizes; empty where no masks are learned.
    classes
        Class → number of cases; empty where no classes of cases are learned.
    examinations
        Most cases of one subject in the cohort, those without a class too; counted where no masks are learned.
    """

    schema_version: Literal[1] = 1
    kind: Literal["striate-fingerprint"] = "striate-fingerprint"
    cohort: str
    channels: tuple[str, ...]
    label_names: dict[int, str]
    spatial_dims: Literal[2, 3]
    cases: tuple[CaseShape, ...]
    intensities: tuple[Intensity, ...]
    zero_background: bool
    objects: dict[str, ObjectFacts]
    classes: dict[str, int] = Field(default_factory=dict)
    examinations: int = 1

    @classmethod
    def measure(
        cls, cohort: Cohort, cases: Sequence[Case], targets: Targets | None = None, progress: Progress | None = None
    ) -> Fingerprint:
        """Measure `cases` (all must have a label map).

        Raises
        ------
        DataError
            When no case has a label map, or cases differ in channels or dimensions.
        LabelError
            When no case holds a label besides background.
        """
        if not cases:
            raise DataError(
                expected(cohort.name, f"{counted(len(cohort.cases), 'case')}, none with a label map",
                         "ground truth is needed to learn from",
                         "Name the label files in a CSV with the columns subject, one per channel, label.")
            )  # fmt: skip
        names, measured = dict(cohort.label_names), []
        facts_of = functools.partial(_CaseFacts, targets=targets, names=cohort.label_names)
        with closing(in_threads(facts_of, cases, FACTS_BYTES * largest(cases)[0])) as read:
            for facts in each(progress or Silent(), "Fingerprint", read, len(cases)):
                measured.append(facts)
                for value in facts.values:
                    names.setdefault(value, f"label_{value}")
        values = {v for facts in measured for v in facts.values}
        if not values:
            raise LabelError(
                expected(cohort.name, "all label maps are empty", "at least one labelled voxel is needed to learn from")
            )
        dims = {len(f.shape) for f in measured}
        if len(dims) > 1:
            raise DataError(expected(cohort.name, "2D and 3D images in one cohort", "one kind is needed"))
        wanted = targets or Targets.of_labels(names)
        if not any(facts.objects for facts in measured):
            shown = ", ".join(f"{n} = {'+'.join(map(str, v))}" for n, v in wanted.sets.items())
            raise LabelError(
                expected(cohort.name, f"no voxel of any region ({shown}), only labels {sorted(values)}",
                         "at least one labelled voxel is needed to learn from", "Name other labels with --regions.")
            )  # fmt: skip
        return cls(
            cohort=cohort.name,
            channels=cohort.channels,
            label_names=dict(sorted(names.items())),
            spatial_dims=dims.pop(),
            cases=tuple(f.geometry() for f in measured),
            intensities=_pool(measured),
            zero_background=float(np.median([f.zero_share for f in measured])) > 0.25,
            objects={name: _objects(name, measured) for name in wanted.names if any(name in f.objects for f in measured)},
        )  # fmt: skip

    def write(self, path: Path) -> None:
        """Write ``fingerprint.json``."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def read(cls, path: Path) -> Fingerprint:
        """Read ``fingerprint.json``.

        Raises
        ------
        FormatError, PlanError
            When it is not a fingerprint, of a newer version, or damaged.
        """
        return cls.parse(read_json(path, "striate-fingerprint", VERSION), path)


class _CaseFacts:
    """What is kept of one case; its voxels are let go."""

    SAMPLES = 20_000

    def __init__(self, case: Case, targets: Targets | None, names: Mapping[int, str]) -> None:
        if case.label is None:
            raise DataError(
                expected(f"case {case.name}", "no label map", "ground truth is needed here"), case=case.name
            )
        self.case = case
        images = read_channels(case)
        label = read_label(case.label)
        turn, grid = to_ras(label.grid)
        self.values = label.values()
        self.shape, self.spacing_mm = grid.shape, grid.spacing_mm
        for name, image in images.items():
            if image.array.shape[1:] != label.array.shape:
                raise DataError(
                    expected(
                        f"case {case.name}",
                        f"channel {name} has shape {image.array.shape[1:]}, the label map {label.array.shape}",
                        "the mask must lie on the image grid",
                        "Run striate check to see every problem.",
                    ),
                    case=case.name,
                )
        stacked = [turn.apply(i.array[0]) for i in images.values()]
        classes = turn.apply(label.array)
        inside = np.logical_or.reduce([c != background_value(c) for c in stacked])
        self.zero_share = 1 - float(inside.mean())
        box = ndimage.find_objects(inside.astype(np.uint8))
        self.cropped = tuple(s.stop - s.start for s in box[0]) if box else self.shape
        draw = np.random.default_rng(1234)
        where = np.flatnonzero(classes)
        if where.size == 0:
            where = np.flatnonzero(inside)
        picked = where if where.size <= self.SAMPLES else draw.choice(where, self.SAMPLES)
        self.samples = [c.ravel()[picked].astype(np.float64) for c in stacked]
        named = {v: names.get(v, f"label_{v}") for v in self.values}
        wanted = targets or (Targets.of_labels(named) if named else None)
        named_masks = wanted.masks(classes) if wanted else ()
        self.objects = {name: _one_object(mask, grid.spacing_mm) for name, mask in named_masks if mask.any()}

    def geometry(self) -> CaseShape:
        """Return shape and spacing for the fingerprint."""
        return CaseShape(
            name=self.case.name,
            subject=self.case.subject,
            shape=self.shape,
            cropped=self.cropped,
            spacing_mm=self.spacing_mm,
        )


def _one_object(mask: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> dict[str, Any]:
    """Measure the connected objects of one label in one case."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    small = mask[tuple(slice(max(0, s.start - 3), s.stop + 3) for s in box)]
    parts, count = ndimage.label(small, ndimage.generate_binary_structure(mask.ndim, mask.ndim))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    voxel_mm = float(np.prod(spacing_mm))
    order = np.sort(sizes)[::-1]
    typical = order[int(np.searchsorted(np.cumsum(order), order.sum() / 2))]
    largest = ndimage.find_objects(parts)[int(np.argmax(sizes))]
    half = mask.shape[0] // 2
    scale = 6 / np.pi if mask.ndim == 3 else 4 / np.pi
    return {
        "volume_ml": float(mask.sum()) * voxel_mm / 1000,
        "extent_mm": tuple((s.stop - s.start) * d for s, d in zip(largest, spacing_mm, strict=True)),
        "diameter_mm": float((scale * typical * voxel_mm) ** (1 / mask.ndim)),
        "left_share": float(mask[:half].sum() / mask.sum()),
        "ceiling": {f: _ceiling(small, spacing_mm, f) for f in CEILING_FACTORS},
    }


def coarser(spacing_mm: tuple[float, ...], factor: float) -> tuple[float, ...]:
    """Return `spacing_mm` with every axis finer than factor · the finest brought up to that."""
    least = factor * min(spacing_mm)
    return tuple(max(s, least) for s in spacing_mm)


def _ceiling(mask: NDArray[np.bool_], spacing_mm: tuple[float, ...], factor: int) -> float:
    """Return the Dice of a mask with itself after it was stored `factor` coarser."""
    steps = [round(c / s) for c, s in zip(coarser(spacing_mm, factor), spacing_mm, strict=True)]
    padded = np.pad(mask.astype(np.float32), [(0, -n % k) for n, k in zip(mask.shape, steps, strict=True)])
    low = padded
    for axis, k in enumerate(steps):
        low = low.reshape(*low.shape[:axis], low.shape[axis] // k, k, *low.shape[axis + 1 :]).mean(axis=axis + 1)
    high = (
        ndimage.zoom(low, steps, order=1, grid_mode=True, mode="nearest")[tuple(slice(0, n) for n in mask.shape)] > 0.5
    )
    both = float((high & mask).sum())
    return round(2 * both / max(float(high.sum() + mask.sum()), 1.0), 4)


def _objects(name: str, measured: list[_CaseFacts]) -> ObjectFacts:
    rows = [f.objects[name] for f in measured if name in f.objects]
    return ObjectFacts(
        cases=len(rows),
        volume_ml=round(float(np.median([r["volume_ml"] for r in rows])), 4),
        extent_mm=tuple(round(float(v), 1) for v in np.median([r["extent_mm"] for r in rows], axis=0)),
        diameter_mm=round(float(np.median([r["diameter_mm"] for r in rows])), 1),
        left_share=tuple(round(r["left_share"], 3) for r in rows),
        ceiling={f: round(float(np.mean([r["ceiling"][f] for r in rows])), 4) for f in CEILING_FACTORS},
    )


def _pool(measured: list[_CaseFacts]) -> tuple[Intensity, ...]:
    pooled = []
    for channel in range(len(measured[0].samples)):
        values = np.concatenate([f.samples[channel] for f in measured])
        low, middle, high = np.percentile(values, (0.5, 50, 99.5))
        found = Intensity(
            mean=float(values.mean()), std=float(values.std()), p005=float(low), median=float(middle), p995=float(high)
        )
        pooled.append(found)
    return tuple(pooled)
