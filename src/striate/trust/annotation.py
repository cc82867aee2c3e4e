"""What the annotation does to a measured Dice: raters among each other, and masks that are a little wrong.

A Dice cannot say more than the mask it is measured against. `RaterAgreement` sets the raters' Dice among each other beside
the model's; `sensitivity` measures one prediction against the truth after it was spoilt in ways in which masks are wrong:

* one voxel thinner or thicker (6 neighbours in 3D, 4 in 2D);
* lesions forgotten: each lesion of the truth with a probability of `FORGOTTEN`;
* label noise: each voxel of the border, on either side, flipped with a probability of `FLIPPED`.

Dice of the truth itself against the spoilt truth says how much of the change is the mask's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from striate.core.counted import counted
from striate.core.errors import GeometryError, expected
from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.measure.box import union_box
from striate.measure.components import components
from striate.measure.overlap import dice
from striate.measure.statistics import Summary, summarise

FORGOTTEN = 0.2
FLIPPED = 0.25
WAYS = {
    "thinner": "one voxel thinner",
    "thicker": "one voxel thicker",
    "forgotten": f"each lesion forgotten with {100 * FORGOTTEN:.0f} %",
    "noise": f"each border voxel flipped with {100 * FLIPPED:.0f} %",
}
"""Way of being wrong → its words."""
MODEL = "model"

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Spoilt:
    """The Dice of one case against one spoilt truth.

    Attributes
    ----------
    way
        Key of `WAYS`.
    predicted
        Dice of the prediction against the spoilt truth.
    own
        Dice of the truth against itself spoilt: what a perfect prediction would be measured at.
    """

    way: str
    predicted: float
    own: float


def sensitivity(predicted: Mask, truth: Mask) -> list[Spoilt]:
    """Measure a prediction against the truth in each of `WAYS`; empty where the truth is.

    Parameters
    ----------
    predicted, truth
        Masks (I, J, K) or (I, J) of one shape.
    """
    box = union_box(predicted, truth)
    if box is None or not truth.any():
        return []
    box = tuple(slice(max(0, b.start - 1), b.stop + 1) for b in box)
    said, true = predicted[box], truth[box]
    return [Spoilt(way, dice(said, made), dice(true, made)) for way, made in _ways(true, np.random.default_rng(0))]


def _ways(truth: Mask, rng: np.random.Generator) -> Iterator[tuple[str, Mask]]:
    thin, thick = ndimage.binary_erosion(truth), ndimage.binary_dilation(truth)
    yield "thinner", thin
    yield "thicker", thick
    numbers, count = components(truth)
    kept = np.concatenate([[False], rng.random(count) >= FORGOTTEN])
    yield "forgotten", kept[numbers]
    border = thick & ~thin
    yield "noise", truth ^ (border & (rng.random(truth.shape) < FLIPPED))


def summarise_sensitivity(found: Mapping[str, Sequence[Spoilt]], subjects: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return one row per way: mean Dice of prediction and of the truth itself, with intervals over subjects.

    Parameters
    ----------
    found
        Case → what `sensitivity` gave.
    subjects
        Case → whose it is.
    """
    rows = []
    for way, words in WAYS.items():
        own = [(subjects[case], s) for case, spoilt in found.items() for s in spoilt if s.way == way]
        if own:
            owners = [subject for subject, _ in own]
            said = summarise([s.predicted for _, s in own], owners)
            true = summarise([s.own for _, s in own], owners)
            rows.append({"way": way, "words": words, "predicted": said.to_dict(), "own": true.to_dict()})
    return rows


@dataclass(frozen=True, slots=True)
class RaterAgreement:
    """Dice between raters, and of the model against each, for one label.

    Attributes
    ----------
    label
        Label or region.
    between
        Of every pair of raters, over cases.
    model
        Of the model against every rater, over the same cases.
    pairs
        "FIRST and SECOND" → Dice; the mask in the column ``label`` is called ``label``.
    volume_ratio
        Larger over smaller volume of two raters.
    n_cases, n_subjects
        With two masks or more.
    """

    label: str
    between: Summary
    model: Summary
    pairs: Mapping[str, Summary]
    volume_ratio: Summary
    n_cases: int
    n_subjects: int

    @property
    def sentence(self) -> str:
        """What it says of the model, in one sentence."""
        if self.between.mean is None or self.model.mean is None:
            return f"{self.label}: no two raters drew it in the same case."
        far = "as well as" if self.model.mean >= (self.between.low or self.between.mean) else "less than"
        return (
            f"{self.label}: raters agree with a Dice of {self.between.mean:.2f} among each other, the model with them with"
            f" {self.model.mean:.2f}: {far} they do among each other ({counted(self.n_cases, 'case')} of"
            f" {counted(self.n_subjects, 'subject')})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "sentence": self.sentence}


@dataclass(frozen=True, slots=True)
class RatedCase:
    """Dice of one label of one case with several masks: pair of names → Dice, and name → volume in mL."""

    case: str
    subject: str
    label: str
    dice: Mapping[str, float]
    volumes_ml: Mapping[str, float]


def rate(
    case: str, subject: str, predicted: LabelMap, masks: Mapping[str, LabelMap], targets: Targets
) -> list[RatedCase]:
    """Compare every two masks of a case, and the prediction with each.

    Parameters
    ----------
    case, subject
        Whose masks.
    predicted
        By the model.
    masks
        Rater → mask on the same grid.
    targets
        Which values make which label or region.

    Raises
    ------
    GeometryError
        When a mask lies on another grid.
    """
    for name, mask in masks.items():
        if not mask.grid.matches(predicted.grid):
            got, want = f"rater {name}: mask shape {mask.grid.shape}", "the grid of the image is needed"
            raise GeometryError(expected(f"case {case}", got, f"{want}: {predicted.grid.shape}"), case=case)
    found = []
    for label in targets.names:
        arrays = {name: targets.mask(mask.array, label) for name, mask in masks.items()}
        said = targets.mask(predicted.array, label)
        pairs = {f"{a} and {b}": dice(arrays[a], arrays[b]) for a, b in combinations(arrays, 2)}
        pairs |= {f"{MODEL} and {name}": dice(said, mask) for name, mask in arrays.items()}
        voxel = predicted.grid.voxel_volume_ml
        found.append(
            RatedCase(case, subject, label, pairs, {n: float(np.count_nonzero(m) * voxel) for n, m in arrays.items()})
        )
    return found


def agreement(rated: Sequence[RatedCase]) -> list[RaterAgreement]:
    """Return the agreement of raters for each label."""
    found = []
    for label in dict.fromkeys(r.label for r in rated):
        own = [r for r in rated if r.label == label]
        between, model, ratios = list[float](), list[float](), list[float | None]()
        for r in own:
            among = [d for pair, d in r.dice.items() if not pair.startswith(f"{MODEL} and ")]
            against = [d for pair, d in r.dice.items() if pair.startswith(f"{MODEL} and ")]
            between.append(float(np.mean(among)))
            model.append(float(np.mean(against)))
            low, high = min(r.volumes_ml.values()), max(r.volumes_ml.values())
            ratios.append(high / low if low > 0 else None)
        owners = [r.subject for r in own]
        names = dict.fromkeys(pair for r in own for pair in r.dice)
        pairs = {pair: summarise([r.dice.get(pair) for r in own], owners) for pair in names}
        found.append(
            RaterAgreement(
                label,
                summarise(between, owners),
                summarise(model, owners),
                pairs,
                summarise(ratios, owners),
                len(own),
                len(set(owners)),
            )
        )
    return found
