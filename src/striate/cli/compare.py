"""``striate compare COHORT``: several networks, one budget, one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from striate.cli import options
from striate.core.errors import UsageError

if TYPE_CHECKING:
    from striate.workflows.compare import Compared


def command(
    cohort: options.NewCohort = None,
    networks: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Names joined by commas, for instance lenet5,hmax,mlp: striate networks lists them."
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time of all runs together, for instance 30m (the default).")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Updates of each run instead of a time.")] = None,
    fractions: Annotated[
        str | None, typer.Option(help="Shares of the training subjects joined by commas, for instance 0.1,0.3,1.0.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Repetitions, each with its own split and weights.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the comparison; comparisons/COHORT by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the comparison in --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and run nothing.")] = False,
    task: options.TaskName = None,
    regions: options.Regions = None,
    holdout: options.Holdout = None,
    fold: options.Fold = None,
    folds: Annotated[int | None, typer.Option(help="N: validate on each part of N in turn.")] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="A run or model whose weights networks of its kind also start from.")
    ] = None,
    probe: Annotated[
        str | None, typer.Option(help="invariance: how outputs change with shift, scale, clutter.")
    ] = None,
    memory: options.Memory = None,
    dims: Annotated[int | None, typer.Option(help="2: 2D networks on slices of 3D scans.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first repetition.")] = None,
    as_json: options.AsJson = False,
) -> int:
    """Train networks within one budget and compare them."""
    from striate.cli.screen import Screen, show_json
    from striate.workflows.compare import compare

    found = compare(
        cohort, _names(networks), out=out, resume=resume, dry_run=dry_run, progress=Screen(quiet=as_json),
        budget=budget, steps=steps, fractions=_numbers(fractions), seeds=seeds, task=task, regions=regions,
        holdout=holdout, fold=fold, folds=folds, encoder=encoder and str(encoder), probe=probe, memory=memory,
        dims=dims, seed=seed,
    )  # fmt: skip
    if as_json:
        show_json(_document(found))
    elif dry_run:
        show_runs(found)
    else:
        show_compared(found)
    return 1 if found.failed else 0


def show_runs(found: Compared) -> None:
    """Print how many runs there are, how long each, and the networks."""
    from striate.cli.screen import say, table
    from striate.comparing.shares import told

    say(told(found.runs, found.run_s))
    rows = [
        [name, "×".join(map(str, one["size"])), str(one["layers"]), str(one["depth"]), f"{one['parameters_run']:,}",
         f"{one['macs'] / 1e6:,.1f}"]
        for name, one in found.sizes.items()
    ]  # fmt: skip
    table(rows, ["network", "input", "layers", "depth", "parameters", "MMAC"])


def show_compared(found: Compared) -> None:
    """Print the table of networks and what is foreseen."""
    from striate.cli.screen import say, table
    from striate.core.machine import show_bytes, show_seconds

    result = found.result
    if result["networks"]:
        main = result["main"]
        rows = []
        for one in result["networks"]:
            value, low, high = (one[f"{main}{end}"] for end in ("", "_low", "_high"))
            interval = f"{low:.3f} … {high:.3f}" if low is not None else ""
            rows.append(
                [one["label"], f"{100 * one['fraction']:g} %", "–" if value is None else f"{value:.3f}", interval,
                 f"{one['parameters_run']:,}", f"{one['macs'] / 1e6:,.1f}", show_seconds(one["seconds"]),
                 show_bytes(one["peak_memory_bytes"]), f"{1000 * one['kwh']:.2g}"]
            )  # fmt: skip
        table(rows, ["network", "data", main.replace("_", " "), "95 %", "parameters", "MMAC", "time", "memory", "Wh"])
        for curve in result["curves"]:
            say(curve["sentence"])
        if result["size"]:
            say(result["size"]["sentence"])
    for name, why in found.failed.items():
        say(f"failed: {name}: {why}")
    say(f"Table:  {found.folder / 'compare.csv'}")
    say(f"Report: {found.report}")


def _document(found: Compared) -> dict[str, Any]:
    return {
        "folder": found.folder, "report": found.report, "run_s": found.run_s,
        "runs_planned": [t.to_dict() | {"name": t.name} for t in found.runs], "sizes": found.sizes,
        "failed": found.failed, **found.result,
    }  # fmt: skip


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise UsageError(
            f"fractions '{text}': numbers joined by commas are needed, for instance 0.1,0.3,1.0."
        ) from error
