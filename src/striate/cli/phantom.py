"""`striate phantom`: parse, make the cohort, say where it is."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from striate.cli.screen import Screen, say, show_json
from striate.core.counted import counted


def command(
    out: Annotated[Path, typer.Option(help="Folder to make; must not exist or be empty.")],
    subjects: Annotated[int, typer.Option(help="Number of subjects.")] = 12,
    seed: Annotated[int, typer.Option(help="Seed; subject i of a seed is always the same.")] = 0,
    spacing: Annotated[
        tuple[float, float, float], typer.Option(help="Voxel size in mm along x, y, z; 1 1 3 gives thick slices.")
    ] = (2.0, 2.0, 2.0),
    visits: Annotated[int, typer.Option(help="Examinations per subject; lesions change in between.")] = 1,
    artefacts: Annotated[str, typer.Option(help="none, mixed, motion, ghosting, spikes or low_snr.")] = "none",
    sites: Annotated[
        int, typer.Option(help="Simulated scanners; with two or more, subjects have an age and a sex too.")
    ] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Make a cohort of FLAIR-like scans with known lesions."""
    from striate.workflows.phantom import phantom

    table = phantom(
        out,
        subjects=subjects,
        seed=seed,
        spacing_mm=spacing,
        visits=visits,
        artefacts=artefacts,
        sites=sites,
        progress=Screen(quiet=json),
    )
    if json:
        show_json({"cohort": table, "subjects": subjects, "visits": visits, "seed": seed, "spacing_mm": spacing})
    else:
        say(f"{counted(subjects, 'phantom')}: {table}")
        say(f"Next: striate check {quote(str(table.parent))}")
