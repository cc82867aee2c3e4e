"""`striate check COHORT`: one line per problem; exit code 1 where there are any."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate.cli.options import AsJson
from striate.cli.screen import Screen, say, show_json
from striate.core.counted import counted


def command(
    cohort: Annotated[
        Path, typer.Argument(metavar="COHORT", help="Folder of a cohort in any known layout, or its CSV.")
    ],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result as JSON to this file.")] = None,
    as_json: AsJson = False,
) -> int:
    """Check a cohort; returns 1 where an error or a warning was found."""
    from striate.core.grouped import grouped
    from striate.data.checks.problem import SEVERITIES
    from striate.workflows.check import check

    result = check(cohort, out=out, progress=Screen(quiet=as_json))
    if as_json:
        show_json(result.to_dict())
        return 0 if result.clean else 1
    lines = 0
    for severity in SEVERITIES:
        for line in grouped(p.told for p in result.problems if p.severity == severity):
            say(f"{severity + ':':<9}{line}")
            lines += 1
    counts = ", ".join(counted(result.count(s), s) for s in SEVERITIES)
    say(f"{result.cohort}: {counted(result.cases, 'case')}; {counts}.")
    if lines < len(result.problems):
        say("Each case by itself: --out FILE.json, or --json.")
    return 0 if result.clean else 1
