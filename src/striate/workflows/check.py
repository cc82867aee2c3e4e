"""`check`: find what is wrong with a cohort before it is learned from."""

from __future__ import annotations

from pathlib import Path

from striate.core.kinds import kinds
from striate.core.progress import Progress, Silent
from striate.data.checks.run import CheckResult, run_checks
from striate.data.cohort import Cohort


@kinds
def check(
    cohort: Cohort | Path | str, *, out: Path | str | None = None, progress: Progress | None = None
) -> CheckResult:
    """Check a cohort: geometry, labels, intensities, duplicates, leakage, image quality.

    Parameters
    ----------
    cohort
        A cohort, or its folder or CSV.
    out
        Where to write the result as JSON; None writes nothing.
    progress
        Who is told how far it is.

    Returns
    -------
    CheckResult
        ``problems`` (errors first) and ``facts`` per case; ``clean`` where there is neither error nor warning.

    Raises
    ------
    DataError
        When `cohort` is not a cohort that Striate knows. Files that cannot be read are problems, not exceptions.
    """
    opened = cohort if isinstance(cohort, Cohort) else Cohort.open(Path(cohort))
    progress = progress or Silent()
    for note in opened.notes:
        progress.note(note)
    result = run_checks(opened, progress)
    if out is not None:
        result.write(Path(out))
    return result
