"""`striate report`: one HTML page about a run or a prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate.cli.options import AsJson
from striate.cli.screen import say, show_json
from striate.core.machine import show_bytes


def command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="What train, predict, explain, calibrate, change, compare or audit made."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page; report.html in the folder by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the page and say where it is."""
    from striate.workflows.report import report

    page = report(folder, out)
    if as_json:
        show_json({"report": str(page), "bytes": page.stat().st_size})
        return
    say(f"report: {page} ({show_bytes(page.stat().st_size)}); open it in a browser")
