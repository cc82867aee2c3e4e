"""A cohort that was checked and holds no error: checked once, however many runs learn from it."""

from __future__ import annotations

import shlex
from pathlib import Path

from striate.core.counted import counted
from striate.core.errors import DataError, expected
from striate.core.grouped import grouped, grouped_counted
from striate.core.progress import Progress
from striate.data.checks.run import CheckResult, run_checks
from striate.data.cohort import Cohort

FILE = "check.json"
MOST_LINES = 10
"""Errors, or kinds of errors, that a refusal names."""


def result_for(cohort: Cohort, path: Path) -> CheckResult:
    """Read the result of a check, which must be that of the files of `cohort` as they are now.

    Raises
    ------
    FormatError
        When `path` is no result of a check.
    DataError
        When it is of other files, or one has changed since.
    """
    found = CheckResult.read(path)
    if not found.of(cohort):
        got = f"the check of {counted(found.cases, 'case')} of cohort {found.cohort}"
        raise DataError(
            expected(path, got, f"that of the files of {cohort.root} as they are now is needed, some are others or changed since",
                     f"Make it anew: {_command(cohort)} --out {shlex.quote(str(path))}"), path=path,
        )  # fmt: skip
    return found


def passed(cohort: Cohort, known: Path, progress: Progress) -> CheckResult:
    """Return what the checks say of a cohort; its warnings are shown.

    Parameters
    ----------
    cohort
        What is learned from.
    known
        A ``check.json``: where it is of these files and holds no error, none is read again. It need not exist.
    progress
        Who listens.

    Raises
    ------
    DataError
        At errors: a model that learns from broken data is worse than none.
    """
    found = CheckResult.read(known) if known.exists() else None
    if found is None or found.count("error") or not found.of(cohort):
        found = run_checks(cohort, progress)
    for line in grouped(p.told for p in found.problems if p.severity == "warning"):
        progress.warn(line)
    errors = [p.told for p in found.problems if p.severity == "error"]
    if errors:
        raise DataError(f"{found.cohort}: {_told(cohort, errors)}")
    return found


def _told(cohort: Cohort, errors: list[tuple[str, str, str]]) -> str:
    """Write how many errors there are, and the first; where not each has a line, also how to see them all."""
    lines = grouped_counted(errors)
    shown = "".join(f"\n  {line}" for line, _ in lines[:MOST_LINES])
    left = sum(number for _, number in lines[MOST_LINES:])
    more = f"\n  and {counted(left, 'more error')}" if left else ""
    each = f"\n  Each by itself: {_command(cohort)} --json" if len(lines[:MOST_LINES]) < len(errors) else ""
    return f"{counted(len(errors), 'error')} must be mended before training:{shown}{more}{each}"


def _command(cohort: Cohort) -> str:
    return f"striate check {shlex.quote(str(cohort.root))}"
