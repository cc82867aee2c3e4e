"""`Change`: what differs between two examinations of one subject, in mL, per cent and lesions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from striate.core.caution import Caution
from striate.measure.finding import Quantity, cautions

LesionKind = Literal["new", "enlarged", "shrunken", "vanished", "stable"]


@dataclass(frozen=True, slots=True)
class LesionChange:
    """One lesion at both times.

    Attributes
    ----------
    kind
        What became of it.
    before_ml, after_ml
        Its volume at each time; 0 where it was not there.
    centroid_mm
        Where it is, in mm, RAS+ (x, y, z), in the space of the later image; of a vanished one, where it was.

    Raises
    ------
    ValueError
        When `kind` is none of `LesionKind`.
    """

    kind: LesionKind
    before_ml: float
    after_ml: float
    centroid_mm: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.kind not in get_args(LesionKind):
            raise ValueError(f"kind '{self.kind}' of a lesion's change; known: {', '.join(get_args(LesionKind))}")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "kind": self.kind,
            "before_ml": self.before_ml,
            "after_ml": self.after_ml,
            "centroid_mm": list(self.centroid_mm),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> LesionChange:
        """Read the JSON form."""
        return cls(
            cast("LesionKind", str(document["kind"])),
            float(document["before_ml"]),
            float(document["after_ml"]),
            tuple(float(v) for v in document["centroid_mm"]),
        )


@dataclass(frozen=True, slots=True)
class LabelChange:
    """The change of one label or region.

    Attributes
    ----------
    volume_change_ml
        Later minus earlier volume, with its interval where one is known.
    volume_change_percent
        The same in per cent of the earlier volume; None where that is 0.
    smallest_detectable_ml
        Smallest change of the volume, up or down, that is distinguishable from noise; None where it is not known.
    noise
        What that rests on, in words: measured on scan and rescan, or estimated; empty where it is not known.
    lesions
        The lesions of both times, those of the largest volume (at whichever time it is larger) first.
    """

    volume_change_ml: Quantity
    volume_change_percent: float | None = None
    smallest_detectable_ml: float | None = None
    lesions: tuple[LesionChange, ...] = ()
    noise: str = ""

    @property
    def detectable(self) -> bool | None:
        """Whether the change is distinguishable from noise; None where that is not known."""
        if self.smallest_detectable_ml is None:
            return None
        return abs(self.volume_change_ml.value) >= self.smallest_detectable_ml

    @property
    def noise_measured(self) -> bool:
        """Whether noise was measured on scan and rescan, and not only estimated."""
        return self.noise.startswith("measured")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "volume_change_ml": self.volume_change_ml.to_dict(),
            "volume_change_percent": self.volume_change_percent,
            "smallest_detectable_ml": self.smallest_detectable_ml,
            **({"noise": self.noise} if self.noise else {}),
            "lesions": [lesion.to_dict() for lesion in self.lesions],
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> LabelChange:
        """Read the JSON form."""
        percent, smallest = document.get("volume_change_percent"), document.get("smallest_detectable_ml")
        return cls(
            Quantity.from_dict(document["volume_change_ml"]),
            None if percent is None else float(percent),
            None if smallest is None else float(smallest),
            tuple(LesionChange.from_dict(lesion) for lesion in document["lesions"]),
            str(document.get("noise") or ""),
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What differs between two examinations of one subject.

    Attributes
    ----------
    subject
        Its name.
    before, after
        Names of the earlier and the later case.
    labels
        Label or region → its change.
    warnings
        Reasons to doubt the comparison; those without a sentence are left out.
    """

    subject: str
    before: str
    after: str
    labels: Mapping[str, LabelChange]
    warnings: tuple[Caution, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "warnings", tuple(caution for caution in self.warnings if caution.message))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "subject": self.subject,
            "before": self.before,
            "after": self.after,
            "warnings": [caution.to_dict() for caution in self.warnings],
            "labels": {name: change.to_dict() for name, change in self.labels.items()},
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Change:
        """Read the JSON form."""
        return cls(
            str(document["subject"]),
            str(document["before"]),
            str(document["after"]),
            {name: LabelChange.from_dict(change) for name, change in document["labels"].items()},
            cautions(document.get("warnings") or ()),
        )
