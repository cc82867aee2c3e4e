"""``striate export MODEL --out FOLDER``: a model for machines without torch; as ONNX also its network for other programs."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from striate.cli.options import AsJson, ModelFolder


def command(
    model: ModelFolder,
    out: Annotated[Path, typer.Option(help="New folder.")],
    kind: Annotated[
        str, typer.Option("--format", help="openvino or onnx: what striate predict runs it by, without torch.")
    ] = "openvino",
    image: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Channel file of one case, once per channel: answers are compared on it. Else on a drawn image.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write a model in another form, compared with the one it was made from."""
    from striate.cli.screen import Screen, say, show_json
    from striate.workflows.export import export

    parity = export(model, out, kind=kind, images=image or (), progress=Screen(quiet=as_json))
    if as_json:
        show_json({"out": out, "format": kind, **parity})
    else:
        seconds, near = parity["seconds"], parity["tiles"]["middle"]
        if kind == "onnx":
            say(f"network.onnx differs from PyTorch by at most {parity['largest_difference']:.1g} in probabilities")
        say(f"{seconds['torch'] / seconds[kind]:.1f} times as fast as PyTorch here, in {parity['precision']}")
        say(
            f"the same label as PyTorch in single precision in {100 * near['same_decision']:.2f} % of the voxels of a window"
        )
        say(f"Use it: striate predict {quote(str(out))} INPUT --out MASKS; torch is not needed there")
    return 0
