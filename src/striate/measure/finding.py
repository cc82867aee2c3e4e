"""One finding at a time: a quantity with its interval, a lesion, a label's findings, a case's findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, with its interval where one is known.

    Attributes
    ----------
    value
        The number, in the unit of the name under which it stands.
    low, high
        Ends of the interval, same unit; None where none was estimated.
    level
        Share of repetitions in which the interval holds the truth, for instance 0.95.
    """

    value: float
    low: float | None = None
    high: float | None = None
    level: float | None = None

    def to_dict(self) -> dict[str, float]:
        """Return the parts that are known."""
        return {k: v for k, v in asdict(self).items() if v is not None}


@dataclass(frozen=True, slots=True)
class Lesion:
    """One connected component (26 neighbours in 3D, 8 in 2D) of a label or region.

    Attributes
    ----------
    volume_ml
        Volume in mL; in 2D of a sheet of 1 mm (or of the affine's third axis).
    voxels
        Number of voxels.
    centroid_mm
        Mean of the voxel centres in mm, RAS+ (x, y, z), or (x, y) in 2D.
    extent_mm
        Size in mm of the box around the lesion along the image's axes, listed in the order x, y, z of the world axes
        that they lie closest to; one voxel has the extent of the spacing.
    bbox
        The same box in voxel indices, half-open [start, stop) for each array axis.
    """

    volume_ml: float
    voxels: int
    centroid_mm: tuple[float, ...]
    extent_mm: tuple[float, ...]
    bbox: tuple[tuple[int, int], ...]

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Lesion:
        """Read what ``dataclasses.asdict`` gave, as JSON holds it (lists for tuples)."""
        return cls(
            volume_ml=float(document["volume_ml"]),
            voxels=int(document["voxels"]),
            centroid_mm=tuple(float(v) for v in document["centroid_mm"]),
            extent_mm=tuple(float(v) for v in document["extent_mm"]),
            bbox=tuple((int(start), int(stop)) for start, stop in document["bbox"]),
        )


@dataclass(frozen=True, slots=True)
class LabelFindings:
    """What was found of one label or region: volume in mL, number of lesions, the lesions, largest first."""

    volume_ml: Quantity
    count: Quantity
    lesions: tuple[Lesion, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        lesions = [asdict(lesion) for lesion in self.lesions]
        return {"volume_ml": self.volume_ml.to_dict(), "count": self.count.to_dict(), "lesions": lesions}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> LabelFindings:
        """Read the JSON form."""
        count = document["count"]
        return cls(
            Quantity(**document["volume_ml"]),
            Quantity(**count),
            tuple(Lesion.from_dict(lesion) for lesion in document["lesions"]),
        )


@dataclass(frozen=True, slots=True)
class CaseFindings:
    """What was found in one case: label or region name → findings, and what the reader should be warned of (one line each)."""

    case: str
    labels: Mapping[str, LabelFindings]
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lines = (" ".join(warning.split()) for warning in self.warnings)
        object.__setattr__(self, "warnings", tuple(line for line in lines if line))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        labels = {name: found.to_dict() for name, found in self.labels.items()}
        return {"case": self.case, "warnings": list(self.warnings), "labels": labels}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> CaseFindings:
        """Read the JSON form."""
        labels = {name: LabelFindings.from_dict(found) for name, found in document["labels"].items()}
        return cls(str(document["case"]), labels, tuple(str(w) for w in document.get("warnings", ())))
