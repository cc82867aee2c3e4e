"""`Split`: which cases teach and which judge; a subject is never on both sides."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from striate.core.case import NO_CLASS, Case
from striate.core.counted import counted, is_or_are
from striate.core.errors import DataError, FormatError, UsageError, expected
from striate.core.files import read_json, write_json
from striate.core.names import did_you_mean, natural_order
from striate.data.cohort import Cohort

VERSION = 1
Truth = Literal["label", "class", "image"]
"""What a case needs to be learned from: a label map, classes (none of them counts), or nothing but its images."""


@dataclass(frozen=True, slots=True)
class Split:
    """Names of the cases for training and for validation.

    Attributes
    ----------
    train, validation
        Which teach, and which judge.
    earlier
        Those, on either side, that belong to the cohort of an earlier model which goes on learning (`striate update`): the
        training cases among them are rehearsed.

    Raises
    ------
    UsageError
        When a case is on both sides, or none is left for training.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    earlier: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("train", "validation", "earlier"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        both = sorted(set(self.train) & set(self.validation))
        if both:
            raise UsageError(
                f"split: case {both[0]} is in training and in validation; one side is needed for each case."
            )
        if not self.train:
            raise UsageError(
                f"split: {counted(len(self.validation), 'case')} for validation and none for training; hold out fewer."
            )

    def write(self, path: Path) -> None:
        """Write the split as JSON (``split.json``)."""
        document = {
            "kind": "striate-split",
            "schema_version": VERSION,
            "train": self.train,
            "validation": self.validation,
            **({"earlier": self.earlier} if self.earlier else {}),
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
        document.setdefault("earlier", [])
        for side in ("train", "validation", "earlier"):
            names = document.get(side)
            if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
                raise FormatError(expected(path, f"'{side}' is {names!r}", "a list of case names is needed"), path=path)
        return cls(tuple(document["train"]), tuple(document["validation"]), tuple(document["earlier"]))


def hold_out(cohort: Cohort, names: Sequence[str], *, truth: Truth | None = None) -> Split:
    """Hold out the named subjects or cases; with a case goes its whole subject.

    Parameters
    ----------
    cohort
        Its cases with truth are split; those of the split ``test`` are kept.
    names
        Subjects or cases.
    truth
        What a case needs to be used; see `truth_of` for None.

    Raises
    ------
    UsageError
        When a name is neither a subject nor a case (the nearest is given), or nothing is left for training.
    """
    usable = _usable(cohort, truth)
    subjects = {c.subject for c in usable}
    by_case = {c.name: c.subject for c in usable}
    held: set[str] = set()
    for name in names:
        if name not in subjects and name not in by_case:
            raise UsageError(
                f"cannot hold out '{name}': no labelled case or subject. {did_you_mean(name, {*subjects, *by_case})}"
            )
        held.add(name if name in subjects else by_case[name])
    return _told(cohort, _by_subject(usable, held), truth)


def fold(cohort: Cohort, k: int, n: int, seed: int, *, truth: Truth | None = None) -> Split:
    """Return fold `k` (from 0) of `n`: subjects are shuffled by `seed`, then dealt out in turn.

    Where classes are the truth, subjects of the same classes are dealt out one after the other, so that each fold gets its
    share of each class.

    Raises
    ------
    UsageError
        When `k` is not below `n`, or there are fewer labelled subjects than folds.
    """
    usable = _usable(cohort, truth)
    subjects = sorted({c.subject for c in usable})
    if n < 2 or not 0 <= k < n:
        raise UsageError(f"fold {k} of {n}: a fold from 0 to {max(n, 2) - 1} of at least 2 is needed.")
    if len(subjects) < n:
        raise UsageError(
            f"{n} folds of {counted(len(subjects), 'labelled subject')} in cohort {cohort.name}: at most {len(subjects)}"
            f" {is_or_are(len(subjects))} possible."
        )
    order = [subjects[i] for i in np.random.default_rng(seed).permutation(len(subjects))]
    if (truth or truth_of(cohort)) == "class":
        classes = _classes_of(usable)
        order.sort(key=lambda subject: sorted(classes[subject]))
    return _told(cohort, _by_subject(usable, set(order[k::n])), truth)


def usual(cohort: Cohort, seed: int, *, truth: Truth | None = None) -> Split:
    """Return what is held out where nobody said: one subject in five, at least one; nothing where there is one subject.

    Where classes are the truth, it is one subject in five of each class, at least one where two subjects have it.

    Raises
    ------
    DataError
        When no case has the truth.
    """
    usable = _usable(cohort, truth)
    subjects = len({c.subject for c in usable})
    if subjects < 2:
        return _by_subject(usable, set())
    if (truth or truth_of(cohort)) == "class":
        return _told(cohort, _by_subject(usable, _one_in_five(usable, seed)), truth)
    return fold(cohort, 0, min(5, subjects), seed, truth=truth)


def from_column(cohort: Cohort, *, truth: Truth | None = None) -> Split | None:
    """Return the split that the data give (column ``split``), or None where they give none.

    Cases without an entry are for training, unless the data name training cases.

    Raises
    ------
    DataError
        When a subject is on two sides; ``test`` is one too.
    """
    known = _with_truth(cohort, truth)
    validation = [c for c in known if c.split == "validation"]
    if not validation:
        return None
    named = any(c.split == "train" for c in known)
    train = [c for c in known if c.split == "train" or (c.split is None and not named)]
    subjects = {side: {c.subject for c in cohort.cases if c.split == side} for side in ("validation", "test")}
    subjects = {"train": {c.subject for c in train}} | subjects
    for first, second in combinations(subjects, 2):
        both = sorted(subjects[first] & subjects[second])
        if both:
            raise DataError(
                expected(f"subject {both[0]}", f"cases in {first} and in {second}", "each subject needs one side",
                         "Correct the column 'split'."),
            )  # fmt: skip
    return _told(cohort, Split(_names(train), _names(validation)), truth)


def share_of(cohort: Cohort, split: Split, fraction: float, seed: int, *, truth: Truth | None = None) -> Split:
    """Return `split` with a share of its training subjects; validation stays as it is.

    Shares are nested: for one seed the subjects of a smaller one are in every larger one. Where classes are the truth, the
    first subjects are one of each class, then each class keeps its share.

    Parameters
    ----------
    cohort, split
        Whose cases.
    fraction
        Above 0, at most 1; the number of subjects is rounded, and at least 1.
    seed
        Decides who comes first.
    truth
        As for `fold`.

    Raises
    ------
    UsageError
        When `fraction` is out of range.
    """
    if not 0 < fraction <= 1:
        raise UsageError(f"fraction {fraction:g}: a share of the training subjects above 0, at most 1, is needed.")
    cases = [cohort.case(name) for name in split.train]
    subjects = sorted({c.subject for c in cases})
    order = [subjects[i] for i in np.random.default_rng(seed).permutation(len(subjects))]
    if (truth or truth_of(cohort)) == "class":
        order = _in_proportion(order, _classes_of(cases))
    kept = set(order[: max(1, round(fraction * len(order)))])
    train = _names(c for c in cases if c.subject in kept)
    return split if len(kept) == len(subjects) else _told(cohort, Split(train, split.validation), truth)


def truth_of(cohort: Cohort) -> Truth:
    """Return what is learned from where nobody said: label maps where there are any, else classes."""
    return "class" if cohort.classified and not cohort.labelled else "label"


def _with_truth(cohort: Cohort, truth: Truth | None) -> tuple[Case, ...]:
    return {"label": cohort.labelled, "class": cohort.classified, "image": cohort.cases}[truth or truth_of(cohort)]


def _usable(cohort: Cohort, truth: Truth | None) -> list[Case]:
    """Return the cases with truth that are not kept for testing.

    Raises
    ------
    DataError
        When there are none.
    """
    kept = {c.subject for c in cohort.cases if c.split == "test"}
    usable = [c for c in _with_truth(cohort, truth) if c.subject not in kept]
    if not usable:
        what = {"label": "label map", "class": "class", "image": "image", None: "label map or class"}[truth]
        known = cohort.labelled or cohort.classified
        hint = "" if known else "Masks (column label) or classes of whole images (column class) teach. "
        raise DataError(
            expected(f"cohort {cohort.name}", f"{counted(len(cohort.cases), 'case')}, none with a {what} outside split 'test'",
                     "truth is needed to learn from", f"{hint}See docs/how-to/bring-your-data.md."),
        )  # fmt: skip
    return usable


def _classes_of(cases: Iterable[Case]) -> dict[str, set[str]]:
    """Return subject → its classes in all its cases, `NO_CLASS` standing for none of them."""
    found: dict[str, set[str]] = {}
    for case in cases:
        found.setdefault(case.subject, set()).update(case.classes or (NO_CLASS,))
    return found


def _in_proportion(order: list[str], classes: dict[str, set[str]]) -> list[str]:
    """Return `order` so that each beginning holds every class in its share, and the first ones are one of each class."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for subject in order:
        groups.setdefault(tuple(sorted(classes[subject])), []).append(subject)
    places = {s: (n > 0, (n + 0.5) / len(group)) for group in groups.values() for n, s in enumerate(group)}
    return sorted(order, key=lambda subject: places[subject])


def _one_in_five(cases: list[Case], seed: int) -> set[str]:
    """Return subjects to hold out: a fifth of those of each class, beginning with the rarest.

    No class loses its last subject to them. After Sechidis et al., ECML PKDD 2011 (iterative stratification).
    """
    classes = _classes_of(cases)
    subjects = sorted(classes)
    order = [subjects[i] for i in np.random.default_rng(seed).permutation(len(subjects))]
    left = Counter(name for names in classes.values() for name in names)
    wanted = {name: max(1, round(count / 5)) for name, count in left.items()}
    held: set[str] = set()
    for name in sorted(left, key=lambda n: (left[n], n)):
        taken = sum(name in classes[s] for s in held)
        for subject in order:
            if taken >= wanted[name]:
                break
            if subject not in held and name in classes[subject] and all(left[n] > 1 for n in classes[subject]):
                held.add(subject)
                left.subtract(classes[subject])
                taken += 1
    return held


def _told(cohort: Cohort, split: Split, truth: Truth | None) -> Split:
    """Return `split`; warn of classes that one of its sides lacks."""
    if (truth or truth_of(cohort)) != "class":
        return split
    sides = {name: side for side in ("train", "validation") for name in getattr(split, side)}
    owners: dict[str, dict[str, set[str]]] = {}
    for case in cohort.classified:
        for name in case.classes or ():
            owners.setdefault(name, {}).setdefault(sides.get(case.name, "test"), set()).add(case.subject)
    for name in sorted(owners, key=natural_order):
        there = owners[name]
        if "train" in there and "validation" in there:
            continue
        side, consequence = ("training", "learned") if "train" not in there else ("validation", "measured")
        subjects = sorted({s for found in there.values() for s in found}, key=natural_order)
        if len(subjects) == 1:
            advice = f"only subject {subjects[0]} has it: add another one, or leave the class out"
        else:
            advice = f"{len(subjects)} subjects have it: move one of them to {side}"
        warnings.warn(
            f"class '{name}' is in no case for {side}, so it cannot be {consequence}; {advice}.",
            RuntimeWarning, stacklevel=3,
        )  # fmt: skip
    return split


def _by_subject(cases: list[Case], held: set[str]) -> Split:
    return Split(_names(c for c in cases if c.subject not in held), _names(c for c in cases if c.subject in held))


def _names(cases: Iterable[Case]) -> tuple[str, ...]:
    return tuple(c.name for c in cases)
