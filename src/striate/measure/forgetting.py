"""`Forgetting`: what a model learned on a new cohort and what it forgot of the earlier one, along the line between its weights.

The network before an update (share 0), the one after it (share 1) and those between are measured on held-out cases of both
cohorts. Taken is the one with the best mean Dice on the new cohort among those whose mean Dice on the earlier one falls by
at most a tolerance; of equals the one nearest to the weights before. Where the next one learned more but forgot too much, the
way between the two is halved, so that the tolerance is used up. As the choice is made on the very cases that are shown, the
numbers of what was chosen are slightly optimistic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from striate.core.counted import counted
from striate.core.files import read_document, write_json
from striate.measure.statistics import Summary, summarise

KIND, VERSION, FILE = "striate-update", 1, "update.json"
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How far the networks that are always measured lie from the weights before towards those after."""
FINEST = 1 / 32
"""Shares that lie no further apart are near enough: the way between them is not halved."""
MOST = len(SHARES) + 3
"""Networks measured at most: from a quarter of the way down to `FINEST` it is halved three times."""
TOLERANCE = 0.02
"""By how much mean Dice on the earlier cohort may fall, where nobody says otherwise."""
WEAK = 0.3
"""Mean Dice on the earlier cohort below which a model has little to forget."""
EQUAL = 1e-9
"""Means that differ by less are equal."""

Dice = Mapping[str, Mapping[str, float]]
"""Case → label or region → Dice."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One network of the line: its share, the hash of its weights, and the Dice of each held-out case."""

    share: float
    weights_sha256: str
    dice: Dice


def choose(means: Sequence[tuple[float, float | None, float]], tolerance: float) -> float:
    """Return the share to take.

    Parameters
    ----------
    means
        Share, mean Dice on the earlier cohort (None: nobody of it was held out), mean Dice on the new one; by share, from 0 on.
    tolerance
        Largest fall of the former.
    """
    if means[0][1] is None:
        return max(share for share, _, _ in means)
    allowed = [(share, new) for share, earlier, new in means if _allowed(means, earlier, tolerance)]
    best = max(new for _, new in allowed)
    return min(share for share, new in allowed if new >= best - EQUAL)


def halfway(means: Sequence[tuple[float, float | None, float]], tolerance: float) -> float | None:
    """Return the share to measure next: half of the way from the one to take to the next one, where that forgets too much.

    None where nothing can be gained: the next one is allowed, or has learned no more, or lies within `FINEST`.

    Parameters
    ----------
    means, tolerance
        As for `choose`, by share.
    """
    share = choose(means, tolerance)
    beyond = next(((s, earlier, new) for s, earlier, new in means if s > share), None)
    if beyond is None or beyond[0] - share <= FINEST or _allowed(means, beyond[1], tolerance):
        return None
    learned = next(new for s, _, new in means if s == share)
    return (share + beyond[0]) / 2 if beyond[2] > learned + EQUAL else None


