"""`KeptClasses`: cases whose classes a call has told before it was stopped; they are taken where nothing has changed.

Images pass through the network together, and what it says of one may differ in its last bit with what passes beside it. So those
that passed together are kept together, and taken from the first case on, up to the first that is missing or was made otherwise:
what comes then passes in the company that it would have had if nobody had stopped, as long as the images are the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from striate.core.case import Case
from striate.core.caution import Caution
from striate.core.files import plain
from striate.core.machine import processor
from striate.core.progress import Progress
from striate.core.record import versions
from striate.core.unfinished import Unfinished
from striate.io.read import hash_image
from striate.measure.class_findings import ClassCase
from striate.model.model import Model
from striate.workflows.kept import HEADERS, of_model, resumed

if TYPE_CHECKING:
    from striate.inference.whole import WholePrediction


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What came of one case.

    Attributes
    ----------
    prediction
        Without images.
    judged
        What the model's limits say of it; None where they are not known.
    cautions
        Reasons for doubt.
    hashes
        "CASE/CHANNEL" → SHA-256 of its images.
    """

    prediction: WholePrediction
    judged: ClassCase | None
    cautions: tuple[Caution, ...]
    hashes: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "case": self.prediction.case.name, "images": _files(self.prediction.case), "hashes": dict(self.hashes),
            "probabilities": self.prediction.probabilities, "slices": self.prediction.slices,
            "judged": None if self.judged is None else self.judged.to_dict(),
            "cautions": [caution.to_dict() for caution in self.cautions],
        }  # fmt: skip

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], case: Case) -> Told:
        """Read the JSON form of what came of `case`."""
        from striate.inference.whole import WholePrediction  # brings torch, which a dry run of masks does without

        chances, judged = np.array(document["probabilities"], np.float32), document["judged"]
        prediction = WholePrediction(case, chances, tuple(document["slices"]), np.zeros((0,), np.float32))
        cautions = tuple(map(Caution.from_dict, document["cautions"]))
        return cls(prediction, None if judged is None else ClassCase.from_dict(judged), cautions, document["hashes"])


@dataclass(slots=True)
class KeptClasses:
    """The cases of one call that are done.

    Attributes
    ----------
    place
        Where they wait until all are done.
    way
        What they depend on, beside their images.
    count
        How many are kept.
    """

    place: Unfinished
    way: dict[str, Any]
    count: int = 0
    _waiting: list[Told] = field(default_factory=list)

    @classmethod
    def of(cls, model: Model, place: Unfinished) -> KeptClasses:
        """Begin with what lies in `place`."""
        return cls(place, plain({"model": of_model(model), "programs": versions(), "processor": processor()}))

    def find(self, cases: Sequence[Case], progress: Progress) -> list[Told]:
        """Return what came of the first of `cases`, as far as they are done as they would be now."""
        found = list[Told]()
        if not self.place.names:
            return found
        with progress.bar("look at what is kept", len(cases)) as bar:
            while len(found) < len(cases) and (some := self._together(cases[len(found) :])):
                found += some
                bar.update(len(found))
        self.count = len(found)
        progress.note(resumed(len(found), len(cases), self.place.folder))
        return found

    def _together(self, cases: Sequence[Case]) -> list[Told]:
        """Return what came of the first of `cases` and those that passed through the network with it; nothing where it is not."""
        known = self.place.get(cases[0].name)
        if known is None or known.get("way") != self.way or not isinstance(known.get("cases"), list):
            return []
        rows, some = known["cases"], cases[: len(known["cases"])]
        if len(some) < len(cases) and not known.get("full"):  # the next would have passed with them
            return []
        with contextlib.suppress(
            KeyError, TypeError, ValueError
        ):  # of another kind, or numbers that JSON does not know
            if [row["case"] for row in rows] == [case.name for case in some] and all(map(_as_it_was, rows, some)):
                return [Told.from_dict(row, case) for row, case in zip(rows, some, strict=True)]
        return []

    def add(self, told: Told) -> None:
        """Remember what came of a case until `keep` is called."""
        self._waiting.append(told)

    def keep(self, full: bool) -> None:
        """Write down the cases that were added, which passed through the network together; `full`: as many as can."""
        some, self._waiting = self._waiting, []
        known = {"way": self.way, "full": full, "cases": [told.to_dict() for told in some]}
        self.place.keep(some[0].prediction.case.name, known, ())
        self.count += len(some)


def names_in(place: Unfinished) -> list[str]:
    """Return the cases that lie in `place`, whether or not they are as they would be now."""
    pieces = (place.get(name) or {} for name in place.names)
    return [str(row["case"]) for known in pieces for row in known.get("cases") or ()]


def _files(case: Case) -> dict[str, str]:
    return {name: path.name for name, path in case.channels.items()}


def _as_it_was(known: Mapping[str, Any], case: Case) -> bool:
    """Tell whether the images of a case are those that were looked at."""
    if known["images"] != _files(case) or any(path.suffix.lower() in HEADERS for path in case.channels.values()):
        return False
    paths = case.channels.items()
    return all(path.exists() and known["hashes"][f"{case.name}/{name}"] == hash_image(path) for name, path in paths)
