"""`striate audit`: parse, measure, show one line per con, and exit 1 when a required limit is broken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli import options

if TYPE_CHECKING:
    from striate.workflows.audit import Audited


def command(
    model: options.ModelFolder,
    cohort: Annotated[
        Path, typer.Argument(metavar="COHORT", help="Cases with masks: a folder in a known layout, or a CSV.")
    ],
    out: Annotated[Path, typer.Option(help="New folder for the audit.")],
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time of all parts together; 20m by default.")
    ] = None,
    require: Annotated[
        str | None, typer.Option(help='Limits, for instance "ece<=0.05, coverage>=0.87"; exit 1 where one is broken.')
    ] = None,
    hardened: Annotated[
        Path | None, typer.Option(help="A model trained with --adversarial, to set beside this one under attack.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the audit in --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: options.AsJson = False,
) -> int:
    """Answer the lecture's list of cons with numbers measured on this model."""
    from striate.cli.screen import Screen, show_json
    from striate.workflows.audit import audit

    found = audit(
        model, cohort, out=out, budget=budget, require=require, hardened=hardened, resume=resume, dry_run=dry_run,
        progress=Screen(quiet=as_json),
    )  # fmt: skip
    if as_json:
        show_json(found.document)
    elif dry_run:
        show_foreseen(found)
    else:
        show_audited(found)
    return 1 if found.broken else 0


def show_foreseen(found: Audited) -> None:
    """Print the parts with their time, and the cases."""
    from striate.cli.screen import say, table
    from striate.core.counted import counted
    from striate.core.machine import show_seconds

    cohort = found.document["cohort"]
    cases, subjects = counted(cohort["measured_cases"], "case"), counted(cohort["measured_subjects"], "subject")
    say(f"{cases} of {subjects} would be measured.")
    rows = [[name.replace("_", " "), show_seconds(p["seconds"])] for name, p in found.document["parts"].items()]
    table(rows, ["part", "up to"])


def show_audited(found: Audited) -> None:
    """Print one line per con, what was not done, and the requirements."""
    from striate.cli.screen import say, table

    document = found.document
    table(
        [[row["con"], row["value"], str(row["n_subjects"])] for row in document["answers"]],
        ["con", "answer", "subjects"],
    )
    for row in document["answers"]:
        say(f"{row['con']}: {row['sentence']}")
    for name, part in document["parts"].items():
        if part["status"] != "done":
            say(f"{part['status']}: {name.replace('_', ' ')}{': ' + part['reason'] if part['reason'] else ''}")
    for verdict in document["requirements"]:
        say(verdict["sentence"])
    say(f"Numbers: {found.folder / 'audit.json'}")
    say(f"Report:  {found.report}")
