"""Which examinations `change` compares: two that were given, or those of each subject of a cohort in order of time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.errors import DataError, LayoutError, UsageError, expected
from striate.data.cohort import Cohort
from striate.data.time_points import histories
from striate.inference.inputs import gather, match
from striate.io.read import hash_image

Given = Path | str | Sequence[Path | str]
Pair = tuple[Case, Case]
"""Earlier and later examination of one subject."""
_SUBJECT = re.compile(r"(?:^|[_.\-])sub-([A-Za-z0-9]+)(?=$|[_.\-])")


def two_examinations(channels: tuple[str, ...], before: Given, after: Given, subject: str | None = None) -> Pair:
    """Return the two examinations that were given, as cases of one subject.

    Parameters
    ----------
    channels
        Of the model.
    before, after
        An image, one file per channel, or a folder with one examination.
    subject
        Whose they are; by default what their names say.

    Raises
    ------
    DataError
        When one of them is none or several, both are one, or their names tell of two subjects.
    """
    earlier, later = (_one(name, given, channels) for name, given in (("before", before), ("after", after)))
    shared = {hash_image(p) for p in earlier.channels.values()} & {hash_image(p) for p in later.channels.values()}
    if shared:
        raise DataError(
            expected("change", f"{earlier.name} and {later.name} hold the same image", "two examinations are needed"),
            case=later.name,
        )
    if subject is None:
        subject = _whose(earlier, later)
    if earlier.name == later.name:
        earlier, later = replace(earlier, name=f"{earlier.name}_before"), replace(later, name=f"{later.name}_after")
    return replace(earlier, subject=subject), replace(later, subject=subject)


def _one(name: str, given: Given, channels: tuple[str, ...]) -> Case:
    paths = [Path(given)] if isinstance(given, (str, Path)) else [Path(p) for p in given]
    cases = gather(paths, channels)
    if len(cases) != 1:
        raise DataError(
            expected(f"change, {name}", f"{len(cases)} cases", "one examination is needed",
                     "Of a cohort, give the cohort alone.")
        )  # fmt: skip
    return cases[0]


def _whose(earlier: Case, later: Case) -> str:
    """Return the subject that the names tell of: that of a cohort's row, or ``sub-NAME`` in a file's path."""
    told = [_told(case) for case in (earlier, later)]
    if None not in told and told[0] != told[1]:
        raise DataError(
            expected("change", f"{earlier.name} is of subject {told[0]}, {later.name} of {told[1]}",
                     "two examinations of one subject are needed", "If they are one, say so: --subject NAME"),
            case=later.name,
        )  # fmt: skip
    return told[0] or told[1] or later.subject


def _told(case: Case) -> str | None:
    if case.subject != case.name:
        return case.subject
    path = next(iter(case.channels.values())).absolute()
    found = [match.group(1) for part in (path.name, *reversed(path.parts[:-1])) for match in _SUBJECT.finditer(part)]
    return f"sub-{found[0]}" if found else None


def pairs_of(cohort: Given, channels: tuple[str, ...] | None = None) -> list[Pair]:
    """Return each subject's examinations, each with the one before it.

    Parameters
    ----------
    cohort
        A folder in a known layout, or a CSV.
    channels
        Of the model; None: those of the cohort.

    Raises
    ------
    UsageError
        When something else than one cohort was given.
    DataError
        When no subject has two examinations, or their order is not known.
    """
    if not isinstance(cohort, (str, Path)):
        raise UsageError("change: give one cohort, or two examinations: striate change MODEL BEFORE AFTER --out DIR")
    try:
        opened = Cohort.open(Path(cohort))
    except LayoutError as error:
        alone = "One examination alone cannot be compared: give the later one too, or a cohort."
        raise LayoutError(f"{error} {alone}", path=cohort) from error
    ordered = histories(case if channels is None else match(case, channels) for case in opened.cases)
    pairs = [(found[-2], found[-1]) for found in ordered.values() if len(found) > 1]
    if not pairs:
        raise DataError(
            expected(f"cohort {opened.name}", f"{counted(len(opened.cases), 'case')}, no subject with two",
                     "subjects with two examinations or more are needed", "A CSV tells by the columns subject and time.")
        )  # fmt: skip
    return pairs
