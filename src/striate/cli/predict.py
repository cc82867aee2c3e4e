"""``striate predict MODEL INPUT… --out DIR``: arguments in, a table of volumes or one JSON document out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from striate.inference.prediction import Prediction

ROWS_SHOWN = 40


def command(
    model: Annotated[Path, typer.Argument(help="Folder of a model, or of the run that trained it.")],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...",
            help="An image; the channel files of one case in the model's order; a folder; a cohort folder or CSV.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder for masks, findings and record.")],
    tta: Annotated[
        bool, typer.Option("--tta", help="Average over mirrored copies: slower, often a little better.")
    ] = False,
    save_probabilities: Annotated[
        bool, typer.Option("--save-probabilities", help="Also write a probability map per label or region.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> int:
    """Predict masks and their numbers with a trained model."""
    from striate.cli.screen import Screen, show_json
    from striate.core.files import read_json
    from striate.workflows.predict import predict

    progress = Screen(quiet=as_json)
    found = predict(model, inputs, out, save_probabilities=save_probabilities, tta=tta, progress=progress)
    findings, record = read_json(out / "findings.json"), read_json(out / "record.json")
    if as_json:
        show_json(_document(found, findings, out, record))
    else:
        _show(found, findings, out, record)
    return 0


def _document(found: list[Prediction], findings: dict[str, Any], out: Path, record: dict[str, Any]) -> dict[str, Any]:
    cases = {case["case"]: case for case in findings["cases"]}
    return {
        "out": out, "peak_rss_bytes": record["facts"]["peak_rss_bytes"], "duration_s": record["duration_s"],
        "cases": [
            {**cases[p.case.name], "mask": p.path, "probabilities": p.probabilities, "facts": p.facts} for p in found
        ],
    }  # fmt: skip


def _show(found: list[Prediction], findings: dict[str, Any], out: Path, record: dict[str, Any]) -> None:
    from striate.cli.screen import say, table
    from striate.core.machine import show_bytes, show_seconds

    rows = [
        [case["case"], name, f"{label['volume_ml']['value']:.2f}", f"{label['count']['value']:g}"]
        for case in findings["cases"]
        for name, label in case["labels"].items()
    ]
    if len(rows) <= ROWS_SHOWN:
        table(rows, ["case", "label", "volume mL", "lesions"])
    for prediction in found[:ROWS_SHOWN]:
        seconds = prediction.facts["seconds"]
        stages = ", ".join(f"{name} {show_seconds(value)}" for name, value in seconds.items())
        say(
            f"{prediction.case.name}: {show_seconds(sum(seconds.values()))} ({stages}), {prediction.facts['precision']}"
        )
    say(f"{len(found)} mask{'s' if len(found) > 1 else ''}, findings.csv and record.json in {out}")
    say(f"{show_seconds(record['duration_s'])}, peak memory {show_bytes(record['facts']['peak_rss_bytes'])}")
    say(f"Look at it: striate report {out}")
