"""`Split`: which cases teach and which judge; a subject is never on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from striate.core.case import Case
from striate.core.errors import DataError, FormatError, UsageError, expected
from striate.core.files import read_json, write_json
from striate.core.names import did_you_mean
from striate.data.cohort import Cohort

VERSION = 1


@dataclass(frozen=True, slots=True)
class Split:
    """Names of the cases for training and for validation.

    Raises
    ------
    UsageError
        When a case is on both sides, or none is left for training.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "train", tuple(self.train))
        object.__setattr__(self, "validation", tuple(self.validation))
        both = sorted(set(self.train) & set(self.validation))
        if both:
            raise UsageError(
                f"split: case {both[0]} is in training and in validation; one side is needed for each case."
            )
        if not self.train:
            raise UsageError(
                f"split: {len(self.validation)} cases for validation and none for training; hold out fewer."
            )

    def write(self, path: Path) -> None:
        """Write the split as JSON (``split.json``)."""
        document = {
            "kind": "striate-split",
            "schema_version": VERSION,
            "train": self.train,
            "validation": self.validation,
        }
        write_json(path, document)

    @classmethod
    def read(cls, path: Path) -> Split:
        """Read a split.

        Raises
        ------
        FormatError
            When it is not a split, or of a newer version.
        """
        document = read_json(path, "striate-split", VERSION)
        for side in ("train", "validation"):
            names = document.get(side)
            if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
                raise FormatError(expected(path, f"'{side}' is {names!r}", "a list of case names is needed"), path=path)
        return cls(tuple(document["train"]), tuple(document["validation"]))


def hold_out(cohort: Cohort, names: Sequence[str]) -> Split:
    """Hold out the named subjects or cases; with a case goes its whole subject.

    Raises
    ------
    UsageError
        When a name is neither a subject nor a case (the nearest is given), or nothing is left for training.
    """
    usable = _usable(cohort)
    subjects = {c.subject for c in usable}
    by_case = {c.name: c.subject for c in usable}
    held: set[str] = set()
    for name in names:
        if name not in subjects and name not in by_case:
            raise UsageError(
                f"cannot hold out '{name}': no labelled case or subject. {did_you_mean(name, {*subjects, *by_case})}"
            )
        held.add(name if name in subjects else by_case[name])
    return _by_subject(usable, held)


def fold(cohort: Cohort, k: int, n: int, seed: int) -> Split:
    """Return fold `k` (from 0) of `n`: subjects are shuffled by `seed`, then dealt out in turn.

    Raises
    ------
    UsageError
        When `k` is not below `n`, or there are fewer labelled subjects than folds.
    """
    usable = _usable(cohort)
    subjects = sorted({c.subject for c in usable})
    if n < 2 or not 0 <= k < n:
        raise UsageError(f"fold {k} of {n}: a fold from 0 to {max(n, 2) - 1} of at least 2 is needed.")
    if len(subjects) < n:
        raise UsageError(
            f"{n} folds of {len(subjects)} labelled subjects in cohort {cohort.name}: at most {len(subjects)} are possible."
        )
    order = np.random.default_rng(seed).permutation(len(subjects))
    return _by_subject(usable, {subjects[i] for i in order[k::n]})


def usual(cohort: Cohort, seed: int) -> Split:
    """Return what is held out where nobody said: one subject in five, at least one; nothing where there is one subject.

    Raises
    ------
    DataError
        When no case has a label map.
    """
    usable = _usable(cohort)
    subjects = len({c.subject for c in usable})
    return fold(cohort, 0, min(5, subjects), seed) if subjects > 1 else _by_subject(usable, set())


def from_column(cohort: Cohort) -> Split | None:
    """Return the split that the data give (column ``split``), or None where they give none.

    Cases without an entry are for training, unless the data name training cases.

    Raises
    ------
    DataError
        When a subject is on both sides.
    """
    labelled = cohort.labelled
    validation = [c for c in labelled if c.split == "validation"]
    if not validation:
        return None
    named = any(c.split == "train" for c in labelled)
    train = [c for c in labelled if c.split == "train" or (c.split is None and not named)]
    for side in ("validation", "test"):
        other = {c.subject for c in cohort.cases if c.split == side}
        both = sorted({c.subject for c in train} & other)
        if both:
            raise DataError(
                expected(f"subject {both[0]}", f"cases in train and in {side}", "each subject needs one side",
                         "Correct the column 'split'."),
            )  # fmt: skip
    return Split(_names(train), _names(validation))


def _usable(cohort: Cohort) -> list[Case]:
    """Return the labelled cases that are not kept for testing.

    Raises
    ------
    DataError
        When there are none.
    """
    kept = {c.subject for c in cohort.cases if c.split == "test"}
    usable = [c for c in cohort.labelled if c.subject not in kept]
    if not usable:
        raise DataError(
            expected(f"cohort {cohort.name}", f"{len(cohort.cases)} cases, none with a label map outside split 'test'",
                     "label maps are needed to learn from"),
        )  # fmt: skip
    return usable


def _by_subject(cases: list[Case], held: set[str]) -> Split:
    return Split(_names(c for c in cases if c.subject not in held), _names(c for c in cases if c.subject in held))


def _names(cases: Iterable[Case]) -> tuple[str, ...]:
    return tuple(c.name for c in cases)
