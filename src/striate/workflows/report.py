"""`report`: one self-contained HTML page about a run, a prediction or an explanation."""

from __future__ import annotations

from pathlib import Path

from striate.core.files import write_text
from striate.core.kinds import kinds
from striate.reporting.render import render


@kinds
def report(folder: Path | str, out: Path | str | None = None) -> Path:
    """Write the report of the folder of a run, a prediction, a comparison or an audit, or of what was made from one.

    Parameters
    ----------
    folder
        What `train`, `predict`, `explain`, `calibrate`, `change`, `compare` or `audit` made.
    out
        The page to write; ``report.html`` in the folder where it is not given.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DataError
        When the folder is none of them.
    DiskFullError
        When the page cannot be written.
    """
    page = Path(folder) / "report.html" if out is None else Path(out)
    write_text(page, render(Path(folder)))
    return page
