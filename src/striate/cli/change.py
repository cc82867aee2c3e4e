"""``striate change MODEL BEFORE AFTER --out DIR``: arguments in, whom to look at first and why out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from striate.cli.options import AsJson

if TYPE_CHECKING:
    from striate.workflows.change import Changed

MOST = 20
"""Rows of the triage list that are shown."""


def command(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="MODEL BEFORE AFTER | MODEL COHORT",
            help="A model, then the earlier and the later scan (files of one channel each: all of the earlier scan first),"
            " a folder for each, or a cohort whose subjects have several visits.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="New folder for masks, changes, triage and report.")] = None,
    masks: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="BEFORE AFTER", help="Earlier and later mask, instead of a model; with --images."),
    ] = None,
    images: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="BEFORE AFTER", help="The scans that --masks were drawn on.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Folder of predict with this model; its masks are used.")
    ] = None,
    transform: Annotated[
        Path | None, typer.Option(help="Rigid transform, later mm to earlier mm: 4 x 4 text (RAS+), or a file of ITK.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="Whose the two scans are, where their names say otherwise.")
    ] = None,
    rescan: Annotated[
        bool, typer.Option("--rescan", help="Nothing changed between the scans: measure how far masks differ then.")
    ] = False,
    repeatability: Annotated[
        Path | None, typer.Option(help="What --rescan wrote.", show_default="repeatability.json of the model, if any")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the pairs that would be compared.")] = False,
    as_json: AsJson = False,
) -> int:
    """Compare two examinations of a subject: new, enlarged, shrunken and vanished lesions."""
    from striate.cli.screen import Screen, say, show_json
    from striate.core.errors import UsageError
    from striate.core.files import read_json
    from striate.workflows.change import change, foresee

    if out is None and not dry_run:
        raise UsageError("change: no --out was given; a new folder is needed (or --dry-run).")
    model, before, after = _given(inputs or [], masks, images)
    if dry_run or out is None:
        pairs = foresee(model, before, after, masks=masks, transform=transform, subject=subject)
        if as_json:
            show_json({"pairs": pairs})
        else:
            for pair in pairs:
                say(f"{pair['subject']}: {pair['before']} to {pair['after']}")
            say(f"{len(pairs)} pair{'' if len(pairs) == 1 else 's'}; nothing was written")
        return 0
    found = change(
        model, before, after, out, masks=masks, predictions=predictions, transform=transform, subject=subject,
        rescan=rescan, repeatability=repeatability, progress=Screen(quiet=as_json),
    )  # fmt: skip
    if as_json:
        document = {"out": out, **read_json(out / "findings.json"), "triage": read_json(out / "triage.json")["rows"]}
        if found.repeatability is not None:
            document["repeatability"] = found.repeatability.to_dict()["labels"]
        show_json(document)
    else:
        _show(found)
    return 0


def _given(inputs: list[Path], masks: Any, images: Any) -> tuple[Path | None, Any, Any]:
    """Return model, earlier and later examination, as they were given.

    Raises
    ------
    UsageError
        When there are too many or too few.
    """
    from striate.core.errors import UsageError

    if (masks is None) != (images is None):
        lone = "--masks" if images is None else "--images"
        raise UsageError(f"{lone} was given alone; masks are compared on their scans: --masks B A --images B A.")
    if masks is not None:
        if inputs:
            raise UsageError(f"change: {inputs[0]} and --masks were given; --masks stands instead of a model.")
        return None, images[0], images[1]
    if len(inputs) < 2:
        got = "no model" if not inputs else f"{inputs[0]} alone"
        raise UsageError(
            f"change: {got}; a model, then two scans or a cohort are needed: striate change MODEL BEFORE AFTER"
        )
    model, rest = inputs[0], inputs[1:]
    if len(rest) == 1:
        return model, rest[0], None
    if len(rest) % 2:
        raise UsageError(f"change: {len(rest)} scans; as many files for the earlier as for the later one are needed.")
    half = len(rest) // 2
    return model, rest[:half], rest[half:]


def _show(found: Changed) -> None:
    from striate.cli.screen import say, table

    rows = []
    for change in found.changes:
        for name, label in change.labels.items():
            counts = [
                sum(x.kind == kind for x in label.lesions) for kind in ("new", "enlarged", "shrunken", "vanished")
            ]
            noise = "–" if label.smallest_detectable_ml is None else f"{label.smallest_detectable_ml:.2f}"
            percent = "–" if label.volume_change_percent is None else f"{label.volume_change_percent:+.0f} %"
            rows.append(
                [change.subject, name, f"{label.volume_change_ml.value:+.2f}", percent, noise, *map(str, counts)]
            )
    table(rows, ["subject", "label", "change mL", "", "noise mL", "new", "enlarged", "shrunken", "vanished"])
    for source in dict.fromkeys(label.noise for change in found.changes for label in change.labels.values()):
        say(f"noise: {source}")
    for row in found.rows[:MOST]:
        say(f"{row.rank}. {row.subject} ({row.priority}): {row.reason}")
    if found.repeatability is not None:
        say(f"Use it: --repeatability {found.folder / 'repeatability.json'}, or copy it into the model's folder.")
    say(f"Report: {found.report}")
