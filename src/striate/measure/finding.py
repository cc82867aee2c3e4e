"""One finding at a time: a quantity with its interval, a lesion, a label's findings, a case's findings with their limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from striate.core.caution import Caution
from striate.core.errors import DataError, expected


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, with its interval where one is known.

    Attributes
    ----------
    value
        The number, in the unit of the name under which it stands.
    low, high
        Ends of the interval, same unit; None where none was estimated.
    coverage
        Share of repetitions in which the interval holds the truth, for instance 0.9.
    """

    value: float
    low: float | None = None
    high: float | None = None
    coverage: float | None = None

    def to_dict(self) -> dict[str, float]:
        """Return the parts that are known."""
        return {k: v for k, v in asdict(self).items() if v is not None}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Quantity:
        """Read the JSON form."""
        return cls(**document)


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
    probability
        Calibrated probability that it is real, that is, touches the truth in at least one voxel; None where the model
        knows none.
    """

    volume_ml: float
    voxels: int
    centroid_mm: tuple[float, ...]
    extent_mm: tuple[float, ...]
    bbox: tuple[tuple[int, int], ...]
    probability: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; the probability only where it is known."""
        document = {f.name: getattr(self, f.name) for f in fields(self)}  # tuples of numbers: nothing to copy
        if self.probability is None:
            del document["probability"]
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Lesion:
        """Read the JSON form (lists for tuples)."""
        probability = document.get("probability")
        return cls(
            volume_ml=float(document["volume_ml"]),
            voxels=int(document["voxels"]),
            centroid_mm=tuple(float(v) for v in document["centroid_mm"]),
            extent_mm=tuple(float(v) for v in document["extent_mm"]),
            bbox=tuple((int(start), int(stop)) for start, stop in document["bbox"]),
            probability=None if probability is None else float(probability),
        )


@dataclass(frozen=True, slots=True)
class LabelFindings:
    """What was found of one label or region: volume in mL, number of lesions, the lesions.

    The lesions are in one order, by which whatever was computed beside them is matched: by voxels, largest first; equal
    ones by their `bbox`, ascending; those of one box by their first voxel in the array's order.
    """

    volume_ml: Quantity
    count: Quantity
    lesions: tuple[Lesion, ...] = ()

    def with_probabilities(self, probabilities: Sequence[float | None]) -> LabelFindings:
        """Return the same findings with one probability per lesion, in the order of the lesions.

        Raises
        ------
        ValueError
            When there are more or fewer probabilities than lesions.
        """
        pairs = zip(self.lesions, probabilities, strict=True)
        return replace(self, lesions=tuple(replace(lesion, probability=p) for lesion, p in pairs))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        lesions = [lesion.to_dict() for lesion in self.lesions]
        return {"volume_ml": self.volume_ml.to_dict(), "count": self.count.to_dict(), "lesions": lesions}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> LabelFindings:
        """Read the JSON form."""
        return cls(
            Quantity.from_dict(document["volume_ml"]),
            Quantity.from_dict(document["count"]),
            tuple(Lesion.from_dict(lesion) for lesion in document["lesions"]),
        )


@dataclass(frozen=True, slots=True)
class Ood:
    """How unlike the training data a case looks to the network (out of distribution).

    Attributes
    ----------
    score
        The larger, the less alike.
    threshold
        What the model's own data stay below, but for a stated share; a larger score is out of distribution.
    """

    score: float
    threshold: float

    @property
    def outside(self) -> bool:
        """Whether the score is above the threshold."""
        return self.score > self.threshold

    def to_dict(self) -> dict[str, float]:
        """Return the JSON form."""
        return {"score": self.score, "threshold": self.threshold}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Ood:
        """Read the JSON form."""
        return cls(float(document["score"]), float(document["threshold"]))


@dataclass(frozen=True, slots=True)
class Review:
    """Whether a person must look at a case before its numbers are used.

    Attributes
    ----------
    needed
        True: do not use without review.
    reason
        One sentence: why, or why not.
    expected_dice
        Label or region → the Dice that is expected of its mask, estimated without the truth; None where nothing is.
    """

    needed: bool
    reason: str
    expected_dice: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", " ".join(self.reason.split()))
        if not self.expected_dice:
            object.__setattr__(self, "expected_dice", None)

    @property
    def lowest(self) -> float | None:
        """The lowest expected Dice of all labels; None where none is known."""
        return min(self.expected_dice.values()) if self.expected_dice else None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: ``expected_dice`` is the lowest of all labels, or null."""
        document: dict[str, Any] = {"needed": self.needed, "reason": self.reason, "expected_dice": self.lowest}
        if self.expected_dice:
            document["expected_dice_by_label"] = dict(self.expected_dice)
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Review:
        """Read the JSON form."""
        values = {str(name): float(v) for name, v in (document.get("expected_dice_by_label") or {}).items()}
        return cls(bool(document["needed"]), str(document["reason"]), values)


@dataclass(frozen=True, slots=True)
class CaseFindings:
    """What was found in one case, and how far it can be trusted.

    Attributes
    ----------
    case
        Its name.
    labels
        Label or region → its findings.
    warnings
        Reasons for doubt; those without a sentence are left out.
    ood
        Likeness to the training data; None where the model does not know it.
    review
        Whether a person must look; None where the model cannot tell.

    Raises
    ------
    DataError
        When a Dice is expected of a label that is not among `labels`.
    """

    case: str
    labels: Mapping[str, LabelFindings]
    warnings: tuple[Caution, ...] = ()
    ood: Ood | None = None
    review: Review | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "warnings", tuple(caution for caution in self.warnings if caution.message))
        foreign = sorted(set((self.review and self.review.expected_dice) or {}) - set(self.labels))
        if foreign:
            here, known = f"findings of case '{self.case}'", ", ".join(self.labels) or "none"
            raise DataError(
                expected(here, f"an expected Dice of '{foreign[0]}'", f"one of its labels is needed: {known}"),
                case=self.case,
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; ``ood`` and ``review`` only where they are known."""
        known = {"ood": self.ood, "review": self.review}
        return {
            "case": self.case,
            "warnings": [caution.to_dict() for caution in self.warnings],
            **{key: noun.to_dict() for key, noun in known.items() if noun is not None},
            "labels": {name: found.to_dict() for name, found in self.labels.items()},
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> CaseFindings:
        """Read the JSON form."""
        ood, review = document.get("ood"), document.get("review")
        return cls(
            str(document["case"]),
            {name: LabelFindings.from_dict(found) for name, found in document["labels"].items()},
            cautions(document.get("warnings") or ()),
            None if ood is None else Ood.from_dict(ood),
            None if review is None else Review.from_dict(review),
        )


def cautions(documents: Sequence[Mapping[str, Any]]) -> tuple[Caution, ...]:
    """Read warnings: ``{code, message}`` each."""
    return tuple(Caution.from_dict(document) for document in documents)