def _allowed(means: Sequence[tuple[float, float | None, float]], earlier: float | None, tolerance: float) -> bool:
    """Return whether mean Dice on the earlier cohort is near enough to that of share 0, which comes first."""
    return (means[0][1] or 0.0) - (earlier or 0.0) <= tolerance + EQUAL


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What was measured, and what was chosen.

    Attributes
    ----------
    rows
        The networks of the line, by share; share 0 comes first.
    subjects
        Held-out case → whose it is.
    earlier
        The held-out cases of the earlier cohort; the others are of the new one.
    tolerance
        Largest fall of mean Dice on the earlier cohort.
    rehearsed
        Training cases of the earlier cohort that were rehearsed; 0: the network learned from new ones alone.
    source
        SHA-256 of the weights of the model that learned more.
    """

    rows: tuple[Measured, ...]
    subjects: Mapping[str, str]
    earlier: frozenset[str]
    tolerance: float
    rehearsed: int = 0
    source: str = ""

    @property
    def share(self) -> float:
        """How far the network that is taken lies from the weights before towards those after."""
        return choose(self._means(), self.tolerance)

    @property
    def next_share(self) -> float | None:
        """How far the network lies that is to be measured next; None: all are."""
        there = {row.share for row in self.rows}
        missing = next((share for share in SHARES if share not in there), None)
        return halfway(self._means(), self.tolerance) if missing is None else missing

    def _means(self) -> list[tuple[float, float | None, float]]:
        return [(row.share, self._mean(row, "earlier"), self._mean(row, "new") or 0.0) for row in self.rows]

    def with_row(self, row: Measured) -> Forgetting:
        """Return the same with one network more."""
        return replace(self, rows=tuple(sorted((*self.rows, row), key=lambda r: r.share)))

    @property
    def kept(self) -> bool:
        """Whether something of the update was taken, and what was forgotten is known."""
        return self.share > 0 and bool(self.earlier)

    def cases(self, side: str) -> list[str]:
        """Return the held-out cases of the ``earlier`` or the ``new`` cohort."""
        return [case for case in self.subjects if (case in self.earlier) == (side == "earlier")]

    def summary(self, row: Measured, side: str, since: Measured | None = None) -> Summary:
        """Return Dice over the cases of a side, of each the mean over its labels; with `since` its difference from that."""
        cases = self.cases(side)
        values = [_of_case(row, case) - (_of_case(since, case) if since else 0.0) for case in cases]
        return summarise(values, [self.subjects[case] for case in cases])

    def _mean(self, row: Measured, side: str) -> float | None:
        return fmean(_of_case(row, case) for case in cases) if (cases := self.cases(side)) else None

    def at(self, share: float) -> Measured:
        """Return the network of a share."""
        return next(row for row in self.rows if row.share == share)

    def told(self) -> str:
        """Return in words what was taken, and why."""
        if not self.earlier:
            return (
                "No held-out case of the earlier cohort is at hand, so what was forgotten cannot be measured. The whole update"
                f" was taken: {self._fared('new')}."
            )
        before, lower = self._mean(self.at(0.0), "earlier") or 0.0, f"at most {self.tolerance:g} lower was allowed"
        little = f" It was {before:.2f} before: there was little to forget." if before < WEAK else ""
        if self.share == 0:
            return (
                "Nothing of the update was kept, the weights are those of before: no part of it raises mean Dice on the new"
                f" cohort without a fall of more than {self.tolerance:g} on the earlier one. The whole update:"
                f" {self._fared('new', 1.0)}; {self._fared('earlier', 1.0)}.{little}"
            )
        part = (
            "The whole update"
            if self.share == 1
            else f"{100 * self.share:.3g} % of the way from the old weights to the new ones"
        )
        return f"{part} was taken: {self._fared('new')}; {self._fared('earlier')} ({lower}).{little}"

    def _fared(self, side: str, share: float | None = None) -> str:
        before, after = (self._mean(self.at(s), side) for s in (0.0, self.share if share is None else share))
        count = counted(len({self.subjects[case] for case in self.cases(side)}), "held-out subject")
        return f"mean Dice on {count} of the {side} cohort {before or 0.0:.3f} → {after or 0.0:.3f}"

    def facts(self) -> dict[str, Any]:
        """Return what a model and a record say of it."""
        sides = {side: self._side(self.at(self.share), side) for side in ("earlier", "new")}
        return {
            "share": self.share, "tolerance": self.tolerance, "rehearsed_cases": self.rehearsed, "kept": self.kept,
            "from_sha256": self.source, "told": self.told(), **sides,
        }  # fmt: skip

    def _side(self, row: Measured, side: str) -> dict[str, Any]:
        first = self.at(0.0)
        return {
            "subjects": len({self.subjects[case] for case in self.cases(side)}),
            "before": self.summary(first, side).to_dict(), "after": self.summary(row, side).to_dict(),
            "change": self.summary(row, side, first).to_dict(),
        }  # fmt: skip

    def points(self) -> list[dict[str, Any]]:
        """Return for each network its share and, of either side, subjects, Dice before and after, and the change."""
        return [{"share": r.share, **{side: self._side(r, side) for side in ("earlier", "new")}} for r in self.rows]

    def write(self, path: Path) -> None:
        """Write ``update.json``; while networks are still to be measured it holds the rows that are there."""
        write_json(path, {
            "kind": KIND, "schema_version": VERSION, "from_sha256": self.source, "tolerance": self.tolerance,
            "rehearsed_cases": self.rehearsed,
            "subjects": dict(self.subjects), "earlier": sorted(self.earlier), "rows": [asdict(row) for row in self.rows],
            "points": self.points(), "chosen": self.facts() if self.next_share is None else None,
        })  # fmt: skip

    @classmethod
    def read(cls, path: Path) -> Forgetting:
        """Read ``update.json``.

        Raises
        ------
        FormatError
            When it is none, or of a newer version.
        """
        return read_document(path, KIND, VERSION, cls.from_dict)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Forgetting:
        """Read the JSON document."""
        return cls(
            tuple(Measured(**row) for row in document["rows"]), dict(document["subjects"]), frozenset(document["earlier"]),
            float(document["tolerance"]), int(document["rehearsed_cases"]), str(document["from_sha256"]),
        )  # fmt: skip


def _of_case(row: Measured, case: str) -> float:
    return fmean(row.dice[case].values())
