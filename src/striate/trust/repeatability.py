"""`Repeatability`: how much masks differ between two examinations of a subject between which nothing changed.

Measured from scan and rescan. A mask errs where its edge lies, so the standard error of measurement (SEM) is written as a
distance: how far the edge moves, in mm, that is, volume over surface. Of a total or of one lesion, with surfaces A₁ and
A₂ (mm²) and a difference d (mm³):

* SEM² = mean of d² / (A₁² + A₂²), each subject weighing the same: d² rather than its variance, so that a systematic
  difference of the two scans counts (the "agreement" of Bland and Altman, Statistical Methods in Medical Research 8:135, 1999).
* smallest detectable change = 1.96 · SEM · √(A₁² + A₂²), which is 1.96 · √2 · SEM for equal surfaces (Beckerman et al.,
  Quality of Life Research 10:571, 2001): what 95 % of the differences between rescans stay below.

Where no scan–rescan pairs are known, an estimate is stated instead: SEM = `SHELL` × the volume of the voxels at the edge. Of
true masks of phantoms that were scanned twice in other poses it is 0.03 to 0.13 (voxels of 1, 2, 3 and 1 × 1 × 4 mm, 86 to 95
lesions each); what the hand or the network that drew a mask adds is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil, hypot, pi, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from striate.core.counted import counted
from striate.core.errors import ModelError, UsageError, expected
from striate.core.files import in_folder, read_document, write_json
from striate.trust.lesion_pairs import Side

KIND, VERSION, FILE = "striate-repeatability", 1, "repeatability.json"
LEVEL = 0.95
Z = 1.96
"""Two-sided normal quantile of `LEVEL`."""
SHELL = 0.15
NEW_ML = 4 / 3 * pi * 1.5**3 / 1000
"""A ball of 3 mm across: the least lesion that counts in multiple sclerosis (Filippi et al., Lancet Neurology 15:292, 2016)."""
LEAST_VOXELS = 3
FEWEST = 5
"""Subjects that a measured repeatability needs."""

Sides = tuple[Side, Side]
"""One lesion at both times."""


@dataclass(frozen=True, slots=True)
class LabelRepeatability:
    """Of one label.

    Attributes
    ----------
    total_mm, lesion_mm
        SEM of the edge of all lesions together, and of one lesion.
    least_ml
        Volume from which on a lesion without a partner is counted: in 95 % of the rescans none is that large (conformal:
        rank ⌈0.95 (n + 1)⌉ of n subjects; below 19 subjects the largest).
    n_subjects, n_lesions, n_alone
        Subjects, matched lesions and lesions without a partner that this rests on.
    """

    total_mm: float
    lesion_mm: float
    least_ml: float
    n_subjects: int
    n_lesions: int
    n_alone: int


@dataclass(frozen=True, slots=True)
class Repeatability:
    """Of one way to make masks.

    Attributes
    ----------
    labels
        Label or region → its numbers.
    weights_sha256
        Of the model that drew the masks; empty where a person did.
    """

    labels: Mapping[str, LabelRepeatability] = field(default_factory=dict)
    weights_sha256: str = ""

    @classmethod
    def fit(
        cls, rescans: Mapping[str, Sequence[tuple[str, Sequence[Sides]]]], weights_sha256: str = ""
    ) -> Repeatability:
        """Fit to pairs between which nothing changed.

        Parameters
        ----------
        rescans
            Label → (subject, its lesions at both times) of each pair.
        weights_sha256
            See the attributes.

        Raises
        ------
        UsageError
            When there are fewer than `FEWEST` subjects.
        """
        for pairs in rescans.values():
            refuse_few(len({subject for subject, _ in pairs}))
        return cls({name: _fit(pairs) for name, pairs in rescans.items()}, weights_sha256)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        labels = {name: asdict(found) for name, found in self.labels.items()}
        return {"kind": KIND, "schema_version": VERSION, "weights_sha256": self.weights_sha256, "labels": labels}

    def write(self, path: Path) -> None:
        """Write the JSON document."""
        write_json(path, self.to_dict())

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Repeatability:
        """Read the JSON document."""
        labels = {str(name): LabelRepeatability(**found) for name, found in document["labels"].items()}
        return cls(labels, str(document["weights_sha256"]))

    @classmethod
    def read(cls, path: Path, weights_sha256: str | None = None) -> Repeatability:
        """Read a file, or ``repeatability.json`` of a folder.

        Raises
        ------
        FormatError
            When it is missing, broken or of a newer version.
        ModelError
            When it was measured with other weights than `weights_sha256`.
        """
        path = in_folder(path, FILE)
        found = read_document(path, KIND, VERSION, cls.from_dict)
        if weights_sha256 is not None and found.weights_sha256 != weights_sha256:
            who = f"measured with weights {found.weights_sha256[:12] or 'of no model'}"
            raise ModelError(
                expected(path, who, f"those of these masks are needed ({weights_sha256[:12] or 'no model'})",
                         "Measure it anew: striate change MODEL RESCANS --rescan --out NEW"), path=path,
            )  # fmt: skip
        return found


@dataclass(frozen=True, slots=True)
class Noise:
    """What is distinguishable from noise, for one label.

    Attributes
    ----------
    measured
        The repeatability; None: the estimate from the voxels at the edge.
    voxel_ml
        Volume of a voxel of the earlier and of the later mask.
    """

    measured: LabelRepeatability | None
    voxel_ml: tuple[float, float]

    @property
    def source(self) -> str:
        """Which of the two definitions is in force, in words."""
        if self.measured is None:
            return "estimated from the voxels at the edges of the lesions, not measured on scan and rescan"
        return f"measured on scan and rescan of {counted(self.measured.n_subjects, 'subject')}"

    @property
    def least_ml(self) -> float:
        """Volume from which on a lesion that was not there, or is not there any more, is counted."""
        smallest = max(NEW_ML, LEAST_VOXELS * max(self.voxel_ml))
        return smallest if self.measured is None else max(smallest, self.measured.least_ml)

    def total_ml(self, lesions: Sequence[Sides]) -> float:
        """Return the smallest detectable change of the whole label."""
        before, after = _summed([x for x, _ in lesions]), _summed([x for _, x in lesions])
        return self._changed(None if self.measured is None else self.measured.total_mm, before, after)

    def lesion_ml(self, before: Side, after: Side) -> float:
        """Return the smallest detectable change of one lesion."""
        return self._changed(None if self.measured is None else self.measured.lesion_mm, before, after)

    def _changed(self, sem_mm: float | None, before: Side, after: Side) -> float:
        if sem_mm is not None:
            return Z * sem_mm * hypot(before.surface_mm2, after.surface_mm2) / 1000
        edges = [v * side.edge_voxels for v, side in zip(self.voxel_ml, (before, after), strict=True)]
        return Z * SHELL * hypot(*edges)


def refuse_few(subjects: int) -> None:
    """Refuse to measure on too few subjects.

    Raises
    ------
    UsageError
        When there are fewer than `FEWEST`.
    """
    if subjects < FEWEST:
        told = f"{counted(subjects, 'subject')} with scan and rescan"
        raise UsageError(expected("repeatability", told, f"at least {FEWEST} are needed"))


def _summed(sides: Sequence[Side]) -> Side:
    return Side(
        sum(side.volume_ml for side in sides),
        sum(side.surface_mm2 for side in sides),
        sum(side.edge_voxels for side in sides),
    )


def _fit(pairs: Sequence[tuple[str, Sequence[Sides]]]) -> LabelRepeatability:
    total: dict[str, list[float]] = {}
    single: dict[str, list[float]] = {}
    largest: dict[str, float] = {}
    alone = 0
    for subject, lesions in pairs:
        both = _summed([x for x, _ in lesions]), _summed([x for _, x in lesions])
        total.setdefault(subject, []).append(_moved(*both))
        for before, after in lesions:
            if before.volume_ml and after.volume_ml:
                single.setdefault(subject, []).append(_moved(before, after))
            else:
                alone += 1
                largest[subject] = max(largest.get(subject, 0.0), before.volume_ml, after.volume_ml)
    tops = sorted(largest.get(subject, 0.0) for subject in total)
    top = tops[min(len(tops), ceil((len(tops) + 1) * LEVEL)) - 1]
    return LabelRepeatability(
        total_mm=sqrt(float(np.mean([np.mean(v) for v in total.values()]))),
        lesion_mm=sqrt(float(np.mean([np.mean(v) for v in single.values()]))) if single else 0.0,
        least_ml=float(np.nextafter(top, np.inf)) if top else 0.0,
        n_subjects=len(total),
        n_lesions=sum(map(len, single.values())),
        n_alone=alone,
    )


def _moved(before: Side, after: Side) -> float:
    """Return the square of how far the edge moved, mm²."""
    area = before.surface_mm2**2 + after.surface_mm2**2
    return (1000 * (after.volume_ml - before.volume_ml)) ** 2 / area if area else 0.0
