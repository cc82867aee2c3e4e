"""What curves of falling Dice share: the sizes that are tried, the cases they rest on, and where the Dice has fallen too far."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from striate.core.case import Case
from striate.core.counted import counted, has_or_have
from striate.core.errors import DataError, UsageError, expected
from striate.core.machine import show_seconds
from striate.core.names import lookup
from striate.model.model import Model


def rising(
    model: Model,
    kind: str,
    names: Sequence[str],
    known: Mapping[str, Any],
    unit: str,
    sizes: Sequence[float],
    most: float = math.inf,
) -> tuple[float, ...]:
    """Return the sizes that are tried, each once, rising.

    Parameters
    ----------
    model
        Must draw masks.
    kind, names, known
        What is done to images (``attack``), which of them are tried, and all that there are.
    unit, sizes, most
        What a size is called (``epsilon``), those that were given, and the largest that is allowed.

    Raises
    ------
    UsageError
        When the model draws no masks, a name is not known, there is nothing to try, or a size is not above 0 or is above `most`.
    """
    if model.plan.task.kind != "segmentation":
        want = "Dice is measured; a model that draws masks is needed"
        raise UsageError(expected(f"model {model.folder}", f"task {model.plan.task.kind}", want))
    for name in names:
        lookup(kind, name, known)
    if not names or not sizes or not all(math.isfinite(size) and 0 < size <= most for size in sizes):
        limit = f", at most {most:g}," if math.isfinite(most) else ""
        want = f"at least one {kind} and one {unit} above 0{limit} are needed"
        raise UsageError(expected(kind, f"{list(names)} with {unit} {list(sizes)}", want))
    return tuple(sorted({float(size) for size in sizes}))


def falls_to(limit: float, sizes: Sequence[float], dice: Sequence[float | None]) -> float | None:
    """Return the size at which Dice falls to `limit`, on a straight line between points; None where it stays above.

    Parameters
    ----------
    limit
        Below the first Dice.
    sizes, dice
        (N,) of the points, sizes rising from 0, which is the clean image; an interval with an unknown Dice is passed over.
    """
    for i in range(1, len(sizes)):
        high, low = dice[i - 1], dice[i]
        if high is not None and low is not None and low <= limit:
            share = (high - limit) / max(high - low, 1e-12)
            return float(sizes[i - 1] + share * (sizes[i] - sizes[i - 1]))
    return None


class Labelled:
    """The cases that have a true mask, one after the other as long as the time allows.

    One case is always given. A further one is begun where, at the pace so far, it ends in time. Whoever goes through them says
    after each whether it counts: `done` or `empty`.

    Parameters
    ----------
    cases
        With and without true masks.
    budget_s
        Seconds that all may take; None for as long as it takes.

    Attributes
    ----------
    cases
        Those with a true mask.
    done, empty
        How many were measured, and how many have a mask that holds no label.
    most
        How many are measured at most.

    Raises
    ------
    DataError
        At the end, when none was measured.
    """

    def __init__(self, cases: Sequence[Case], budget_s: float | None) -> None:
        self.cases = [case for case in cases if case.label is not None]
        self.given, self.budget_s, self._began = len(cases), budget_s, time.monotonic()
        self.done, self.empty, self.most = 0, 0, len(self.cases)

    @property
    def spent_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def __iter__(self) -> Iterator[tuple[int, Case]]:
        for number, case in enumerate(self.cases):
            late = self.budget_s is not None and self.spent_s * (self.done + 1) > self.budget_s * self.done
            if self.done >= self.most or (self.done and late):
                break
            yield number, case
        if not self.done:
            want = "Dice against the truth is measured"
            raise DataError(expected(counted(self.given, "case"), "none has a true mask that holds a label", want))

    def notes(self) -> tuple[str, ...]:
        """Say which cases were left out, and why."""
        notes, count = [], len(self.cases)
        if self.given > count:
            left = self.given - count
            verb, them = has_or_have(left), "it was" if left == 1 else "they were"
            notes.append(f"{left} of {counted(self.given, 'case')} {verb} no true mask; {them} left out.")
        if self.empty:
            cases, verb = counted(self.empty, "case"), has_or_have(self.empty)
            them = "it was" if self.empty == 1 else "they were"
            notes.append(f"{cases} {verb} a true mask without a label; {them} left out.")
        if self.budget_s is not None and self.done < count - self.empty:
            notes.append(f"{show_seconds(self.budget_s)} allowed {self.done} of {counted(count, 'case')}.")
        return tuple(notes)
