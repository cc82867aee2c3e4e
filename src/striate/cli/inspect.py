"""``striate inspect MODEL INPUT… --out DIR``: arguments in; a page, one number's sum, or one JSON document out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from striate.cli.options import AsJson, Inputs, ModelFolder
from striate.core.counted import counted

ROWS_SHOWN = 20


def command(
    model: ModelFolder,
    inputs: Inputs,
    out: Annotated[Path | None, typer.Option(help="New folder for maps, sums, record and report.")] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="I,J,K",
            help="Voxel of the scan, from 0, on the file's own grid.",
            show_default="the middle of the largest lesion, else of the image",
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Label, region, class or channel to follow.", show_default="the likeliest")
    ] = None,
    plane: Annotated[
        int | None,
        typer.Option(
            "--slice", help="Axial slice, 0 being the lowest, for models that look at slices.", show_default="likeliest"
        ),
    ] = None,
    unit: Annotated[
        str | None, typer.Option(metavar="LAYER:K", help="Open this map of a layer at the point: print its sum.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Serve the page on this machine: every number of every map opens by a click.")
    ] = False,
    port: Annotated[int | None, typer.Option(help="For --live.", show_default="one that is free")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would cost.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show what a network computes."""
    from striate.cli.screen import Screen, say, show_json
    from striate.core.errors import UsageError
    from striate.core.machine import show_seconds
    from striate.workflows.inspect import inspect, inspected
    from striate.workflows.inspect_place import place_of

    if out is None and not dry_run and (unit is None or live):
        needed = "--live" if live else "inspect"
        raise UsageError(f"{needed}: no --out was given; a new folder is needed (or --unit LAYER:K, or --dry-run).")
    if port is not None and not live:
        raise UsageError(f"--port {port}: it belongs to --live, which was not given.")
    place, screen = None if at is None else place_of(at), Screen(quiet=as_json)
    if dry_run:
        found = inspect(model, inputs, at=place, label=label, plane=plane, progress=screen)
        show_json(found) if as_json else say(f"about {show_seconds(found['seconds'])}; nothing was written")
        return 0
    server = None
    if live:
        from striate.web.live import LiveServer

        server = LiveServer(port or 0)
    found, inside = inspected(model, inputs, out, at=place, label=label, plane=plane, unit=unit, progress=screen)
    url = None if server is None else server.url
    if as_json:
        show_json(found if out is None else {"out": out, "url": url, **found})
    elif out is None:
        _show_sum(found)
    else:
        _show(found, out, unit)
    if server is not None and out is not None:
        from striate.web.inspection import serve

        if not as_json:
            say(f"Open {url} on this machine; Ctrl-C ends it.")
        serve(server, inside, out)
    return 0


def _show(found: dict[str, Any], out: Path, unit: str | None) -> None:
    from striate.cli.screen import say
    from striate.core.files import read_json
    from striate.core.machine import show_bytes, show_seconds

    output, model = found["output"], found["model"]
    place = ",".join(str(i) for i in found["at"])
    said = f"{output['name']} {output['value']:.4g}"
    if output["probability"] is not None:
        said += f", probability {output['probability']:.3f} in this window"
    if output["blended"] is not None:
        said += f", {output['blended']:.3f} as predicted, before calibration"
    say(f"{found['case']} at {place}: {said}")
    if unit is not None and found.get("asked"):
        _show_sum(found["sums"][found["asked"]])
    say(
        f"{counted(len(found['nodes']) - 1, 'operation')} of {model['network']}, {counted(len(found['sums']), 'sum')} opened;"
        f" the way back to the image has {counted(len(found['chain']), 'step')}"
    )
    record = read_json(out / "record.json")
    say(f"{show_seconds(record['duration_s'])}, peak memory {show_bytes(record['facts']['peak_rss_bytes'])}")
    say(f"inspection.json, maps and record.json in {out}")
    say(f"Look at it: {out / 'report.html'}")


def _show_sum(one: dict[str, Any]) -> None:
    """Print the sum of a number: formula, constants, its largest terms."""
    from striate.cli.screen import say, table

    place = ",".join(str(i) for i in one["at"])
    say(
        f"node {one['node']}, {one['operation']}, unit {one['unit']}{f' at {place}' if place else ''}: {one['value']:.6g}"
    )
    say(f"= {one['formula']}")
    if one["constants"]:
        say("  " + ", ".join(f"{name} = {value:.6g}" for name, value in one["constants"].items()))
    rows = [
        [f"node {t['source']} unit {t['unit']} at {','.join(map(str, t['at'])) or '-'}", f"{t['weight']:.5g}",
         f"{t['input']:.5g}", f"{t['product']:.5g}"]
        for t in one["terms"][:ROWS_SHOWN]
    ]  # fmt: skip
    if rows:
        table(rows, ["term", "weight", "input", "product"])
    more = len(one["terms"]) - len(rows) + one["left_out"]["count"]
    if more > 0:
        rest = sum(t["product"] for t in one["terms"][ROWS_SHOWN:]) + one["left_out"]["sum"]
        say(f"  and {counted(more, 'more term')}: {rest:.5g}")
    say(f"total in 64 bits {one['total']:.9g}, the network in 32 bits {one['value']:.9g}: {one['error']:.1e} apart")
