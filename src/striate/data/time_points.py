"""Examinations of a subject in order of time."""

from __future__ import annotations

from collections.abc import Iterable

from striate.core.case import Case
from striate.core.errors import DataError, expected
from striate.core.names import natural_order

COLUMNS = ("time", "session", "visit")
"""Metadata that tell when a case was examined; the first that is there counts."""


def time_of(case: Case) -> str | None:
    """Return when a case was examined, as the cohort writes it (``ses-2``, ``2019-04-01``, ``12.5``), or None."""
    return next((case.metadata[name] for name in COLUMNS if case.metadata.get(name)), None)


def followed(cases: Iterable[Case]) -> bool:
    """Tell whether some subject was examined at two times or more."""
    first: dict[str, str] = {}
    return any(time is not None and first.setdefault(c.subject, time) != time for c in cases for time in (time_of(c),))


def histories(cases: Iterable[Case]) -> dict[str, tuple[Case, ...]]:
    """Return for each case the examinations of its subject up to it, oldest first; the last is the case itself.

    Times are compared as numbers where all of a subject's are numbers, else as names (``m2`` before ``m10``, dates as
    ``2019-04-01``).

    Raises
    ------
    DataError
        When a subject with several cases has one without a time, or two of the same time.
    """
    found: dict[str, tuple[Case, ...]] = {}
    subjects: dict[str, list[Case]] = {}
    for case in cases:
        subjects.setdefault(case.subject, []).append(case)
    for subject, own in subjects.items():
        ordered = _in_order(subject, own)
        found |= {case.name: tuple(ordered[: place + 1]) for place, case in enumerate(ordered)}
    return found


def _in_order(subject: str, cases: list[Case]) -> list[Case]:
    times = {case.name: time_of(case) or "" for case in cases}
    timeless = [name for name, time in times.items() if not time]
    if timeless and len(cases) > 1:
        raise DataError(
            expected(f"subject {subject}", f"case {timeless[0]} has no time", "cases of a subject are read in order of time",
                     "Add it in the column time (numbers or dates as 2019-04-01)."), case=timeless[0],
        )  # fmt: skip
    if len(set(times.values())) < len(cases):
        twice = next(t for t in times.values() if list(times.values()).count(t) > 1)
        raise DataError(
            expected(f"subject {subject}", f"two cases of time {twice}", "each examination needs a time of its own"),
            case=cases[0].name,
        )
    try:
        return sorted(cases, key=lambda case: float(times[case.name]))
    except ValueError:
        return sorted(cases, key=lambda case: natural_order(times[case.name]))
