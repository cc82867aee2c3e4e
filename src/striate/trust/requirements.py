"""Limits that an audit must keep, such as ``ece<=0.05, coverage>=0.87``: read, and checked against what was measured.

A number that was not measured is not met, and the sentence says why it is not known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from striate.core.counted import counted
from striate.core.errors import UsageError
from striate.core.names import did_you_mean

NAMES = {
    "dice": "mean Dice of cases that the model has not seen; of several structures the lowest",
    "lesion_f1": "mean lesion-wise F1; of several structures the lowest",
    "ece": "expected calibration error after calibration; of several structures the largest",
    "adaptive_ece": "the same over bins of equal counts",
    "brier": "Brier score after calibration; of several structures the largest",
    "coverage": "share of subjects whose true volume the interval holds; of several structures the lowest",
    "count_coverage": "the same of numbers of lesions",
    "missed": "share of cases with a Dice below 0.6 that the flag for review did not flag",
    "gap": "largest difference of the mean Dice between groups of one column that are not under-represented",
    "unfair": "columns whose groups differ by more than chance, after Holm's correction",
    "breaks_at": "strength, 0 to 1, at which the first artefact breaks the model; 1 where none does",
    "unwarned": "artefacts that break the model before the gate warns",
    "halves_at": "ε, in fractions of the contrast, at which the strongest attack halves the Dice; the largest tried if none does",
    "explained": "share of the checks of explanations that passed",
    "raters": "mean Dice of the model with the raters, divided by that of the raters among each other",
    "suspects": "share of the masks that look wrong",
    "doubled": "Dice that twice the subjects would give, less that of now",
    "seconds": "median seconds per case",
    "memory_gb": "peak memory in GB",
    "wh": "electricity per case in Wh",
}  # fmt: skip
"""What can be asked for."""
UNBOUNDED = ("unfair", "unwarned", "halves_at", "raters", "doubled", "seconds", "memory_gb", "wh")
"""All others lie between 0 and 1."""
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
}
_FORM = re.compile(r"(?P<name>[A-Za-z_][\w-]*)\s*(?P<sign><=|>=|<|>|==|=)\s*(?P<limit>[^<>=,]+)")


@dataclass(frozen=True, slots=True)
class Measured:
    """A number of an audit.

    Attributes
    ----------
    value
        None where it is not known.
    n_subjects
        That it rests on.
    why
        Why it is not known.
    """

    value: float | None
    n_subjects: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One limit: ``name sign limit``."""

    name: str
    sign: str
    limit: float

    @property
    def text(self) -> str:
        """As it is written."""
        return f"{self.name}{self.sign}{self.limit:g}"

    def check(self, measured: Mapping[str, Measured]) -> Verdict:
        """Compare with what was measured."""
        found = measured.get(self.name, Measured(None, 0, "the audit has no such number"))
        if found.value is None or not math.isfinite(found.value):
            why = (found.why or "it was not measured").rstrip(".")
            return Verdict(self.text, self.name, None, 0, False, f"{self.text}: not known, so not met: {why}.")
        met = _SIGNS[self.sign](found.value, self.limit)
        held = "met" if met else "broken"
        text = f"{self.text}: {held}, {found.value:.4g} ({counted(found.n_subjects, 'subject')})."
        return Verdict(self.text, self.name, found.value, found.n_subjects, met, text)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one requirement is met, with the number that decides it and how many subjects that rests on."""

    text: str
    name: str
    value: float | None
    n_subjects: int
    met: bool
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def parse(text: str) -> tuple[Requirement, ...]:
    """Read limits that are joined by commas.

    Raises
    ------
    UsageError
        When one has another form, an unknown name (the nearest is given), no possible number, or stands there twice.
    """
    found: list[Requirement] = []
    for part in (p.strip() for p in text.split(",")):
        match = _FORM.fullmatch(part)
        if match is None or match["sign"] not in _SIGNS:
            raise UsageError(
                f"--require '{part}': NAME<=NUMBER or NAME>=NUMBER is needed, joined by commas, for instance"
                f' "ece<=0.05, coverage>=0.87". Names: {", ".join(NAMES)}.'
            )
        name = match["name"].lower().replace("-", "_")
        if name not in NAMES:
            raise UsageError(f"--require '{part}': unknown name '{match['name']}'. {did_you_mean(name, NAMES)}")
        try:
            limit = float(match["limit"])
        except ValueError:
            limit = math.nan
        if not math.isfinite(limit):
            raise UsageError(f"--require '{part}': '{match['limit'].strip()}' is no number, for instance {name}<=0.05.")
        if name not in UNBOUNDED and not 0 <= limit <= 1:
            raise UsageError(f"--require '{part}': {name} lies between 0 and 1, so {limit:g} is no limit of it.")
        if any(r.name == name and r.sign[0] == match["sign"][0] for r in found):
            raise UsageError(f"--require '{part}': {name} has two limits of one kind; give one.")
        found.append(Requirement(name, match["sign"], limit))
    return tuple(found)


def check(requirements: Sequence[Requirement], measured: Mapping[str, Measured]) -> tuple[Verdict, ...]:
    """Compare every requirement with what was measured."""
    return tuple(r.check(measured) for r in requirements)
