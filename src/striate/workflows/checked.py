"""A cohort that was checked and holds no error: checked once, however many runs learn from it."""

from __future__ import annotations

from pathlib import Path

from striate.core.counted import counted
from striate.core.errors import DataError
from striate.core.grouped import grouped
from striate.core.progress import Progress
from striate.data.checks.run import CheckResult, run_checks
from striate.data.cohort import Cohort

FILE = "check.json"


def passed(cohort: Cohort, known: Path, progress: Progress) -> CheckResult:
    """Return what the checks say of a cohort; its warnings are shown.

    Parameters
    ----------
    cohort
        What is learned from.
    known
        A ``check.json``: where it is of these cases and holds no error, no file is read again. It need not exist.
    progress
        Who listens.

    Raises
    ------
    DataError
        At errors: a model that learns from broken data is worse than none.
    """
    found = CheckResult.read(known) if known.exists() else None
    cases = {case.name for case in cohort.cases}
    if found is None or found.count("error") or {str(fact.get("case")) for fact in found.facts} != cases:
        found = run_checks(cohort, progress)
    told = [(p.severity, (p.case or "", p.code, p.sentence)) for p in found.problems]
    for line in grouped(one for severity, one in told if severity == "warning"):
        progress.warn(line)
    errors = [one for severity, one in told if severity == "error"]
    if errors:
        lines = grouped(errors)
        shown = "".join(f"\n  {line}" for line in lines[:10])
        more = f"\n  and {len(lines) - 10} more" if len(lines) > 10 else ""
        raise DataError(f"{found.cohort}: {counted(len(errors), 'error')} must be mended before training:{shown}{more}")
    return found
