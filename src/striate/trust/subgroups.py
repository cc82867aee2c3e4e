"""Performance by group: site, scanner, age, sex, lesion size, whatever is known of the cases, corrected for multiple looks.

Of each column the values are averaged by group, with a bootstrap interval over subjects. Whether groups differ by more than
chance is asked by a permutation test: the statistic is the variance between groups, Σ n_g (mean_g − mean)², and the groups are
dealt out anew to the subjects; where a column differs within subjects (the size of a lesion), they are dealt out anew within
each subject instead. p = (1 + permutations as extreme) / (1 + permutations) (Phipson and Smyth, SAGMB 9(1), 2010). Holm's
correction (`striate.measure.paired.holm`) is over all columns that were looked at.

Continuous columns are cut into tertiles. Groups of fewer than `FEW` subjects are shown and named as under-represented.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.counted import counted
from striate.core.names import natural_order
from striate.measure.paired import holm
from striate.measure.statistics import summarise

PERMUTATIONS = 2000
MOST_GROUPS = 12
"""Columns of more different words than this name cases rather than groups; they are skipped, and named."""
FEW = 5
"""A group of fewer subjects is under-represented, whatever its share; so is one below `SMALL_SHARE`."""
SMALL_SHARE = 0.1
LEVEL = 0.05

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Unit:
    """What is counted: a case, or one lesion of it.

    Attributes
    ----------
    subject
        Whose.
    value
        The measure, for instance its Dice.
    groups
        Column → what the cohort says, as text; absent where it says nothing.
    """

    subject: str
    value: float
    groups: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """One group of a column.

    Attributes
    ----------
    name
        The value that they share, or the range of a tertile.
    n, n_subjects
        Units and subjects in it.
    mean, low, high
        Of the measure, with its 95 % interval over subjects; no interval with one subject.
    few
        Whether it is under-represented.
    """

    name: str
    n: int
    n_subjects: int
    mean: float
    low: float | None
    high: float | None
    few: bool


@dataclass(frozen=True, slots=True)
class Column:
    """One column that was looked at.

    Attributes
    ----------
    name, measure
        Of the column, and what was compared.
    groups
        In natural order, tertiles rising.
    unknown
        Units of which the column says nothing.
    n_subjects
        Subjects of the known ones.
    gap
        Largest mean minus smallest, over groups that are not under-represented; None with fewer than two of them.
    p, p_corrected
        Of the permutation test, and after Holm's correction.
    """

    name: str
    measure: str
    groups: tuple[Group, ...]
    unknown: int
    n_subjects: int
    gap: float | None
    p: float
    p_corrected: float = 1.0

    @property
    def differs(self) -> bool:
        """Whether the groups differ by more than chance, after the correction."""
        return self.p_corrected < LEVEL

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "differs": self.differs}


@dataclass(frozen=True, slots=True)
class Subgroups:
    """All columns that were looked at, and why others were not.

    Attributes
    ----------
    columns
        Those with the smallest corrected p first.
    skipped
        Column → why it says nothing.
    n_subjects
        Of all units.
    """

    columns: tuple[Column, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    n_subjects: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        columns = [c.to_dict() for c in self.columns]
        return {"columns": columns, "skipped": dict(self.skipped), "n_subjects": self.n_subjects}


def subgroups(looks: Mapping[str, Sequence[Unit]], columns: Sequence[str]) -> Subgroups:
    """Compare the groups of every column.

    Parameters
    ----------
    looks
        Measure → its units; a column that no unit of a measure knows is not looked at there.
    columns
        All columns of the cohort, those without any value included, so that they can be named.
    """
    found, skipped = list[Column](), dict[str, str]()
    for name in columns:
        why, seen = "no case has a value", len(found)
        for measure, units in looks.items():
            known = [u for u in units if u.groups.get(name, "").strip()]
            if not known:
                continue
            made = _column(name, measure, known, len(units) - len(known))
            if isinstance(made, str):
                why = made
            else:
                found.append(made)
        if len(found) == seen:
            skipped[name] = why
    corrected = holm([c.p for c in found])
    whole = [replace(c, p_corrected=p) for c, p in zip(found, corrected, strict=True)]
    whole.sort(key=lambda c: (c.p_corrected, c.p, c.name))
    subjects = {u.subject for units in looks.values() for u in units}
    return Subgroups(tuple(whole), skipped, len(subjects))


def _column(name: str, measure: str, known: Sequence[Unit], unknown: int) -> Column | str:
    """Return a column, or why it says nothing."""
    subjects = sorted({u.subject for u in known})
    told = [u.groups[name].strip() for u in known]
    if len(set(told)) < 2:
        return f"one value only ('{told[0]}', {counted(len(subjects), 'subject')})"
    if len(subjects) < 2:
        return f"one subject only ({subjects[0]}); groups are compared over subjects"
    members, names = _grouped(told)
    if members is None:
        return names[0]
    values = np.array([u.value for u in known])
    owner = np.searchsorted(np.array(subjects), np.array([u.subject for u in known]))
    groups = []
    for g, group in enumerate(names):
        inside = members == g
        own = [known[i].subject for i in np.flatnonzero(inside).tolist()]
        s = summarise(values[inside].tolist(), own)
        count = len(set(own))
        few = count < FEW or count < SMALL_SHARE * len(subjects)
        groups.append(Group(group, len(own), count, s.mean or 0.0, s.low, s.high, few))
    sound = [g.mean for g in groups if not g.few]
    gap = max(sound) - min(sound) if len(sound) > 1 else None
    p = _permuted(values, members, owner, len(names))
    return Column(name, measure, tuple(groups), unknown, len(subjects), gap, p)


def _grouped(told: Sequence[str]) -> tuple[NDArray[np.intp] | None, list[str]]:
    """Return the group of each unit and the names of the groups; None and the reason where it has none."""
    numbers = [_number(text) for text in told]
    if all(n is not None for n in numbers) and len(set(numbers)) > (3 if any("." in t for t in told) else 5):
        values = np.array(numbers, dtype=np.float64)
        cuts = np.quantile(values, (1 / 3, 2 / 3))
        members = np.searchsorted(cuts, values, side="left")
        kept = [g for g in range(3) if (members == g).any()]
        names = [_range(values[members == g]) for g in kept]
        return np.searchsorted(kept, members), names
    names = sorted(set(told), key=natural_order)
    if len(names) > MOST_GROUPS:
        return None, [f"{len(names)} different words; at most {MOST_GROUPS} groups are compared"]
    return np.array([names.index(t) for t in told]), names


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _range(values: Floats) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def _permuted(values: Floats, members: NDArray[np.intp], owner: NDArray[np.intp], count: int) -> float:
    """Return the p of the permutation test; see the top of this file."""
    rng = np.random.default_rng(0)
    first = np.full(owner.max() + 1, -1)
    first[owner[::-1]] = members[::-1]
    within = bool((first[owner] != members).any())
    if not within:  # one number per subject, and its group
        values = np.bincount(owner, weights=values) / np.bincount(owner)
        members, owner = first, np.arange(len(first))
    real = _between(values, members[None], count)[0]
    drawn = np.empty((PERMUTATIONS, len(values)), dtype=np.intp)
    blocks = [np.flatnonzero(owner == s) for s in range(owner.max() + 1)] if within else [np.arange(len(values))]
    for block in blocks:
        order = rng.permuted(np.tile(members[block], (PERMUTATIONS, 1)), axis=1)
        drawn[:, block] = order
    chance = _between(values, drawn, count)
    return float((1 + np.count_nonzero(chance >= real - 1e-12)) / (1 + PERMUTATIONS))


def _between(values: Floats, members: NDArray[np.intp], count: int) -> Floats:
    """Return the variance between groups of each row of `members` (draws, n)."""
    middle, total = values.mean(), np.zeros(len(members))
    for g in range(count):
        inside = members == g
        n = inside.sum(axis=1)
        total += n * (np.where(n > 0, (inside @ values) / np.maximum(n, 1), middle) - middle) ** 2
    return total
