"""`Int8`: a model's network in whole numbers of 8 bits, and whether it may be used: what it costs in Dice.

It lies in the model's folder, ``int8/``: ``network.xml`` and ``network.bin`` (OpenVINO's form) and ``verdict.json``. It is used
where Dice of no label falls by more than `MOST_FALL` in the mean over cases with masks that the model never saw, and where it was
measured to be faster (`striate.inference.engines.choose`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.core.counted import counted
from striate.core.errors import FormatError
from striate.core.files import hash_file, read_json, write_json
from striate.inference.engines.openvino import NETWORK
from striate.model.model import Model

if TYPE_CHECKING:
    from striate.measure.evaluation import CaseEvaluation
    from striate.measure.statistics import Summary

KIND, VERSION = "striate-int8", 1
FOLDER, VERDICT = "int8", "verdict.json"
MOST_FALL = 0.002


@dataclass(frozen=True)
class Int8:
    """What was measured of a network in int8.

    Attributes
    ----------
    folder
        Where it lies.
    cases
        Of each case ``case``, ``subject`` and ``dice``: label → before, after.
    weights_sha256
        Of the weights that it was made of.
    network_sha256
        Of its own numbers.
    """

    folder: Path
    cases: tuple[Mapping[str, Any], ...]
    weights_sha256: str
    network_sha256: str

    @classmethod
    def measured(
        cls, folder: Path, before: Sequence[CaseEvaluation], after: Sequence[CaseEvaluation], weights_sha256: str
    ) -> Int8:
        """Compare the same cases, predicted by the model's network and by that in `folder`."""
        rows = [
            {"case": one.case, "subject": one.subject,
             "dice": {label: [one.labels[label]["dice"], other.labels[label]["dice"]] for label in one.labels}}
            for one, other in zip(before, after, strict=True)
        ]  # fmt: skip
        return cls(folder, tuple(rows), weights_sha256, hash_file((folder / NETWORK).with_suffix(".bin")))

    @property
    def network(self) -> Path:
        """The file."""
        return self.folder / NETWORK

    @cached_property
    def falls(self) -> dict[str, Summary]:
        """Label → by how much Dice falls, over the cases."""
        from striate.measure.statistics import summarise

        subjects = [row["subject"] for row in self.cases]
        return {label: summarise(found, subjects) for label, found in self._by_label().items()}

    @property
    def allowed(self) -> bool:
        """Whether no label's Dice falls by more than `MOST_FALL` in the mean."""
        known = [[fall for fall in found if not math.isnan(fall)] for found in self._by_label().values()]
        return bool(known) and all(found and math.fsum(found) / len(found) <= MOST_FALL for found in known)

    def _by_label(self) -> dict[str, list[float]]:
        """Return label → by how much Dice falls in each case; NaN where it has none, which a file holds as None."""
        labels = self.cases[0]["dice"] if self.cases else ()
        pairs = {label: [row["dice"][label] for row in self.cases] for label in labels}
        return {label: [math.nan if None in (b, a) else b - a for b, a in found] for label, found in pairs.items()}

    @property
    def reason(self) -> str:
        """One sentence."""
        subjects = f"in the mean over {counted(len({row['subject'] for row in self.cases}), 'held-out subject')}"
        means = {label: math.inf if fall.mean is None else fall.mean for label, fall in self.falls.items()}
        label = max(means, key=means.__getitem__)
        mean, low, high = means[label], self.falls[label].low, self.falls[label].high
        if math.isinf(mean):
            return f"in int8 Dice of {label} is not known {subjects}, so that it is not used"
        if mean <= 0:
            rise = (
                f"rises least for {label}, by {-mean:.4f}{_interval(high, low, -1)}"
                if round(mean, 4)
                else f"stays for {label}"
            )
            return f"in int8 Dice falls for no label and {rise} {subjects}: it may be used"
        verdict = "it may be used" if self.allowed else f"more than {MOST_FALL}, so that it is not used"
        return f"in int8 Dice falls most for {label}, by {mean:.4f}{_interval(low, high)} {subjects}: {verdict}"

    def summary(self) -> dict[str, Any]:
        """Return what the facts and the card of a model say of it."""
        falls = {label: fall.to_dict() for label, fall in self.falls.items()}
        return {"allowed": self.allowed, "reason": self.reason, "most_fall": MOST_FALL, "falls": falls}

    def write(self) -> None:
        """Write ``verdict.json``."""
        made = {"weights_sha256": self.weights_sha256, "network_sha256": self.network_sha256, "cases": list(self.cases)}
        write_json(self.folder / VERDICT, {"kind": KIND, "schema_version": VERSION, **self.summary(), **made})


def _interval(low: float | None, high: float | None, sign: int = 1) -> str:
    """Write an interval; empty where there is none."""
    return "" if low is None or high is None else f" (95 % interval {_signed(sign * low)} to {_signed(sign * high)})"


def _signed(number: float) -> str:
    """Write a number to four digits, nought without a sign."""
    return f"{round(number, 4) + 0.0:.4f}"


def int8_of(model: Model) -> Int8 | None:
    """Return what is known of a model's network in int8; None where there is none, or one of other weights."""
    folder = model.folder / FOLDER
    try:
        known = read_json(folder / VERDICT, KIND, VERSION)
        found = Int8(folder, tuple(known["cases"]), known["weights_sha256"], known["network_sha256"])
    except (FormatError, KeyError):
        return None
    return found if found.weights_sha256 == model.facts.get("weights_sha256") else None
