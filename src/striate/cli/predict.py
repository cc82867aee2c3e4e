"""``striate predict MODEL INPUT… --out DIR``: arguments in, a table of volumes or one JSON document out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from striate.cli.options import AsJson

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
    crf: Annotated[
        bool, typer.Option("--crf", help="Refine masks with a fully connected CRF: slower; try it on your own data.")
    ] = False,
    save_probabilities: Annotated[
        bool, typer.Option("--save-probabilities", help="Also write a probability map per label or region.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Predict masks, or classes, with a trained model."""
    from striate.cli.screen import Screen, show_json
    from striate.core.files import read_json
    from striate.workflows.predict import predict

    progress = Screen(quiet=as_json)
    found = predict(model, inputs, out, save_probabilities=save_probabilities, tta=tta, crf=crf, progress=progress)
    if not (out / "findings.json").exists():
        _show_whole(out, as_json=as_json)
        return 0
    findings, record = read_json(out / "findings.json"), read_json(out / "record.json")
    if as_json:
        show_json(_document(found, findings, out, record))
    else:
        _show(found, findings, out, record)
    return 0


def _show_whole(out: Path, *, as_json: bool) -> None:
    """Show what a model of whole images said: its table of classes, or how well it reconstructs."""
    from striate.cli.screen import say, show_json, table
    from striate.cli.train import show_reconstructions
    from striate.core.files import read_json
    from striate.core.machine import show_bytes, show_seconds
    from striate.measure.class_rows import joined
    from striate.measure.class_table import FILE, ClassTable

    record = read_json(out / "record.json")
    document = {
        "out": out, "peak_rss_bytes": record["facts"]["peak_rss_bytes"], "duration_s": record["duration_s"],
    }  # fmt: skip
    if (out / FILE).exists():
        found = ClassTable.read(out, exclusive=not record["facts"]["task"]["multi_label"])
        rows = list(zip(found.cases, found.slices, found.predicted, found.probabilities, strict=True))
        if as_json:
            cases = [
                {"case": c, "slice": s, "predicted": list(p), "probabilities": dict(zip(found.classes, v.tolist(), strict=True))}
                for c, s, p, v in rows
            ]  # fmt: skip
            show_json({**document, "table": out / FILE, "cases": cases})
            return
        if len(rows) <= ROWS_SHOWN:
            shown = [
                [c, "–" if s is None else str(s), joined(p), *(f"{v:.3f}" for v in said)] for c, s, p, said in rows
            ]
            table(shown, ["case", "slice", "predicted", *found.classes])
        else:
            counts = {name: sum(name in p for p in found.predicted) for name in found.classes}
            table([[name, str(count)] for name, count in counts.items()], ["class", "predicted"])
        say(f"{len(rows)} rows in {out / FILE}, record.json beside it")
    else:
        summary = read_json(out / "evaluation.json")["summary"]
        if as_json:
            show_json({**document, "summary": summary})
            return
        show_reconstructions(summary)
    say(f"{show_seconds(record['duration_s'])}, peak memory {show_bytes(record['facts']['peak_rss_bytes'])}")
    say(f"Look at it: striate report {out}")


def _document(found: list[Any], findings: dict[str, Any], out: Path, record: dict[str, Any]) -> dict[str, Any]:
    cases = {case["case"]: case for case in findings["cases"]}
    return {
        "out": out, "peak_rss_bytes": record["facts"]["peak_rss_bytes"], "duration_s": record["duration_s"],
        "cases": [
            {**cases[p.case.name], "mask": p.path, "probabilities": p.probabilities, "facts": p.facts} for p in found
        ],
    }  # fmt: skip


def _show(found: list[Any], findings: dict[str, Any], out: Path, record: dict[str, Any]) -> None:
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
