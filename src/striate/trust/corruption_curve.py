"""`corruption_curve`: how Dice and calibration fall with the strength of each artefact, and whether the input gate fires in time.

The artefact is put on the images of the files (`striate.phantoms.corruptions`), which then go the whole way: preparation,
network, mask on the grid of the files. The true mask stays. A model **breaks** at the strength at which the mean Dice falls to
half of the clean one, or to 0.6 where the clean one lies above. The gate **warns** from the strength on at which half of
the cases get a caution of the input gate, or are unlike training.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.image import Image, LabelMap
from striate.core.machine import show_seconds
from striate.core.progress import Progress, Silent
from striate.data.prepare import prepare_images
from striate.inference.engines import Engine
from striate.inference.observed import LOGITS
from striate.inference.predict import engine_of
from striate.io.read import read_channels, read_label
from striate.measure.calibration import BINS, equal_width
from striate.measure.statistics import Summary, summarise
from striate.model.model import Model
from striate.phantoms.corruptions import CORRUPTIONS, MEANINGS, corrupted
from striate.trust.calibration import SUSPECT
from striate.trust.curve import sigmoid
from striate.trust.evidence import CaseEvidence
from striate.trust.examine import examine
from striate.trust.falling_dice import Labelled, falls_to, rising
from striate.trust.trust import Trust

STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
BAD_DICE = 0.6
HALF = 0.5
"""Share of the clean Dice below which a model is broken, and share of the cases that the gate must warn of."""


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured at one strength.

    Attributes
    ----------
    strength
        0 (none) to 1.
    dice
        Of whole masks on the grid of the files, mean over the labels that a case has, then over cases.
    ece
        Calibration error of the calibrated probability over voxels that are suspected (raw probability of at least 0.01) or truly
        labelled, mean over subjects and labels; None without calibration.
    warned
        Share of the cases that the gate has a caution for, or that are unlike training; None without either.
    codes
        Code of the caution → how many cases.
    """

    strength: float
    dice: Summary
    ece: float | None
    warned: float | None
    codes: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "strength": self.strength, "dice": self.dice.to_dict(), "ece": self.ece, "warned": self.warned,
            "codes": dict(self.codes),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Point:
        """Read the JSON form."""
        return cls(
            float(document["strength"]), Summary(**document["dice"]), document["ece"], document["warned"],
            dict(document["codes"]),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ArtefactCurve:
    """One artefact.

    Attributes
    ----------
    meaning
        What strength 1 is.
    points
        Strength rising.
    breaks_at
        Strength at which the model breaks, interpolated; None where it does not.
    warns_at
        Smallest strength that was tried at which half of the cases are warned of; None where there is none.
    warned_before
        Whether that lies below the strength at which it breaks; None where it does not break, or there is no gate.
    sentence
        All this in words.
    """

    meaning: str
    points: tuple[Point, ...]
    breaks_at: float | None
    warns_at: float | None
    warned_before: bool | None
    sentence: str

    @classmethod
    def of(cls, name: str, clean: Point, points: Sequence[Point]) -> ArtefactCurve:
        """Return the curve of points, strength rising."""
        meaning = MEANINGS.get(name, name)
        broken = breaking([clean, *points])
        gated = any(point.warned is not None for point in points)
        warns = next((p.strength for p in points if p.warned is not None and p.warned >= HALF), None)
        before = None if broken is None or not gated else warns is not None and warns <= broken
        words = name.replace("_", " ")
        last = points[-1]
        end = f"at strength {last.strength:g} ({meaning}, times the strength) the mean Dice is {_shown(last.dice.mean)}"
        text = f"{words}: {end}; clean {_shown(clean.dice.mean)} ({counted(clean.dice.n, 'case')})."
        if broken is not None:
            text += f" It breaks at {broken:.2f}."
        if gated and warns is None:
            text += " The gate never warned of half of the cases."
        elif warns is not None:
            text += f" The gate warned from {warns:g} on"
            text += "." if broken is None else f", {'before' if before else 'after'} that."
        return cls(meaning, tuple(points), broken, warns, before, text)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "meaning": self.meaning, "points": [p.to_dict() for p in self.points], "breaks_at": self.breaks_at,
            "warns_at": self.warns_at, "warned_before": self.warned_before, "sentence": self.sentence,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ArtefactCurve:
        """Read the JSON form."""
        return cls(
            str(document["meaning"]), tuple(Point.from_dict(p) for p in document["points"]), document["breaks_at"],
            document["warns_at"], document["warned_before"], str(document["sentence"]),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class CorruptionCurve:
    """What artefacts do to a model.

    Attributes
    ----------
    n_subjects
        That everything rests on.
    clean
        The images as they are.
    artefacts
        Name → its curve.
    notes
        What the time did not allow, what is not known.
    """

    n_subjects: int
    clean: Point
    artefacts: Mapping[str, ArtefactCurve]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "n_subjects": self.n_subjects,
            "clean": self.clean.to_dict(),
            "artefacts": {name: curve.to_dict() for name, curve in self.artefacts.items()},
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> CorruptionCurve:
        """Read the JSON form."""
        curves = {name: ArtefactCurve.from_dict(c) for name, c in document["artefacts"].items()}
        return cls(int(document["n_subjects"]), Point.from_dict(document["clean"]), curves, tuple(document["notes"]))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was measured of one case at one strength."""

    dice: float
    ece: float | None
    warned: bool | None
    codes: tuple[str, ...]


def corruption_curve(
    model: Model,
    cases: Sequence[Case],
    trust: Trust | None = None,
    *,
    artefacts: Sequence[str] = tuple(CORRUPTIONS),
    strengths: Sequence[float] = STRENGTHS,
    budget_s: float | None = None,
    progress: Progress | None = None,
) -> CorruptionCurve:
    """Spoil the images of cases and measure what a model still makes of them.

    Parameters
    ----------
    model
        That draws masks.
    cases
        With true masks; at best of subjects that the model did not learn from.
    trust
        The model's limits: calibration, gate and likeness.
    artefacts
        Names of `striate.phantoms.corruptions.CORRUPTIONS`.
    strengths
        Above 0, at most 1.
    budget_s
        Seconds that all may take; decides how many cases, and where even one is too much, how many strengths. One case is
        always measured.
    progress
        Who listens.

    Raises
    ------
    UsageError
        When the model draws no masks, an artefact is not known, or a strength lies outside.
    DataError
        When no case has a true mask that holds a label.
    """
    strengths = rising(model, "artefact", artefacts, CORRUPTIONS, "strength", strengths, most=1.0)
    engine = engine_of(model, tell=(progress or Silent()).note)
    tried = everything = [("", 0.0), *((name, s) for name in artefacts for s in strengths)]
    labelled, rows, subjects = Labelled(cases, budget_s), list[list[_Seen]](), list[str]()
    with (progress or Silent()).bar("Artefacts", max(1, len(labelled.cases))) as bar:
        for number, case in labelled:
            images, truth = list(read_channels(case).values()), read_label(Path(str(case.label)))
            if not any(mask.any() for _, mask in model.plan.targets.masks(truth.array)):
                labelled.empty += 1
                continue
            begin = time.monotonic()
            row = [_look(model, engine, case, images, truth, trust)]
            if budget_s is not None and not rows:
                tried = _affordable(tried, time.monotonic() - begin, budget_s - labelled.spent_s)
            for name, strength in tried[1:]:
                spoilt = [corrupted(image, name, strength, number, k) for k, image in enumerate(images)]
                row.append(_look(model, engine, case, spoilt, truth, trust))
                bar.update(number + len(row) / len(tried))
            rows.append(row)
            subjects.append(case.subject)
            labelled.done += 1
    notes = [*labelled.notes(), *_notes(None if len(tried) == len(everything) else budget_s, trust)]
    points = _points(tried, rows, subjects)
    clean = points[0][1]
    curves = {name: ArtefactCurve.of(name, clean, [p for n, p in points if n == name]) for name in artefacts}
    return CorruptionCurve(len(set(subjects)), clean, curves, tuple(notes))


def breaking(points: Sequence[Point]) -> float | None:
    """Return the strength at which the mean Dice falls to the limit, on a straight line; the first point is clean."""
    clean = points[0].dice.mean
    if not clean:
        return None
    limit = max(HALF * clean, BAD_DICE if clean > BAD_DICE else 0.0)
    return falls_to(limit, [point.strength for point in points], [point.dice.mean for point in points])


def calibration_error(evidence: CaseEvidence, trust: Trust) -> float | None:
    """Return the ECE of the calibrated probabilities of a case, mean over its labels; see `Point`."""
    errors = []
    for name, found in evidence.labels.items():
        if name not in trust.calibration.labels:
            continue
        true = found.true_counts.sum(axis=0).astype(np.float64)
        counts = np.where(sigmoid(LOGITS) >= SUSPECT, found.counts.sum(axis=0), true)
        if counts.sum() > 0:
            said = trust.calibration.table(name)
            gaps = np.bincount(equal_width(said), weights=true - counts * said, minlength=BINS)
            errors.append(float(np.abs(gaps).sum() / counts.sum()))
    return float(np.mean(errors)) if errors else None


def _look(
    model: Model, engine: Engine, case: Case, images: Sequence[Image], truth: LabelMap, trust: Trust | None
) -> _Seen:
    """Predict a case from images in memory, and measure it."""
    ready = prepare_images(images, model.plan.preparation, case.name)
    _, evidence = examine(model, case, engine=engine, truth=truth, prepared=ready)
    values = [label.dice for label in evidence.labels.values() if label.true_ml and label.dice is not None]
    dice = float(np.mean(values))
    if trust is None:
        return _Seen(dice, None, None, ())
    ood = trust.training.ood(evidence)
    codes = tuple(caution.code for caution in trust.training.cautions(evidence, ood))
    gated = trust.training.gate is not None or ood is not None
    return _Seen(dice, calibration_error(evidence, trust), bool(codes) if gated else None, codes)


def _points(
    tried: Sequence[tuple[str, float]], rows: Sequence[Sequence[_Seen]], subjects: Sequence[str]
) -> list[tuple[str, Point]]:
    """Return (artefact, point) for each column of `rows` (cases × tried)."""
    found = []
    for (name, strength), column in zip(tried, zip(*rows, strict=True), strict=True):
        codes = Counter(code for seen in column for code in set(seen.codes))
        ece = summarise([seen.ece for seen in column], subjects).mean
        warned = [seen.warned for seen in column if seen.warned is not None]
        share = float(np.mean(warned)) if warned else None
        dice = summarise([seen.dice for seen in column], subjects)
        found.append((name, Point(strength, dice, ece, share, dict(codes.most_common()))))
    return found


def _affordable(tried: Sequence[tuple[str, float]], look_s: float, left_s: float) -> list[tuple[str, float]]:
    """Return what one case can be tried on in the time that is left: every strength, every second, …, or the strongest."""
    strengths = sorted({strength for name, strength in tried if name})
    names = list(dict.fromkeys(name for name, _ in tried if name))
    for step in range(1, len(strengths) + 1):
        kept = strengths[::-1][::step][::-1]
        if len(kept) * len(names) * look_s <= left_s:
            break
    return [("", 0.0), *((name, strength) for name in names for strength in kept)]


def _notes(too_short_s: float | None, trust: Trust | None) -> list[str]:
    notes = [] if too_short_s is None else [f"{show_seconds(too_short_s)} did not allow every strength."]
    if trust is None:
        notes.append("The model has no calibration and no input gate: neither was measured.")
    elif trust.training.gate is None:
        subjects = counted(trust.training.n_subjects, "reference subject")
        notes.append(f"The model has no input gate ({subjects}; 3 are needed).")
    return notes


def _shown(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3f}"
