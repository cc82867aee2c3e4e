"""`striate phantom`: parse, make the cohort, say where it is."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from striate.cli.options import AsJson
from striate.cli.screen import Screen, say, show_json
from striate.core.counted import counted
from striate.core.errors import UsageError, expected


def command(
    out: Annotated[Path, typer.Option(help="Folder to make; must not exist or be empty.")],
    subjects: Annotated[int, typer.Option(help="Number of subjects.")] = 12,
    seed: Annotated[int, typer.Option(help="Seed; subject i of a seed is always the same.")] = 0,
    spacing: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MM [MM MM]",
            help="Voxel size in mm: one number, or three along x, y, z; 1 1 3 gives thick slices.",
            show_default="2",
        ),
    ] = None,
    visits: Annotated[int, typer.Option(help="Examinations per subject; lesions change in between.")] = 1,
    artefacts: Annotated[str, typer.Option(help="none, mixed, motion, ghosting, spikes or low_snr.")] = "none",
    sites: Annotated[
        int, typer.Option(help="Simulated scanners; with two or more, subjects have an age and a sex too.")
    ] = 1,
    json: AsJson = False,
) -> None:
    """Make a cohort of FLAIR-like scans with known lesions."""
    from striate.workflows.phantom import phantom

    spacing_mm = _three(spacing or ["2"])
    table = phantom(
        out,
        subjects=subjects,
        seed=seed,
        spacing_mm=spacing_mm,
        visits=visits,
        artefacts=artefacts,
        sites=sites,
        progress=Screen(quiet=json),
    )
    if json:
        show_json({"cohort": table, "subjects": subjects, "visits": visits, "seed": seed, "spacing_mm": spacing_mm})
    else:
        say(f"{counted(subjects, 'phantom')}: {table}")
        say(f"Next: striate check {quote(str(table.parent))}")


def _three(given: list[str]) -> tuple[float, ...]:
    """Return the voxel size along x, y, z.

    Raises
    ------
    UsageError
        When `given` is neither one number nor three.
    """
    try:
        sizes = [float(text) for one in given for text in one.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) not in (1, 3):
        raise UsageError(
            expected("--spacing", " ".join(given), "one voxel size in mm is needed, or three along x, y, z",
                     "For instance --spacing 2, or --spacing 1 1 3.")
        )  # fmt: skip
    return tuple(sizes * 3)[:3]
