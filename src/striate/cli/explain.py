"""``striate explain MODEL INPUT… --out DIR``: arguments in, one line per map with its checks or one JSON document out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from striate.cli.options import AsJson, Inputs, ModelFolder
from striate.core.counted import counted


def command(
    model: ModelFolder,
    inputs: Inputs,
    out: Annotated[Path | None, typer.Option(help="New folder for maps, verdicts, record and report.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD",
            help="occlusion, gradient_input, integrated_gradients, grad_cam; repeatable.",
            show_default="all",
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Label, region or class to explain.", show_default="each that was predicted")
    ] = None,
    lesion: Annotated[
        int | None, typer.Option(help="Number of the lesion, by size.", show_default="1, the largest")
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="All lesions of the label together.")] = False,
    plane: Annotated[
        int | None,
        typer.Option(
            "--slice", help="Axial slice, 0 being the lowest, for models that look at slices.", show_default="likeliest"
        ),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Write the maps of this layer; Grad-CAM looks at it.", show_default="deepest")
    ] = None,
    unit: Annotated[
        str | None, typer.Option(metavar="LAYER:K", help="Show the patches that excite this map of a layer most.")
    ] = None,
    cohort: Annotated[
        Path | None, typer.Option(help="Where --unit looks for patches.", show_default="the inputs")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time for all cases: 2m, 1h …", show_default="standard effort, about 5m"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of random weights and orders.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would cost.")] = False,
    as_json: AsJson = False,
) -> int:
    """Explain what a model says."""
    from striate.cli.screen import Screen, say, show_json
    from striate.core.errors import UsageError
    from striate.core.machine import seconds_of, show_seconds
    from striate.workflows.explain import explain

    if out is None and not dry_run:
        raise UsageError("explain: no --out was given; a new folder for the explanations is needed (or --dry-run).")
    found = explain(
        model, inputs, None if dry_run else out, methods=method or (), label=label, lesion=lesion, whole=whole,
        plane=plane, layer=layer, unit=unit, cohort=cohort, seed=seed,
        budget_s=None if budget is None else seconds_of(budget), progress=Screen(quiet=as_json),
    )  # fmt: skip
    if as_json:
        show_json(found if dry_run else {"out": out, **found})
    elif dry_run:
        say(f"about {show_seconds(found['seconds'])}; nothing was written")
    else:
        _show(found, Path(str(out)))
    return 0


def _show(found: dict[str, Any], out: Path) -> None:
    from striate.cli.screen import say, table
    from striate.core.machine import show_seconds

    words = {True: "passed", False: "FAILED", None: "not made"}
    rows = []
    for one in found["explanations"]:
        checks = {check["check"]: words[check["passed"]] for check in one["checks"]}
        told = [one["case"], one["target"]["label"], one["method"], show_seconds(one["seconds"])]
        rows.append([*told, *(checks[name] for name in ("random_weights", "faithfulness", "inside"))])
    table(rows, ["case", "label", "method", "time", "random weights", "faithfulness", "inside"])
    failed = sum(not one["passed"] for one in found["explanations"])
    if failed:
        say(f"{failed} of {counted(len(rows), 'map')} failed a check and should not be trusted. The report says why.")
    for one in found["features"]:
        say(
            f"{one['case']}: {len(one['files'])} of {counted(one['total'], 'map')} of layer {one['layer']} in {out / 'features'}"
        )
    say(f"maps on the grid of the images, explanations.json and record.json in {out}")
    say(f"Look at it: {out / 'report.html'}")
